#!/usr/bin/env bash
# Pairs cloudfsd with nbdkit's file plugin in one run: the same generator (fio's nbd engine over a Unix socket), data on the
# same file system, interleaved (A B A B ...), medians and their ratio. Figures of a noisy machine mean little, ratios from
# one run mean something. bench/README.md says how to read it.
set -euo pipefail

dist=${CLOUDFS_DIST:-$(dirname "$0")/../dist}
rounds=${BENCH_ROUNDS:-3}
seconds=${BENCH_SECONDS:-5}
work=$(mktemp -d "${BENCH_DIR:-/var/tmp}/cloudfs-bench.XXXXXX")
pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap cleanup EXIT

size=1G
truncate -s 4G "$work/peer.raw"
nbdkit -f -U "$work/peer.sock" file "$work/peer.raw" & pids+=($!)
"$dist/cloudfsd" --device "$work/cloudfs.dev" --size 32G --http 127.0.0.1:18999 --nbd none \
    --nbd-socket "$work/cloudfs.sock" 2>"$work/cloudfsd.log" & pids+=($!)
for _ in $(seq 100); do curl -sf http://127.0.0.1:18999/healthz >/dev/null && break; sleep 0.1; done
CLOUDFS_DAEMON=http://127.0.0.1:18999 "$dist/cloudfs" newdisk --name disk --size 4G >/dev/null 2>&1

declare -A uri=([cloudfs]="nbd+unix:///disk?socket=$work/cloudfs.sock" [nbdkit]="nbd+unix:///?socket=$work/peer.sock")

measure() { # who, fio's words: IOPS (or MiB/s with bs=1m)
    local who=$1
    shift
    fio --name=bench --ioengine=nbd --uri="${uri[$who]}" --size=$size --refill_buffers --randrepeat=0 --output-format=json "$@" |
        python3 -c 'import json, sys
text = sys.stdin.read()  # fio says a word of its own before the JSON
job = json.loads(text[text.index("{\n"):])["jobs"][0]
print(round(job["read"]["iops"] + job["write"]["iops"], 1))'
}

# No reads of holes: both are written once, in whole, before anything is timed.
for who in nbdkit cloudfs; do measure $who --rw=write --bs=1m --iodepth=8 --end_fsync=1 >/dev/null; done

printf '%-34s %12s %12s %8s\n' "workload (medians of $rounds)" cloudfs nbdkit ratio
while IFS='|' read -r name words; do
    : >"$work/cloudfs.out"
    : >"$work/nbdkit.out"
    for _ in $(seq "$rounds"); do
        for who in cloudfs nbdkit; do
            # shellcheck disable=SC2086 # the words are fio's options
            measure $who --runtime="$seconds" --time_based $words >>"$work/$who.out"
        done
    done
    python3 - "$name" "$work/cloudfs.out" "$work/nbdkit.out" <<'PY'
import statistics, sys
ours, peer = (statistics.median(float(line) for line in open(path)) for path in sys.argv[2:])
print(f"{sys.argv[1]:34} {ours:12.0f} {peer:12.0f} {ours / peer:8.2f}")
PY
done <<'E2'
4 KiB random write, depth 1|--rw=randwrite --bs=4k --iodepth=1
4 KiB random write, depth 32|--rw=randwrite --bs=4k --iodepth=32
flush after each, depth 1|--rw=randwrite --bs=4k --iodepth=1 --fsync=1
flush after each, depth 16|--rw=randwrite --bs=4k --iodepth=16 --fsync=1
flush after every 32|--rw=randwrite --bs=4k --iodepth=1 --fsync=32
4 KiB random read, depth 1|--rw=randread --bs=4k --iodepth=1
4 KiB random read, depth 32|--rw=randread --bs=4k --iodepth=32
70 % read, 30 % write, depth 32|--rw=randrw --rwmixread=70 --bs=4k --iodepth=32
1 MiB write, depth 8|--rw=write --bs=1m --iodepth=8
1 MiB read, depth 8|--rw=read --bs=1m --iodepth=8
E2
