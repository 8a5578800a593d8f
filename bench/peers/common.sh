# What the peers' scripts share; sourced by them with their words: up|down DIR SOCKET BYTES.
[ $# -eq 4 ] || { echo "usage: $0 up|down DIR SOCKET BYTES" >&2; exit 2; }
# shellcheck disable=SC2034 # the scripts use them
action=$1 dir=$2 socket=$3 bytes=$4
case $action in up | down) ;; *) echo "$0: up or down, not $action" >&2; exit 2 ;; esac
# shellcheck disable=SC2034
log=$dir.$action.log
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

refuse() {
    echo "$*" >&2
    exit 1
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# await COMMAND: until it succeeds, for half a minute.
await() {
    local i
    for i in $(seq 60); do
        eval "$1" >/dev/null 2>&1 && return
        sleep 0.5
    done
    refuse "not within 30 s: $1"
}

# there PID: alive, and not merely waiting to be reaped.
there() { [ -d "/proc/$1" ] && ! grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null; }

# end_all FILE...: asks the processes of these pid files to end, waits for half a minute, and then ends them.
end_all() {
    local file pid pids=() left=300
    for file in "$@"; do
        [ -s "$file" ] || continue
        pid=$(tr -d '[:space:]' <"$file")
        # A pid may have gone to a stranger: only one whose command line or environment names the folder is ours.
        cat "/proc/$pid/cmdline" "/proc/$pid/environ" 2>/dev/null | tr '\0' '\n' | grep -qF -e "$dir" || continue
        kill -TERM "$pid" 2>/dev/null || true
        kill -CONT "$pid" 2>/dev/null || true
        pids+=("$pid")
    done
    for pid in "${pids[@]+"${pids[@]}"}"; do
        while there "$pid" && [ $((left -= 1)) -gt 0 ]; do sleep 0.1; done
        ! there "$pid" || kill -KILL "$pid" 2>/dev/null || true
    done
    rm -f "$@"
}

# front WORDS...: qemu-nbd at the socket. Not by --fork, which waits until whatever libgfapi starts has closed its output.
front() {
    setsid qemu-nbd --pid-file="$dir/front.pid" --persistent --shared=8 --cache=writeback --socket="$socket" "$@" \
        </dev/null >"$dir.front.log" 2>&1 &
    await '[ -s "$dir/front.pid" ] && [ -S "$socket" ]'
}
