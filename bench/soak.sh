#!/usr/bin/env bash
# bench/soak.sh [minutes=60] [words for soak.py]: random load, kills, a full device, trims, deletions; nothing may be lost, and
# neither memory nor descriptors may grow. bench/README.md says more.
source "$(dirname "$0")/lib.sh"

minutes=${1:-60}
[ $# -eq 0 ] || shift
device=$(bytes "${BENCH_DEVICE:-2G}")
need_room $((device * 2 + (1 << 30)))
csv=${SOAK_CSV:-soak.csv}
mkdir "$work/soak"
status=0
python3 "$bench/soak.py" --dist "$dist" --work "$work/soak" --buffers "$buffers" --minutes "$minutes" --size "$device" \
    --csv "$csv" --daemon "$(with --history-min 10s) $(with --read-cache 16M) ${SOAK_DAEMON:-}" "$@" || status=$?
say "samples: $csv"
[ -z "${BENCH_KEEP:-}" ] || cp "$work/soak/daemon.log" "$BENCH_KEEP"
exit $status
