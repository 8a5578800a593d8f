#!/usr/bin/env bash
# bench/extents.sh [extents=10000000] [disks=10]: memory, time to open and index traffic with that many random 4 KiB
# extents, and with 100 times fewer on a device of the same size. bench/README.md says more.
source "$(dirname "$0")/lib.sh"

extents=${1:-10000000}
disks=${2:-10}
overwrite=$((${BENCH_OVERWRITE_MIB:-1024} * 256)) # pages
size=$((extents * 5400 + overwrite * 2 * 5400 + (3 << 30)))
need_room $((size + (1 << 30)))
say "extents: a device of $(gib "$size") under $(dirname "$work")"

names=$(seq -s, -f 'disk%g' "$disks")
index_cache=$(with --index-cache 64M)
options="--size $size $index_cache $(with --read-cache 0)"
limit=$(((64 + 150) * 1024))

sample_memory() { # when
    printf '%-44s VmRSS %d  RssAnon %d  RssFile %d  RssShmem %d  VmHWM %d MiB\n' "$1" \
        $(($(status e VmRSS) / 1024)) $(($(status e RssAnon) / 1024)) $(($(status e RssFile) / 1024)) \
        $(($(status e RssShmem) / 1024)) $(($(status e VmHWM) / 1024))
}

index_written() { # bytes for the index: its pages and the checkpoints (which hold it all where it is not paged)
    local kinds=$(($(written e index) + $(written e checkpoint)))
    if [ $kinds -gt 0 ]; then echo $kinds; else metric e cloudfs_checkpoint_bytes_total; fi
}

median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }

# Stops the daemon with a signal and starts it, three times, each after that many random writes (0: none); the median.
reopen() { # signal, writes on each disk
    local i times=()
    for i in 1 2 3; do
        [ "$2" -eq 0 ] || load e --disks "$names" over --pages $each --stride 2 --count "$2" --seed "3$i" >/dev/null
        stop e "$1"
        forget_cache e
        start e
        times+=("$took")
    done
    took=$(median "${times[@]}")
    sample_memory "opened after SIG$1 in ${times[*]} s"
}

measure() { # extents
    local client index pages
    each=$(($1 / disks))
    echo "--- $((each * disks)) extents on $disks disks"
    # shellcheck disable=SC2086 # several words
    start e $options
    for disk in ${names//,/ }; do new_disk e "$disk" $((each * 2 * 4096)); done
    echo "written once, in random order: $(load e --disks "$names" once --pages $each --stride 2)"
    sample_memory 'written'
    client=$(metric e cloudfs_written_bytes_total)
    index=$(index_written)
    pages=$(written e index)
    checkpoints=$(metric e cloudfs_checkpoints_total)
    echo "overwritten at random: $(load e --disks "$names" over --pages $each --stride 2 --count $((overwrite / disks)) --seed 2)"
    settle e cloudfs_checkpoints_total
    client=$(($(metric e cloudfs_written_bytes_total) - client))
    index=$(($(index_written) - index))
    pages=$(($(written e index) - pages))
    checkpoints=$(($(metric e cloudfs_checkpoints_total) - checkpoints))
    peak=$(status e VmHWM)
    resident=$(status e VmRSS)
    sample_memory 'overwritten'
    ratio=$(calc .3f "$index / $client")
    echo "client $(gib "$client"), index and checkpoints $(gib "$index"), of that index pages $(gib "$pages"): $ratio of the client's"
    reopen TERM 0
    clean=$took
    reopen KILL $((overwrite / 6 / disks))
    killed=$took
    # The index must be of use too, not only there.
    load e --disks "$names" over --pages $each --stride 2 --count 320 --seed 4 >/dev/null
    stop e
    rm -f "$work"/e.dev
}

measure $((extents / 100))
few_clean=$clean few_killed=$killed
measure "$extents"
echo
judge "resident after the load (VmRSS, KiB)" "$resident" '<' $limit
judge "resident at its peak (VmHWM, KiB)" "$peak" '<' $limit
judge "opens after SIGTERM (s)" "$clean" '<' 2
judge "opens after SIGKILL (s)" "$killed" '<' 2
judge "opening after SIGTERM, to 100 times fewer" "$(calc .2f "$clean / $few_clean")" '<=' 2
judge "opening after SIGKILL, to 100 times fewer" "$(calc .2f "$killed / $few_killed")" '<=' 2
judge "checkpoints during the overwriting" "$checkpoints" '>=' 2
judge "index bytes to the client's" "$ratio" '<' 1.0
exit $failed
