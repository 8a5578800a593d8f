#!/usr/bin/env bash
# bench/run.sh: what ./build.sh bench starts. The suite itself is suite.py; bench/README.md says how to read it.
set -euo pipefail
bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
case ${BENCH_SUITE:-host} in
host)
    bash "$bench/../scripts/system-packages.sh" bench
    exec python3 "$bench/suite.py"
    ;;
cluster)
    bash "$bench/../scripts/system-packages.sh" bench-cluster
    exec python3 "$bench/cluster.py"
    ;;
*)
    echo "BENCH_SUITE=$BENCH_SUITE: it is host or cluster" >&2
    exit 2
    ;;
esac
