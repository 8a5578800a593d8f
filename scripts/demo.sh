#!/usr/bin/env bash
# The main job of ./build.sh run: three hosts on ./data, a disk with three replicas, real files in it, and the proof that each host holds them.
#
# The first start makes the disk, copies a file system image into it over NBD through host 1, and compares the three heads, and what a
# replay of each host's own history gives. Then host 3 is killed, writes go on, and it comes back and gets what it missed. Later starts find
# all that, and compare again. It stays up until Ctrl-C, and ends the hosts that it started.
#
#   CLOUDFS_HTTP, CLOUDFS_NBD   ADDR:PORT of host 1 (127.0.0.1:8090, 127.0.0.1:10809); the others' ports are higher by 100 each
#   CLOUDFS_DEMO_DATA           the folder, instead of ./data
#   CLOUDFS_DEMO_ONCE=1         end after the report
set -euo pipefail
export LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dist=${CLOUDFS_DIST:-dist}
http=${CLOUDFS_HTTP:-127.0.0.1:8090}
nbd=${CLOUDFS_NBD:-127.0.0.1:10809}
data=${CLOUDFS_DEMO_DATA:-data}
cluster=$data/cluster
url=http://$http
export CLOUDFS_DAEMON=$url
work=$data/work
socket=$cluster/host1/nbd.sock
log=$data/demo.log
image=$work/demo.img
state=$work/demo.state
wait_seconds=90
image_min_bytes=$((256 << 20))
tree_min_kib=$((8 << 10))
tree_max_kib=$((4 << 20))
missed_bytes=$((64 << 20))
started=

# ---------------------------------------------------------------------------------------------------- words and numbers

say() { printf '%s\n' "$*"; }
row() { printf '  %-10s %s\n' "$1" "$2"; }

die() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

die_with_log() {
    if [ -s "$log" ]; then
        printf -- '--- the end of %s\n' "$log" >&2
        tail -n 20 "$log" >&2
        printf -- '---\n' >&2
    fi
    die "$@"
}

have() { command -v "$1" >/dev/null 2>&1; }
now() { printf '%s' "${EPOCHREALTIME/[.,]/}"; } # microseconds
megabytes() { printf '%d.%d MB' $(($1 / 1000000)) $(($1 / 100000 % 10)); }
seconds() { printf '%d.%02d s' $(($1 / 1000000)) $(($1 / 10000 % 100)); }

# "268.4 MB in 0.53 s, 506 MB/s" of bytes and microseconds; a byte a microsecond is a megabyte a second.
pace() { printf '%s in %s, %d MB/s' "$(megabytes "$1")" "$(seconds "$2")" $(($1 / ($2 > 0 ? $2 : 1))); }

