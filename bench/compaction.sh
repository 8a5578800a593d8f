#!/usr/bin/env bash
# bench/compaction.sh: what clients feel of compaction: the same load on a device that is 70 % full and on one with room
# enough, in turn. bench/README.md says more.
source "$(dirname "$0")/lib.sh"

device=$(bytes "${BENCH_DEVICE:-4G}")
rounds=${BENCH_ROUNDS:-5}
seconds=${BENCH_SECONDS:-20}
# What the one with room takes at most: the disk, and 150 MB/s for its turns at depth 32, 30 for the flushed ones.
room=$((device + rounds * seconds * 180000000))
need_room $((device + room))
# shellcheck disable=SC2046 # several words
start full --size "$device" $(with --history-min 0)
# shellcheck disable=SC2046 # several words
start roomy --size "$room" $(with --history-min 0)
# A device is dearer to write the first time: each of its segments is laid out then. So that is done with first.
new_disk roomy spare $((room * 2))
say "roomy, laid out: $(load roomy --disks spare full)"
delete_disk roomy spare
pages=$(($(capacity full) * 70 / 100 / 4608))
for name in full roomy; do
    new_disk $name disk $((pages * 4096))
    say "$name: $(load $name --disks disk --no-flush once --pages $pages)"
done
settle roomy cloudfs_device_written_bytes_total
roomy_before=$(written roomy relocated)
# Until compaction has found its pace.
run_fio full disk --rw=randwrite --iodepth=32 --size=$((pages * 4096)) --io_size=$((2 * $(capacity full))) --norandommap
new_before=$(written full new)
relocated_before=$(written full relocated)

turn() { # name, what, words for fio; the other daemon is held still meanwhile, so that it can't use the time
    local name=$1 other=roomy
    [ "$name" = full ] || other=full
    kill -STOP "${pid_of[$other]}"
    run_fio "$name" disk --rw=randwrite --size=$((pages * 4096)) --norandommap --time_based --runtime="$seconds" "${@:3}"
    kill -CONT "${pid_of[$other]}"
    python3 - "$work/fio.json" >>"$work/$name.$2" <<'PY'
import json, sys
job = json.load(open(sys.argv[1]))["jobs"][0]
print(job["write"]["iops"], job["sync"]["lat_ns"].get("percentile", {}).get("99.000000", 0) / 1e6)
PY
    say "$name, $2: $(tail -n1 "$work/$name.$2") (IOPS, p99 of the flush in ms)"
}

for round in $(seq "$rounds"); do
    order='full roomy'
    [ $((round % 2)) -eq 1 ] || order='roomy full'
    for name in $order; do turn "$name" depth32 --iodepth=32 --fsync=32; done
    for name in $order; do turn "$name" flushed --iodepth=1 --fsync=1; done
done
new=$(($(written full new) - new_before))
relocated=$(($(written full relocated) - relocated_before))
[ $new -gt 0 ] || { say 'the daemon does not tell new from relocated bytes: no compaction here'; exit 2; }
wa=$(calc .3f "($new + $relocated) / $new")

column() { awk -v column="$3" '{ print $column }' "$work/$1.$2"; } # name, what, column

median() { python3 -c 'import statistics, sys; print(round(statistics.median(map(float, sys.stdin)), 3))'; }

middle() { column "$@" | median; }

# The median of the rounds' ratios: the two turns of a round had the same neighbours, those of different rounds had not.
ratio() { paste <(column full "$1" "$2") <(column roomy "$1" "$2") | awk '{ print $1 / $2 }' | median; } # what, column

echo "write amplification meanwhile: $wa (relocated $(gib $relocated), new $(gib $new))"
printf '%-34s %12s %12s\n' "medians of $rounds" compacting with-room
printf '%-34s %12s %12s\n' 'depth 32, flush every 32, IOPS' "$(middle full depth32 1)" "$(middle roomy depth32 1)" \
    'flush after each, IOPS' "$(middle full flushed 1)" "$(middle roomy flushed 1)" \
    'flush after each, p99 ms' "$(middle full flushed 2)" "$(middle roomy flushed 2)"
judge "relocated by the one that is full (bytes)" "$relocated" '>' 0
judge "relocated by the one with room (bytes)" "$(($(written roomy relocated) - roomy_before))" '==' 0
judge "throughput at depth 32, to that with room" "$(ratio depth32 1)" '>=' "$(calc .3f "0.85 / $wa")"
judge "p99 of a flushed write, to that with room" "$(ratio flushed 2)" '<=' 3
exit $failed
