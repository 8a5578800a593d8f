#!/usr/bin/env bash
# deploy/try.sh [units|all]: whether what deploy/ has works. It ends and removes only what it started; README.md says more.
set -euo pipefail
deploy=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dist=$(cd "${CLOUDFS_DIST:-$deploy/../dist}" 2>/dev/null && pwd) || { echo 'there is no dist: ./build.sh publish' >&2; exit 1; }
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
work=$(mktemp -d "${TMPDIR:-/tmp}/cloudfs-deploy.XXXXXX")
engine=''
export DOCKER_HOST=unix://$work/s DOCKER_BUILDKIT=0 COMPOSE_PROJECT_NAME=cloudfs-try CLOUDFS_IMAGE=cloudfs-try CLOUDFS_SIZE=1G

say() { printf 'deploy: %s\n' "$*"; }

fail() {
    printf 'deploy: %s\n' "$*" >&2
    exit 1
}

compose() {
    if docker compose version >/dev/null 2>&1; then
        docker compose -f "$work/context/deploy/compose.test.yaml" "$@"
    else
        docker-compose -f "$work/context/deploy/compose.test.yaml" "$@"
    fi
}

cleanup() {
    local status=$? i
    trap '' INT TERM
    if [ -n "$engine" ]; then
        if [ -d "$work/context/deploy" ]; then
            [ $status -eq 0 ] || compose logs --tail=30 >&2 || true
            compose down -v -t 30 >/dev/null 2>&1 || say 'compose down failed; the engine ends its containers itself'
        fi
        # The engine ends containers and containerd with it.
        kill -TERM "$engine" 2>/dev/null || true
        for i in $(seq 300); do
            kill -0 "$engine" 2>/dev/null || break
            sleep 0.1
        done
        [ $status -eq 0 ] || tail -n 5 "$work/engine.log" >&2
    fi
    # What is still mounted below would be emptied, not removed.
    if awk -v under="$work/" 'index($2, under) == 1 { found = 1 } END { exit !found }' /proc/mounts; then
        awk -v under="$work/" 'index($2, under) == 1 { print $2 }' /proc/mounts | sort -r |
            while read -r mounted; do umount "$mounted"; done
    fi
    rm -rf --one-file-system "$work"
    exit $status
}
trap cleanup EXIT
trap 'exit 130' INT TERM

try_units() {
    local unit units=$work/units
    mkdir "$units"
    for unit in cloudfsd replicator; do
        # The programs' place is where dist is, or verify would say that they are not installed.
        sed "s|/usr/lib/cloudfs/|$dist/|; s|=/etc/cloudfs/|=$deploy/systemd/|" "$deploy/systemd/$unit.service" >"$units/$unit.service"
    done
    local told
    told=$(systemd-analyze verify "$units/cloudfsd.service" "$units/replicator.service" 2>&1 | grep -F "$units" || true)
    [ -z "$told" ] || fail "systemd-analyze verify: $told"
    for unit in cloudfsd replicator; do
        # 0 may do nothing, 10 everything; 100 here is 10 there.
        systemd-analyze security --offline=true --threshold=30 --no-pager "$units/$unit.service" >"$work/security" 2>&1 ||
            fail "$unit.service may do too much: $(tail -n 1 "$work/security")"
        say "$unit.service: $(tail -n 1 "$work/security" | sed 's/^[^A-Za-z]*//')"
    done
}

start_engine() {
    # Of its own: no bridge, no firewall rules, and nothing outside of the folder. vfs needs nothing of the file system below.
    setsid dockerd -s vfs --iptables=false --ip6tables=false --bridge=none --data-root "$work/data" --exec-root "$work/exec" \
        -p "$work/engine.pid" -H "unix://$work/s" >"$work/engine.log" 2>&1 &
    engine=$!
    for _ in $(seq 300); do
        docker version >/dev/null 2>&1 && return
        kill -0 "$engine" 2>/dev/null || fail "dockerd ended: $(tail -n 3 "$work/engine.log")"
        sleep 0.1
    done
    fail 'dockerd does not answer within 30 s'
}