percent_encoded() {
    local text=$1 at char
    for ((at = 0; at < ${#text}; at++)); do
        char=${text:at:1}
        case $char in
        [a-zA-Z0-9/._~-]) printf '%s' "$char" ;;
        *) printf '%%%02X' "'$char" ;;
        esac
    done
}

# ---------------------------------------------------------------------------------------------------- the image

# The trees to take files from, the most even first; a slim container has no documentation to speak of.
trees() {
    local sdk
    sdk=$(readlink -m "$(command -v dotnet || echo /usr/share/dotnet/dotnet)")
    printf '%s\n' /usr/share/doc "${sdk%/*}" /usr/share /usr/lib
}

make_image() {
    local tree kib apparent entries bytes
    while read -r tree; do
        [ -d "$tree" ] || continue
        kib=$({ du -sk "$tree" || true; } 2>/dev/null | cut -f1)
        apparent=$({ du -sk --apparent-size "$tree" || true; } 2>/dev/null | cut -f1)
        entries=$({ find "$tree" || true; } 2>/dev/null | wc -l)
        ((apparent <= kib)) || kib=$apparent
        ((kib >= tree_min_kib && kib <= tree_max_kib)) || continue
        # Files end in the middle of a block, and each takes an inode; the journal and tables come on top.
        bytes=$(((kib * 5 / 4 + entries * 4 + (128 << 10)) * 1024))
        ((bytes >= image_min_bytes)) || bytes=$image_min_bytes
        bytes=$(((bytes + (4 << 20) - 1) >> 22 << 22))
        rm -f "$image.tmp"
        truncate -s "$bytes" "$image.tmp"
        if mkfs.ext4 -q -F -L demo -N $((entries * 5 / 4 + 1024)) -d "$tree" "$image.tmp" </dev/null >"$work/mkfs.log" 2>&1; then
            mv "$image.tmp" "$image"
            image_bytes=$bytes
            image_tree=$tree
            image_entries=$entries
            return
        fi
        say "  (mkfs.ext4 could not take $tree: $(tail -n 1 "$work/mkfs.log"))" >&2
    done < <(trees)
    die "no folder on this machine makes a file system image; the last word of mkfs.ext4 is in $work/mkfs.log"
}

# ---------------------------------------------------------------------------------------------------- the hosts

# GET of a path from host $1. A proxy has no business between this machine and itself.
get() {
    local at=${http%:*}:$((${http##*:} + 100 * ($1 - 1)))
    if have curl; then
        curl -fsS --noproxy '*' "http://$at$2"
    else
        wget -q --no-proxy --tries=1 -O- "http://$at$2"
    fi
}

start_hosts() {
    local began
    began=$(now)
    started=yes
    "$dist/cloudfs" up --hosts 3 --dir "$cluster" --http "$http" --nbd "$nbd" --size 64G >>"$log" 2>&1 9>&- ||
        die_with_log 'cloudfs up did not bring up three hosts'
    up=$(($(now) - began))
}

stop_hosts() {
    local began
    [ -n "$started" ] || return 0
    began=$(now)
    started=
    if "$dist/cloudfs" down --dir "$cluster" >>"$log" 2>&1; then
        say "three hosts stopped cleanly in $(seconds $(($(now) - began)))"
    else
        say "the hosts did not stop as they should; see $log" >&2
        return 1
    fi
}

# One signal is enough: what comes after it must not cut the clean end short.
interrupted() {
    trap '' INT TERM HUP
    exit "$1"
}

ended() {
    local status=$?
    trap '' INT TERM HUP
    trap - EXIT
    rm -f "$work"/*.tmp
    stop_hosts || { [ "$status" -ne 0 ] || status=1; }
    exit "$status"
}

# ---------------------------------------------------------------------------------------------------- the disk

head_on() { { get "$1" /heads || true; } 2>/dev/null | sed -n "s/^$id:\([0-9a-f]\{40\}\)\$/\1/p"; }

number() { sed -n "s/^ *\"$1\": \([0-9]*\),\{0,1\}\$/\1/p" | head -n 1; }

# The disk called demo; made on three hosts where there is none.
find_or_make_disk() {
    local info words
    if info=$("$dist/cloudfs" info demo --json 2>/dev/null); then
        id=$(sed -n 's/.*"id": *"\([0-9a-f]\{40\}\)".*/\1/p' <<<"$info" | head -n 1)
        found='found'
    else
        words=$work/newdisk.tmp
        id=$("$dist/cloudfs" newdisk --name demo 2>"$words") || die_with_log "cloudfs newdisk failed: $(cat "$words")"
        found=$(cat "$words")
    fi
    [[ $id =~ ^[0-9a-f]{40}$ ]] || die "the disk's id should be 40 hex digits, not \"$id\""
}

# Waits until the three hosts show one and the same newest version; leaves it in $head.
wait_for_equal_heads() {
    local began
    began=$(now)
    while true; do
        head=$(head_on 1)
        [ -n "$head" ] && [ "$(head_on 2)" = "$head" ] && [ "$(head_on 3)" = "$head" ] && return
        (($(now) - began < wait_seconds * 1000000)) ||
            die_with_log "the heads did not become equal: host 1 $(head_on 1), 2 $(head_on 2), 3 $(head_on 3)"
        sleep 0.1
    done
}

sha256_of() { sha256sum | cut -d' ' -f1; }

copy_in() {
    if have nbdcopy; then
        nbdcopy --flush "$1" "$uri"
    else
        # Its default for the target, "unsafe", would never flush.
        qemu-img convert -n -t writeback -f raw -O raw "$1" "$uri"
    fi
}

copy_out() {
    if have nbdcopy; then
        nbdcopy "$uri" "$1"
    else
        qemu-img convert -f raw -O raw "$uri" "$1"
    fi
}

nbd_client() { if have nbdcopy; then echo nbdcopy; else echo 'qemu-img convert'; fi; }

# What was copied and proved in an earlier start: id, bytes, sha256. Nothing, where that was another disk.
recall() {
    local key value
    image_bytes='' image_sha=''
    [ -f "$state" ] || return 0
    while IFS='=' read -r key value; do
        case $key in
        id) [ "$value" = "$id" ] || return 0 ;;
        bytes) image_bytes=$value ;;
        sha256) image_sha=$value ;;
        esac
    done <"$state"
}

remember() {
    printf '%s\n' "id=$id" "bytes=$image_bytes" "sha256=$image_sha" >"$state.tmp"
    mv "$state.tmp" "$state"
}

# Replays the history that host $1 itself holds, every entry proved, and compares what comes of it with the image.
replay_on() {
    local began took report got
    began=$(now)
    report=$(get "$1" "/stream?$id&once" | python3 scripts/replay.py --json --expect-head "$head" --out "$work/replay.tmp") ||
        die_with_log "the replay of host $1's /stream failed"
    took=$(($(now) - began))
    got=$(head -c "$image_bytes" "$work/replay.tmp" | sha256_of)
    [ "$got" = "$image_sha" ] || die "what host $1's history replays to is not the image: $got, expected $image_sha"
    row "host $1" "$(number entries <<<"$report") entries of its own /stream, each proved: $(
        pace "$(number streamBytes <<<"$report")" "$took"), sha256 ${got:0:16}…"
}

