#!/usr/bin/env bash
# The main job of ./build.sh run: one host on ./data, real files in a disk, and the proof that they come back.
#
# The first start makes a disk, copies a file system image into it over NBD, kills the daemon, starts it again, and
# compares what NBD, HTTP and a replay of the history give. Later starts find all that, and compare again.
# It stays up until Ctrl-C, and ends only the daemon that it started itself.
#
#   CLOUDFS_HTTP, CLOUDFS_NBD   ADDR:PORT to listen on (127.0.0.1:8090, 127.0.0.1:10809)
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
url=http://$http
export CLOUDFS_DAEMON=$url
work=$data/work
device=$data/cloudfs.dev
socket=$data/nbd.sock
log=$data/cloudfsd.log
image=$work/demo.img
state=$work/demo.state
health_seconds=60
stop_seconds=30
# Big enough to be fast, small enough for any server's limit on one answer.
range_bytes=$((16 << 20))
image_min_bytes=$((256 << 20))
tree_min_kib=$((8 << 10))
tree_max_kib=$((4 << 20))

daemon=
up=

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

# ---------------------------------------------------------------------------------------------------- the daemon

is_up() { [ -n "$daemon" ] && kill -0 "$daemon" 2>/dev/null; }

# GET of a path, with a header where one is given. A proxy has no business between this machine and itself.
get() {
    if have curl; then
        curl -fsS --noproxy '*' ${2:+-H "$2"} "$url$1"
    else
        wget -q --no-proxy --tries=1 -O- ${2:+--header="$2"} "$url$1"
    fi
}

health() {
    if have curl; then
        curl -fs --noproxy '*' --max-time 2 "$url/healthz" 2>/dev/null
    else
        wget -q --no-proxy --tries=1 --timeout=2 -O- "$url/healthz" 2>/dev/null
    fi
}

refuse_taken_port() {
    local address=${1%:*} port=${1##*:} variable=$2
    address=${address#[}
    address=${address%]}
    [[ $1 == *:* && $port =~ ^[0-9]+$ && -n $address ]] || die "$variable is ADDR:PORT, not \"$1\""
    if (exec 3<>"/dev/tcp/$address/$port") 2>/dev/null; then
        die "$1 is taken by another process; choose another with $variable=ADDR:PORT ./build.sh run"
    fi
}

# Starts it and waits until it can serve; leaves in $up how long that took, process start included.
start_daemon() {
    local began
    began=$(now)
    # A session of its own: Ctrl-C is for this script, which then stops the daemon in order.
    setsid "$dist/cloudfsd" --device "$device" --size 64G --http "$http" --nbd "$nbd" --nbd-socket "$socket" \
        >>"$log" 2>&1 </dev/null 9>&- &
    daemon=$!
    until health >/dev/null; do
        is_up || die_with_log 'cloudfsd ended before it could serve'
        (($(now) - began < health_seconds * 1000000)) ||
            die_with_log "cloudfsd did not answer $url/healthz within $health_seconds s"
        sleep 0.05
    done
    # Whoever answered must be ours: where the port was taken meanwhile, ours has ended or is about to.
    is_up || die_with_log 'cloudfsd ended, and something else answers on its port'
    up=$(($(now) - began))
}

stop_daemon() {
    local began status=0
    is_up || return 0
    began=$(now)
    kill -TERM "$daemon"
    while is_up; do
        if (($(now) - began > stop_seconds * 1000000)); then
            say "cloudfsd ($daemon) did not stop within $stop_seconds s, so it is killed; see $log" >&2
            kill -KILL "$daemon" 2>/dev/null || true
            break
        fi
        sleep 0.05
    done
    wait "$daemon" 2>/dev/null || status=$?
    daemon=
    if [ "$status" -eq 0 ]; then
        say "cloudfsd stopped cleanly in $(seconds $(($(now) - began)))"
    else
        say "cloudfsd ended with status $status; see $log" >&2
    fi
    return "$status"
}

kill_daemon() {
    kill -KILL "$daemon"
    wait "$daemon" 2>/dev/null || true
    daemon=
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
    stop_daemon || { [ "$status" -ne 0 ] || status=1; }
    exit "$status"
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

# ---------------------------------------------------------------------------------------------------- NBD, by what is there

copy_in() {
    if have nbdcopy; then
        nbdcopy --flush "$image" "$uri"
    else
        # Its default for the target, "unsafe", would never flush.
        qemu-img convert -n -t writeback -f raw -O raw "$image" "$uri"
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

# ---------------------------------------------------------------------------------------------------- the disk

head_of() { { get /heads || true; } | sed -n "s/^$1:\([0-9a-f]\{40\}\)\$/\1/p"; }

# The disk called demo; made where there is none.
find_or_make_disk() {
    local info
    if info=$("$dist/cloudfs" info demo --json 2>/dev/null); then
        id=$(sed -n 's/.*"id": *"\([0-9a-f]\{40\}\)".*/\1/p' <<<"$info" | head -n 1)
        found='found'
    else
        id=$("$dist/cloudfs" newdisk --name demo) || die_with_log 'cloudfs newdisk failed'
        found='new'
    fi
    [[ $id =~ ^[0-9a-f]{40}$ ]] || die "the disk's id should be 40 hex digits, not \"$id\""
    [ -n "$(head_of "$id")" ] || die_with_log "$url/heads has no line for the disk $id"
}

# What was copied and proved in an earlier start: id, bytes, sha256, head, tree. Nothing, where that was another disk.
recall() {
    local key value
    image_bytes='' image_sha='' image_head='' image_tree=''
    [ -f "$state" ] || return 0
    while IFS='=' read -r key value; do
        case $key in
        id) [ "$value" = "$id" ] || return 0 ;;
        bytes) image_bytes=$value ;;
        sha256) image_sha=$value ;;
        head) image_head=$value ;;
        tree) image_tree=$value ;;
        esac
    done <"$state"
}

