#!/usr/bin/env bash
# Runs simulated worlds on all cores and prints how many a second, and every one that failed (docs/testing/fault-model.md):
#   bench/worlds.sh [COUNT [FIRST SEED [CLASS [PLANTED BUG]]]]     10000 with fresh seeds unless told otherwise
#   bench/worlds.sh crash-points LONGEST                           every crash point of histories up to that length
set -euo pipefail

cd "$(dirname "$0")/.."
dotnet build tests/CloudFs.Core.Tests -c Release -v quiet --nologo
runner=(dotnet tests/CloudFs.Core.Tests/bin/Release/net10.0/CloudFs.Core.Tests.dll)
if [ "${1:-}" = crash-points ]; then
    time "${runner[@]}" "$@"
else
    time "${runner[@]}" worlds "${1:-10000}" "${@:2}"
fi