# A Debian with what .NET needs, and the runtime of this machine: as mcr.microsoft.com/dotnet/aspnet is one.
make_base() {
    local dotnet
    dotnet=$(dirname "$(readlink -f "$(command -v dotnet)")")
    debootstrap --variant=minbase --include=libssl3,libstdc++6,zlib1g bookworm "$work/base" \
        "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$work/debootstrap.log" 2>&1 || fail "debootstrap: $(tail -n 3 "$work/debootstrap.log")"
    # With vfs every layer is a copy of all that is below it.
    rm -rf "$work"/base/var/cache/apt/* "$work"/base/var/lib/apt/lists/* "$work"/base/usr/share/{doc,man,locale}
    mkdir -p "$work/base/usr/share/dotnet/shared"
    cp -a "$dotnet/dotnet" "$dotnet/host" "$work/base/usr/share/dotnet/"
    cp -a "$dotnet"/shared/Microsoft.{NETCore,AspNetCore}.App "$work/base/usr/share/dotnet/shared/"
    tar -C "$work/base" -c . | docker import - cloudfs-try-base >/dev/null
    rm -rf --one-file-system "$work/base"
}

build_image() {
    # As from a checkout, without what git ignores: there may be gigabytes of it.
    mkdir "$work/context"
    cp -r "$deploy" "$work/context/deploy"
    cp -r "$dist" "$work/context/dist"
    docker build --network=none --build-arg BASE=cloudfs-try-base -f "$work/context/deploy/Dockerfile" -t cloudfs-try "$work/context" \
        >"$work/build.log" 2>&1 || fail "docker build: $(tail -n 5 "$work/build.log")"
}

choose_ports() {
    local ports
    ports=$(python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(9)]
print(*(each.getsockname()[1] for each in held))')
    read -r HTTP1 HTTP2 HTTP3 NBD1 NBD2 NBD3 REPLICATOR1 REPLICATOR2 REPLICATOR3 <<<"$ports"
    export HTTP1 HTTP2 HTTP3 NBD1 NBD2 NBD3 REPLICATOR1 REPLICATOR2 REPLICATOR3
}

wait_healthy() {
    local left=60 host state
    while :; do
        state=''
        for host in 1 2 3; do
            state+=" $(docker inspect -f '{{.State.Status}}/{{.State.Health.Status}}' "$(compose ps -q host$host)")"
        done
        case $state in *exited* | *dead*) fail "a host ended:$state" ;; esac
        [ "$state" != ' running/healthy running/healthy running/healthy' ] || return 0
        [ $((left -= 1)) -gt 0 ] || fail "not healthy within a minute:$state"
        sleep 1
    done
}

try_containers() {
    start_engine
    say 'a base image'
    make_base
    say 'the image'
    build_image
    choose_ports
    compose config -q
    # The one that people use must at least be understood; this machine has no bridge to run it on.
    (if docker compose version >/dev/null 2>&1; then docker compose -f "$deploy/compose.yaml" config -q; else
        docker-compose -f "$deploy/compose.yaml" config -q; fi)
    say 'three hosts'
    compose up -d >"$work/up.log" 2>&1 || fail "compose up: $(tail -n 5 "$work/up.log")"
    wait_healthy
    local host id port
    # Hosts must have heard of each other before three can be chosen.
    id=
    for _ in $(seq 60); do
        id=$(CLOUDFS_DAEMON=http://127.0.0.1:$HTTP1 "$dist/cloudfs" newdisk --size 64M --name try 3 2>"$work/newdisk") && break
        sleep 0.5
    done
    [ -n "$id" ] || fail "newdisk: $(tail -n 1 "$work/newdisk")"
    say "made $id on three hosts"
    head -c 1M /dev/urandom >"$work/bytes"
    CLOUDFS_DAEMON=http://127.0.0.1:$HTTP1 "$dist/cloudfs" write "$id" <"$work/bytes"
    for host in 1 2 3; do
        port=HTTP$host
        CLOUDFS_DAEMON=http://127.0.0.1:${!port} "$dist/cloudfs" info "$id" >"$work/info" || fail "host$host does not know $id"
    done
    # Restarted in order, all is still there.
    compose restart -t 30 host1 >/dev/null 2>&1
    wait_healthy
    CLOUDFS_DAEMON=http://127.0.0.1:$HTTP1 "$dist/cloudfs" info "$id" >"$work/info" 2>&1 ||
        fail "after a restart host1 does not know $id: $(cat "$work/info")"
    user=$(docker exec "$(compose ps -q host1)" id -u)
    [ "$user" = 10001 ] || fail "the container runs as user $user, not 10001"
}

export CLOUDFS_PARTS=${CLOUDFS_PARTS:-cloudfsd replicator}
# A container can't have more than the engine may give.
CLOUDFS_NOFILE=$(ulimit -Hn)
if [ "$CLOUDFS_NOFILE" = unlimited ] || [ "$CLOUDFS_NOFILE" -gt 65536 ]; then CLOUDFS_NOFILE=65536; fi
export CLOUDFS_NOFILE
case ${1:-all} in
units) try_units ;;
all)
    [ "$(id -u)" -eq 0 ] || fail 'this needs root: it starts a Docker of its own'
    bash "$deploy/../scripts/system-packages.sh" deploy
    try_units
    try_containers
    ;;
*) fail 'usage: deploy/try.sh [units|all]' ;;
esac
say 'all is well'