remember() {
    printf '%s\n' "id=$id" "bytes=$image_bytes" "sha256=$image_sha" "head=$image_head" "tree=$image_tree" >"$state.tmp"
    mv "$state.tmp" "$state"
}

sha256_of() { sha256sum | cut -d' ' -f1; }

# ---------------------------------------------------------------------------------------------------- the proofs

# Each leaves the sha256 of the disk's first image_bytes in $got, and prints its row.
read_by_nbd() {
    local began took
    began=$(now)
    copy_out "$work/nbd.tmp" || die_with_log 'reading the disk over NBD failed'
    took=$(($(now) - began))
    got=$(head -c "$image_bytes" "$work/nbd.tmp" | sha256_of)
    row 'NBD' "read back by $(nbd_client): $(pace "$image_bytes" "$took")"
}

blocks() {
    local at end
    for ((at = 0; at < image_bytes; at = end)); do
        end=$((at + range_bytes < image_bytes ? at + range_bytes : image_bytes))
        get "/blocks?$id" "Range: bytes=$at-$((end - 1))" || return
    done
}

read_by_http() {
    local began took
    began=$(now)
    blocks >"$work/http.tmp" || die_with_log "GET $url/blocks failed"
    took=$(($(now) - began))
    got=$(sha256_of <"$work/http.tmp")
    row 'HTTP' "read from /blocks in ranges of $((range_bytes >> 20)) MiB: $(pace "$image_bytes" "$took")"
}

read_by_replay() {
    local began took head report
    head=$(head_of "$id")
    began=$(now)
    report=$(get "/stream?$id&once" | python3 scripts/replay.py --json --expect-head "$head" --out "$work/replay.tmp") ||
        die_with_log "the replay of $url/stream?$id&once failed"
    took=$(($(now) - began))
    number() { sed -n "s/^ *\"$1\": \([0-9]*\),\{0,1\}\$/\1/p" <<<"$report"; }
    got=$(head -c "$image_bytes" "$work/replay.tmp" | sha256_of)
    row 'replay' "of $(number entries) entries from /stream, each proved: $(pace "$(number streamBytes)" "$took")"
}

# However the image is read, it is the same; where it is not, this is the place to say so and stop.
must_equal() {
    [ "$got" = "$2" ] && return
    if [ -f "$image" ] && [ -f "$1" ]; then
        cmp -n "$image_bytes" "$image" "$1" >&2 || true
    fi
    die "$3"
}

