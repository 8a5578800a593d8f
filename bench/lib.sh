# What the measurements share: a folder that vanishes, daemons, their figures, verdicts. Sourced, not run.
# Everything lies in a folder of its own under BENCH_DIR (/var/tmp), the write buffers in one on /dev/shm where there is one.
set -euo pipefail

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dist=$(cd "${CLOUDFS_DIST:-$bench/../dist}" 2>/dev/null && pwd) || { echo 'there is no dist: ./build.sh publish' >&2; exit 1; }
bash "$bench/../scripts/system-packages.sh" bench
work=$(mktemp -d "${BENCH_DIR:-/var/tmp}/cloudfs-bench.XXXXXX")
buffers=$work/buffers
if [ -d /dev/shm ] && [ -w /dev/shm ]; then buffers=$(mktemp -d /dev/shm/cloudfs-bench.XXXXXX); fi
help=$("$dist/cloudfsd" --help 2>&1 || true)
export PYTHONDONTWRITEBYTECODE=1
failed=0
declare -A pid_of=() http_of=() options_of=()

cleanup() {
    local name
    for name in "${!pid_of[@]}"; do
        kill -CONT "${pid_of[$name]}" 2>/dev/null || true
        kill -KILL "${pid_of[$name]}" 2>/dev/null && wait "${pid_of[$name]}" 2>/dev/null || true
    done
    [ -z "${BENCH_KEEP:-}" ] || cp "$work"/*.log "$BENCH_KEEP" 2>/dev/null || true
    rm -rf "$work" "$buffers"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf '%s\n' "$*" >&2; }

# 4G, 512M or plain bytes, as bytes.
bytes() { numfmt --from=iec "$1"; }

gib() { python3 -c 'import sys; print(f"{float(sys.argv[1]) / 2**30:.1f} GiB")' "$1"; }

# need_room BYTES: ends when the file system has less.
need_room() {
    local free
    free=$(df --output=avail -B1 "$work" | tail -n1)
    if [ "$free" -lt "$1" ]; then
        say "this needs $(gib "$1") in $(dirname "$work"), which has $(gib "$free"): set BENCH_DIR, or choose smaller sizes"
        exit 2
    fi
}

# with OPTION VALUE: both words if the daemon knows the option; otherwise none, and a line that says so.
with() {
    if grep -q -- "$1" <<<"$help"; then echo "$1 $2"; else say "(this daemon has no $1: measured without)"; fi
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# start NAME [OPTION...]: a daemon on NAME.dev; the options stay for later starts. Prints how many seconds /healthz took.
start() {
    local name=$1 began
    shift
    [ $# -eq 0 ] || options_of[$name]=$*
    http_of[$name]=127.0.0.1:$(free_port)
    mkdir -p "$buffers/$name"
    began=$EPOCHREALTIME
    # shellcheck disable=SC2086 # several words
    "$dist/cloudfsd" --device "$work/$name.dev" --http "${http_of[$name]}" --nbd none --nbd-socket "$work/$name.sock" \
        --buffer-dir "$buffers/$name" ${options_of[$name]} 2>>"$work/$name.log" &
    pid_of[$name]=$!
    until curl -sf -o "$work/health" "http://${http_of[$name]}/healthz"; do
        if ! kill -0 "${pid_of[$name]}" 2>/dev/null; then
            tail -n 20 "$work/$name.log" >&2
            say "$name's daemon ended"
            exit 1
        fi
        sleep 0.02
    done
    took=$(python3 -c 'import sys; print(round(float(sys.argv[2]) - float(sys.argv[1]), 2))' "$began" "$EPOCHREALTIME")
}

# stop NAME [SIGNAL]: returns once it is gone.
stop() {
    kill "-${2:-TERM}" "${pid_of[$1]}"
    wait "${pid_of[$1]}" 2>/dev/null || true
    unset "pid_of[$1]"
}

# forget_cache NAME: the kernel's copy of the device goes, so that the next opening really reads.
forget_cache() {
    sync "$work/$1.dev"
    python3 -c 'import os, sys; os.posix_fadvise(os.open(sys.argv[1], os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)' "$work/$1.dev"
}

uri() { echo "nbd+unix:///$2?socket=$work/$1.sock"; }

# new_disk NAME DISK SIZE
new_disk() { CLOUDFS_DAEMON=http://${http_of[$1]} "$dist/cloudfs" newdisk --name "$2" --size "$3" >/dev/null 2>&1; }

delete_disk() { CLOUDFS_DAEMON=http://${http_of[$1]} "$dist/cloudfs" deletedisk "$2" --yes >/dev/null 2>&1; }

# metric NAME METRIC [LABEL'S VALUE]: its value, summed over what labels are left; 0 where there is none.
metric() {
    curl -sf "http://${http_of[$1]}/metrics" | awk -v name="$2" -v label="${3:-}" '
        $1 == name || index($1, name "{") == 1 { if (label == "" || index($1, "=\"" label "\"")) sum += $NF }
        END { printf "%.0f\n", sum }'
}

# written NAME KIND: bytes written to the device: new, relocated, index, checkpoint, footer.
written() { metric "$1" cloudfs_device_written_bytes_total "$2"; }

# space NAME KIND: bytes of cloudfs_space_bytes, or of the gauges that a daemon without it has.
space() {
    if curl -sf "http://${http_of[$1]}/metrics" | grep -q '^cloudfs_space_bytes'; then
        metric "$1" cloudfs_space_bytes "$2"
    else
        metric "$1" "cloudfs_device_$2_bytes"
    fi
}

# free_space NAME: what can be written now, or once what no disk reads has been reclaimed.
free_space() {
    echo $(($(space "$1" free) + $(metric "$1" cloudfs_space_bytes dead) + $(metric "$1" cloudfs_space_bytes history) +
        $(metric "$1" cloudfs_device_reclaimable_bytes)))
}

capacity() { metric "$1" cloudfs_device_capacity_bytes; }

# status NAME FIELD: of /proc/PID/status, in KiB.
status() { awk -v field="$2:" '$1 == field { print $2 }' "/proc/${pid_of[$1]}/status"; }

# settle NAME METRIC [LABEL]: waits until it stands still for 3 s, for a minute at most.
settle() {
    local last='' now i
    for i in $(seq 20); do
        now=$(metric "$@")
        [ "$now" != "$last" ] || return 0
        last=$now
        sleep 3
    done
}

# load NAME WORDS...: bench/load.py on that daemon.
load() {
    local name=$1
    shift
    python3 "$bench/load.py" --socket "$work/$name.sock" "$@"
}

# run_fio NAME DISK WORDS...: fio's JSON of one job, into $work/fio.json.
run_fio() {
    local name=$1 disk=$2
    shift 2
    fio --name=bench --ioengine=nbd --uri="$(uri "$name" "$disk")" --refill_buffers --randrepeat=0 --bs=4k \
        --output-format=json "$@" >"$work/fio.out" 2>"$work/fio.err" || {
        # The first error says it all; the rest is a screenful.
        cat "$work/fio.err" "$work/fio.out" | grep -m1 -i error >&2 || true
        say "fio failed: $*"
        exit 1
    }
    sed -n '/^{/,$p' "$work/fio.out" >"$work/fio.json"
}

# calc FORMAT EXPRESSION: Python's arithmetic.
calc() { python3 -c 'import sys; print(format(eval(sys.argv[2]), sys.argv[1]))' "$@"; }

# judge WHAT MEASURED OPERATOR LIMIT: prints PASS or FAIL; the script's status remembers a FAIL.
judge() {
    local verdict=PASS
    python3 -c 'import sys; sys.exit(not eval(" ".join(sys.argv[1:])))' "$2" "$3" "$4" || verdict=FAIL
    [ $verdict = PASS ] || failed=1
    printf '%s  %-58s %12s %s %s\n' "$verdict" "$1" "$2" "$3" "$4"
}
