#!/usr/bin/env bash
# bench/run.sh: what ./build.sh bench starts. The suite itself is suite.py; bench/README.md says how to read it.
set -euo pipefail
bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bash "$bench/../scripts/system-packages.sh" bench
export PYTHONDONTWRITEBYTECODE=1
exec python3 "$bench/suite.py"
