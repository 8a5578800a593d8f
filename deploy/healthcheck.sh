#!/usr/bin/env bash
# Whether the parts of this container (CLOUDFS_PARTS) serve: GET /healthz of each must say 200. "degraded" is 200 as well: a
# restart would not make a disk whole. bash's own sockets do it, since not every base image has curl or wget.
set -u

# healthy PART ADDR:PORT
healthy() {
    local port=${2##*:} address=${2%:*} line
    address=${address#[}
    address=${address%]}
    # Who listens everywhere listens on loopback.
    case $address in 0.0.0.0 | :: | '*') address=127.0.0.1 ;; esac
    if ! exec 3<>"/dev/tcp/$address/$port"; then
        echo "$1: nobody listens at $address:$port"
        return 1
    fi 2>/dev/null
    printf 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
    IFS= read -r -t 3 line <&3
    exec 3>&-
    line=${line%$'\r'}
    [[ $line == 'HTTP/1.1 200'* ]] || {
        echo "$1 at $address:$port: /healthz said '$line', not 200"
        return 1
    }
}

for part in ${CLOUDFS_PARTS:-cloudfsd replicator}; do
    case $part in
    cloudfsd) healthy cloudfsd "${CLOUDFS_HTTP:-127.0.0.1:8090}" || exit 1 ;;
    replicator) healthy replicator "${CLOUDFS_REPLICATOR_LISTEN:-127.0.0.1:8091}" || exit 1 ;;
    esac
done
