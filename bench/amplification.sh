#!/usr/bin/env bash
# bench/amplification.sh: what compaction costs: bytes of new and relocated entries to bytes of new ones, with the device
# 70 and 80 % full of what lives and its headers, uniform and 80/20. bench/README.md says more.
source "$(dirname "$0")/lib.sh"

device=$(bytes "${BENCH_DEVICE:-4G}")
rounds=${BENCH_ROUNDS:-4} # each overwrites the device's capacity once; the last is what counts
# What a page that lives takes in all: 4 KiB, its entry's header, that header's second copy and both their places, its share of
# commit frames. The utilisation that the daemon tells at the end says whether that was right.
cost=${BENCH_PAGE_COST:-4860}
need_room $((device + (1 << 30)))
history=$(with --history-min 0)

utilisation() { # the daemon's own figure, in percent; headers lie with live where it tells them apart
    calc .1f "100 * ($(space a live) + $(space a headers)) / $(capacity a)"
}

measure() { # percent, pattern, words for fio
    local percent=$1 pattern=$2 pages round new relocated
    shift 2
    # shellcheck disable=SC2086 # several words
    start a --size "$device" $history
    pages=$(($(capacity a) * percent / 100 / cost))
    new_disk a disk $((pages * 4096))
    say "--- $percent %, $pattern: $pages pages, $(load a --disks disk --no-flush once --pages $pages)"
    for round in $(seq "$rounds"); do
        new=$(written a new)
        relocated=$(written a relocated)
        run_fio a disk --rw=randwrite --iodepth=32 --size=$((pages * 4096)) --io_size="$(capacity a)" --norandommap "$@"
        new=$(($(written a new) - new))
        relocated=$(($(written a relocated) - relocated))
        [ $new -gt 0 ] || { say 'the daemon does not tell new from relocated bytes: no compaction here'; exit 2; }
        wa=$(calc .3f "($new + $relocated) / $new")
        say "round $round: new $(gib $new), relocated $(gib $relocated), amplification $wa, utilisation $(utilisation) %"
    done
    [ "$relocated" -gt 0 ] || { say 'nothing was relocated, so nothing was measured'; exit 2; }
    measured_at=$(utilisation)
    stop a KILL
    rm -f "$work/a.dev"
}

wanted() { [[ " ${BENCH_ROWS:-$1-$2} " == *" $1-$2 "* ]]; } # BENCH_ROWS='70-uniform 80-80/20': only these

row() { # percent, pattern, limit, words for fio
    local limit=$3
    wanted "$1" "$2" || return 0
    measure "$1" "$2" "${@:4}"
    judge "$1 %, $2 (measured at $measured_at %)" "$wa" '<=' "$limit"
}

uniform=(--random_distribution=random)
skewed=(--random_distribution=zoned:80/20:20/80)
row 70 uniform "$(calc .3f '1.1 * 1.88')" "${uniform[@]}"
row 80 uniform "$(calc .3f '1.1 * 2.7')" "${uniform[@]}"
row 80 80/20 2.2 "${skewed[@]}"
wanted 70 80/20 || exit $failed
measure 70 80/20 "${skewed[@]}"
printf '      %-58s %12s (no limit is set)\n' "70 %, 80/20 (measured at $measured_at %)" "$wa"
exit $failed
