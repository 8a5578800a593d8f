#!/usr/bin/env bash
# bench/refill.sh: fills the device to ENOSPC, takes everything away, and does so again, by trims and by deletions; each
# time there must be the same room again. bench/README.md says more.
source "$(dirname "$0")/lib.sh"

device=$(bytes "${BENCH_DEVICE:-2G}")
rounds=${BENCH_ROUNDS:-3}
need_room $((device + (1 << 30)))
# shellcheck disable=SC2046 # several words
start r --size "$device" $(with --history-min 0)
new_disk r disk $((device * 2))
echo "fresh: free $(free_space r) of $(capacity r)"

spread() { python3 -c 'import sys; all = [int(word) for word in sys.argv[1:]]; print(max(all) - min(all))' "$@"; }

for way in trim delete; do
    freed=() filled=()
    for round in $(seq "$rounds"); do
        stored=$(load r --disks disk full | python3 -c 'import json, sys; print(json.load(sys.stdin)["bytes"])')
        full=$(free_space r)
        if [ $way = trim ]; then
            load r --disks disk trim >/dev/null
        else
            delete_disk r disk
            new_disk r disk $((device * 2))
        fi
        settle r cloudfs_space_bytes free
        sleep 2
        freed+=("$(free_space r)")
        filled+=("$stored")
        echo "$way $round: stored $stored until ENOSPC (free $full), free afterwards ${freed[-1]}"
    done
    # A segment more or less is where the log happens to stand.
    judge "$way: room differs by (bytes; a segment is allowed)" "$(spread "${freed[@]}")" '<=' $((16 << 20))
    judge "$way: bytes stored until ENOSPC differ by" "$(spread "${filled[@]}")" '<=' $((32 << 20))
done
judge "health at the end is ok (1)" "$(metric r cloudfs_health ok)" '==' 1
stop r
exit $failed