compare_hosts() {
    local host
    wait_for_equal_heads
    row 'heads' "equal on all three: ${head:0:16}…"
    if have python3; then
        for host in 1 2 3; do
            replay_on "$host"
        done
        row 'equal' "the image and the three hosts' histories are the same $(megabytes "$image_bytes")"
    else
        row 'replay' 'left out: there is no python3 here'
    fi
}

first_start() {
    local began took
    began=$(now)
    make_image
    image_sha=$(sha256_of <"$image")
    row 'image' "ext4 of $image_tree, $image_entries files and folders: $(megabytes "$image_bytes") made in $(seconds $(($(now) - began)))"
    began=$(now)
    copy_in "$image" || die_with_log 'copying the image into the disk failed'
    took=$(($(now) - began))
    row 'copy' "into the disk over NBD through host 1 by $(nbd_client), flushed on a majority: $(pace "$image_bytes" "$took")"
    remember
    compare_hosts
}

later_start() {
    copy_out "$work/nbd.tmp" || die_with_log 'reading the disk over NBD failed'
    if [ "$(head -c "$image_bytes" "$work/nbd.tmp" | sha256_of)" = "$image_sha" ]; then
        row 'equal' "the disk still holds the $(megabytes "$image_bytes") of before, sha256 ${image_sha:0:16}…"
        compare_hosts
    else
        row 'changed' 'the disk was written to since, so it is no longer that image'
        wait_for_equal_heads
        row 'heads' "equal on all three: ${head:0:16}…"
    fi
}

