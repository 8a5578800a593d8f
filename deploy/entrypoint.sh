#!/usr/bin/env bash
# What a container of the image runs: cloudfsd and its replicator, or one of them (CLOUDFS_PARTS). All their options come from
# the environment. The container ends when either ends, so that its restart policy restarts both; SIGTERM goes to both.
set -u

parts=${CLOUDFS_PARTS:-cloudfsd replicator}
export CLOUDFS_BUFFER_DIR=${CLOUDFS_BUFFER_DIR:-/data/buffers}
mkdir -p "$CLOUDFS_BUFFER_DIR" || exit 1

pids=()
stopping=''
# Before anything is started: as process 1 a signal without a handler would be lost.
trap 'stopping=1; [ ${#pids[@]} -eq 0 ] || kill -TERM "${pids[@]}" 2>/dev/null' TERM INT

# A replicator that finds no daemon makes up a host id of its own, and the daemon's would be another one.
await_daemon() {
    local pid=$1
    until CLOUDFS_PARTS=cloudfsd "${BASH_SOURCE[0]%/*}/healthcheck.sh" >/dev/null 2>&1; do
        [ -z "$stopping" ] && kill -0 "$pid" 2>/dev/null || return
        sleep 0.2
    done
}

for part in $parts; do
    [ -z "$stopping" ] || break
    case $part in
    cloudfsd) cloudfsd "$@" & ;;
    replicator)
        [ ${#pids[@]} -eq 0 ] || await_daemon "${pids[0]}"
        [ -z "$stopping" ] || break
        # shellcheck disable=SC2086 # the peers are several words
        replicator "${CLOUDFS_REPLICATOR_HOST_ID:-auto}" ${CLOUDFS_PEERS:-} &
        ;;
    *)
        echo "entrypoint: CLOUDFS_PARTS has '$part'; it may have cloudfsd and replicator" >&2
        exit 2
        ;;
    esac
    pids+=($!)
done

# A signal ends the waiting with a status above 128, so it is asked which of them is really gone.
status=0
while [ -z "$stopping" ]; do
    wait -n "${pids[@]}"
    status=$?
    [ -n "$stopping" ] || for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null || break 2; done
done
[ -n "$stopping" ] || echo "entrypoint: one of '$parts' ended with $status; the other is ended as well" >&2

kill -TERM "${pids[@]}" 2>/dev/null
for pid in "${pids[@]}"; do
    while kill -0 "$pid" 2>/dev/null; do wait "$pid"; done
done
[ -z "$stopping" ] || exit 0
# That one ended by itself is never what was wanted, whatever it said.
exit $((status == 0 ? 1 : status))
