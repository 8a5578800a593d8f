#!/usr/bin/env bash
# bench/peers/quorum.sh up|down DIR SOCKET BYTES: a mirror of two copies out of stock qemu-nbd, as a peer of the cluster's suite.
# A second qemu-nbd on a Unix socket holds the other copy (over TCP stock qemu-nbd stalls for Nagle's 40 ms); each write and each flush is
# answered once both have it. The pids of both are in DIR/*.pid.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

up() {
    mkdir -p "$dir"
    truncate -s "$bytes" "$dir/first.img" "$dir/second.img"
    qemu-nbd --fork --pid-file="$dir/second.pid" --persistent --shared=8 --export-name=copy --format=raw --cache=writeback \
        --socket="$dir/second.sock" "$dir/second.img"
    front --image-opts \
        "driver=quorum,vote-threshold=2,read-pattern=fifo,$(child 0 first.img),children.1.driver=raw,children.1.file.driver=nbd,$(other 1)"
}

# child NUMBER FILE: qemu's words for a copy in a file here.
child() { echo "children.$1.driver=raw,children.$1.file.driver=file,children.$1.file.filename=$dir/$2"; }

# other NUMBER: and for the one behind the second server.
other() { echo "children.$1.file.server.type=unix,children.$1.file.server.path=$dir/second.sock,children.$1.file.export=copy"; }

down() { end_all "$dir"/front.pid "$dir"/second.pid; }

"$action"