# Host 3 dies, something is written that it misses, and it comes back.
lose_and_return() {
    local began took sent at
    for at in cloudfsd replicator; do
        kill -KILL "$(head -n 1 "$cluster/host3/$at.pid")" || die "host 3's $at could not be killed"
    done
    row 'killed' 'host 3, daemon and replicator, with SIGKILL'
    # Behind the image, which stays as it is; what is written is new each time.
    at=$(((image_bytes + (1 << 20) - 1) >> 20 << 20))
    began=$(now)
    head -c "$missed_bytes" /dev/urandom | "$dist/cloudfs" write demo --offset "$at" >>"$log" 2>&1 ||
        die_with_log 'writing without host 3 failed'
    took=$(($(now) - began))
    row 'written' "$(megabytes "$missed_bytes") that host 3 misses, on the other two: $(pace "$missed_bytes" "$took")"
    began=$(now)
    start_hosts
    wait_for_equal_heads
    took=$(($(now) - began))
    sent=$(sent_to_host3)
    row 'back' "host 3 has what it missed $(seconds "$took") after its start: it was sent $(megabytes "$sent"); the disk holds $(
        megabytes $((image_bytes + missed_bytes)))"
    for at in 1 2 3; do
        row "host $at" "head $(head_on "$at")"
    done
}

# Bytes that host 3 was sent since it came back, as host 1, the disk's primary, counts them.
sent_to_host3() {
    local host3
    host3=$(get 3 /host | sed -n 's/^ *"host": "\([0-9a-f]\{40\}\)",\{0,1\}$/\1/p' | head -n 1)
    get 1 /disks/demo | tr -d ' \n' | sed 's/{"host"/\n&/g' | grep "\"host\":\"$host3\"" |
        sed -n 's/.*"sentBytes":\([0-9]*\).*/\1/p' | sort -n | tail -n 1
}

tell_how() {
    local full
    full=$(realpath "$socket")
    cat <<EOF

Look
  $dist/cloudfs hosts
  $dist/cloudfs info demo
  wget -qO- $url/heads
  wget -qO- '$url/stream?$id&once' | python3 scripts/replay.py

Attach, to any of the hosts
  QEMU        qemu-system-x86_64 -m 1G -drive 'file=nbd+unix:///demo?socket=$(percent_encoded "$full"),format=raw,if=virtio'
  nbd-client  sudo modprobe nbd && sudo nbd-client -N demo -unix $(printf %q "$full") /dev/nbd0 && sudo mount /dev/nbd0 /mnt
  nbdfuse     mkdir -p /tmp/demo && nbdfuse /tmp/demo/disk 'nbd+unix:///demo?socket=$(percent_encoded "$full")'
  over TCP    nbdinfo nbd://$nbd/demo
EOF
}

# ---------------------------------------------------------------------------------------------------- the way through

for program in cloudfsd replicator cloudfs; do
    [ -x "$dist/$program" ] || die "there is no $dist/$program; ./build.sh publish makes it"
done
mkdir -p "$work"
exec 9>"$data/demo.lock"
flock -n 9 || die "another ./build.sh run is at work in $data"
[ ! -f "$log" ] || mv "$log" "$log.1"

uri="nbd+unix:///demo?socket=$(percent_encoded "$socket")"
trap ended EXIT
trap 'interrupted 130' INT
trap 'interrupted 143' TERM HUP

say "CloudFS on $cluster"
start_hosts
row 'hosts' "three, up in $(seconds "$up"): $url and on; logs in $cluster/host1 to host3"
find_or_make_disk
row 'disk' "$id \"demo\" ($found)"
recall
if [ -n "$image_sha" ]; then
    later_start
else
    first_start
fi
lose_and_return
rm -f "$work"/*.tmp
tell_how

[ -z "${CLOUDFS_DEMO_ONCE:-}" ] || exit 0

say
say 'It stays up until Ctrl-C.'
trap 'say; interrupted 0' INT TERM HUP
while true; do
    sleep 1
done