first_start() {
    local began took
    row 'disk' "$id \"demo\" ($found)"
    rm -f "$state"

    began=$(now)
    make_image
    image_sha=$(sha256_of <"$image")
    row 'image' "ext4 of $image_tree, $image_entries files and folders: $(megabytes "$image_bytes") made in $(seconds $(($(now) - began)))"

    began=$(now)
    copy_in || die_with_log 'copying the image into the disk failed'
    took=$(($(now) - began))
    row 'copy' "into the disk over NBD by $(nbd_client), flushed: $(pace "$image_bytes" "$took")"

    kill_daemon
    start_daemon
    row 'killed' "with SIGKILL, and back in $(seconds "$up") (pid $daemon)"

    read_by_nbd
    must_equal "$work/nbd.tmp" "$image_sha" 'what NBD gives is not the image that was copied'
    read_by_http
    must_equal "$work/http.tmp" "$image_sha" 'what /blocks gives is not the image that was copied'
    if have python3; then
        read_by_replay
        must_equal "$work/replay.tmp" "$image_sha" 'what the history replays to is not the image that was copied'
        row 'equal' "image, NBD, HTTP and replay are the same $(megabytes "$image_bytes"), sha256 ${image_sha:0:16}…"
    else
        row 'equal' "image, NBD and HTTP are the same $(megabytes "$image_bytes"), sha256 ${image_sha:0:16}…"
        row 'replay' 'left out: there is no python3 here'
    fi
    image_head=$(head_of "$id")
    remember
}

later_start() {
    local head as_nbd
    head=$(head_of "$id")
    row 'disk' "$id \"demo\" (found, with the image of $image_tree)"
    read_by_nbd
    as_nbd=$got
    if [ "$as_nbd" = "$image_sha" ]; then
        row 'equal' "the disk still holds the $(megabytes "$image_bytes") of before, sha256 ${image_sha:0:16}…; nothing to copy"
    elif [ "$head" != "$image_head" ]; then
        row 'changed' "the disk was written to since (its head was ${image_head:0:16}…, now ${head:0:16}…), so it is no longer that image"
    else
        must_equal "$work/nbd.tmp" "$image_sha" 'nothing was written to the disk, and it no longer holds the image'
    fi
    if have python3; then
        read_by_replay
        must_equal '' "$as_nbd" 'what the history replays to is not what NBD gives'
        row 'equal' 'the replay gives the same bytes as NBD'
    else
        row 'replay' 'left out: there is no python3 here'
    fi
}

tell_how() {
    local full
    full=$(realpath "$socket")
    cat <<EOF

Look
  wget -qO- $url/heads
  wget -qO- $url/disks/demo
  wget -qO- $url/healthz
  wget -qO- $url/metrics
  wget -qO- '$url/stream?$id&once' | python3 scripts/replay.py

Attach
  QEMU        qemu-system-x86_64 -m 1G -drive 'file=nbd+unix:///demo?socket=$(percent_encoded "$full"),format=raw,if=virtio'
  nbd-client  sudo modprobe nbd && sudo nbd-client -N demo -unix $(printf %q "$full") /dev/nbd0 && sudo mount /dev/nbd0 /mnt
  nbdfuse     mkdir -p /tmp/demo && nbdfuse /tmp/demo/disk 'nbd+unix:///demo?socket=$(percent_encoded "$full")'
  over TCP    nbdinfo nbd://$nbd/demo
EOF
}

# ---------------------------------------------------------------------------------------------------- the way through

for program in cloudfsd cloudfs; do
    [ -x "$dist/$program" ] || die "there is no $dist/$program; ./build.sh publish makes it"
done
mkdir -p "$work"
exec 9>"$data/demo.lock"
flock -n 9 || die "another ./build.sh run is at work in $data"
refuse_taken_port "$http" CLOUDFS_HTTP
refuse_taken_port "$nbd" CLOUDFS_NBD
[ ! -f "$log" ] || mv "$log" "$log.1"

uri="nbd+unix:///demo?socket=$(percent_encoded "$socket")"
trap ended EXIT
trap 'interrupted 130' INT
trap 'interrupted 143' TERM HUP

say "CloudFS on $data"
start_daemon
row 'daemon' "pid $daemon, up in $(seconds "$up"): $url, nbd://$nbd, $socket; log in $log"
status=$(health | sed -n 's/.*"status": *"\([a-z]*\)".*/\1/p' | head -n 1)
[ "$status" = ok ] || row 'health' "${status:-unknown}: $(health | tr -s '\n ' ' ')"

find_or_make_disk
recall
if [ -n "$image_sha" ]; then
    later_start
else
    first_start
fi
rm -f "$work"/*.tmp
tell_how

[ -z "${CLOUDFS_DEMO_ONCE:-}" ] || exit 0

say
say 'It stays up until Ctrl-C.'
trap 'say; interrupted 0' INT TERM HUP
wait "$daemon" || die_with_log "cloudfsd ended by itself with status $?"
die_with_log 'cloudfsd ended by itself'
