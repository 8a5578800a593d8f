#!/usr/bin/env bash
# bench/peers/gluster.sh up|down DIR SOCKET BYTES: GlusterFS with two bricks on this machine, on loopback, behind a qemu-nbd that
# reaches it by libgfapi. A brick's host must have a name that is neither localhost nor an address, so this wants one of 127.0.0.1:
# HOST_NAME, or the last such in /etc/hosts. Root, because glusterd insists on /var/run/gluster and /var/log/glusterfs.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
volume=cloudfs-bench
host=${HOST_NAME:-$(awk '$1 == "127.0.0.1" { for (i = 2; i <= NF; i++) if ($i != "localhost") last = $i } END { print last }' /etc/hosts)}

up() {
    [ -n "$host" ] || refuse 'gluster needs a name of 127.0.0.1 in /etc/hosts that is not localhost'
    ! gluster --mode=script --timeout=2 pool list >/dev/null 2>&1 || refuse 'a glusterd runs on this machine already: it is left alone'
    mkdir -p "$dir"/{state,log,one,two} /var/run/gluster /var/log/glusterfs/bricks
    {
        echo 'volume management'
        echo '    type mgmt/glusterd'
        printf '    option %s\n' "working-directory $dir/state" 'transport-type socket' 'transport.address-family inet' \
            'transport.socket.bind-address 127.0.0.1' 'transport.socket.listen-port 24007' 'ping-timeout 0' 'base-port 49152' \
            'max-port 49200'
        echo 'end-volume'
    } >"$dir/glusterd.vol"
    glusterd -f "$dir/glusterd.vol" -p "$dir/glusterd.pid" -l "$dir/log/glusterd.log"
    await 'gluster --mode=script pool list'
    gluster --mode=script volume create $volume replica 2 "$host:$dir/one" "$host:$dir/two" force
    gluster --mode=script volume set $volume client.event-threads 2
    # What heals copies is of no use here, and would work in others' time.
    gluster --mode=script volume set $volume cluster.self-heal-daemon off
    gluster --mode=script volume start $volume
    await "qemu-img create -q -f raw gluster+tcp://$host/$volume/disk.img $bytes"
    front --format=raw "gluster+tcp://$host/$volume/disk.img"
    # Bricks are glusterd's children no more; their pids are wanted for their memory, their time, and their end.
    pgrep -f "^/[^ ]*glusterfsd .*-s $host --volfile-id $volume\\." | nl -w1 | while read -r number pid; do
        echo "$pid" >"$dir/brick$number.pid"
    done
} >"$log" 2>&1

down() {
    end_all "$dir/front.pid"
    gluster --mode=script volume stop $volume force || true
    gluster --mode=script volume delete $volume || true
    end_all "$dir/glusterd.pid" "$dir"/brick*.pid
} >"$log" 2>&1

"$action"
