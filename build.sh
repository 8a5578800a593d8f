#!/usr/bin/env bash
# Restores the tools and hands its words to build.cake: ./build.sh run, ./build.sh test, ./build.sh (for the list).
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"

if ! command -v dotnet >/dev/null; then
    echo "build.sh: the .NET SDK is needed (global.json names the version): https://dot.net/download" >&2
    exit 1
fi

export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1
# What Cake keeps between runs (the compiled script, above all) stays among the things that git ignores.
export CAKE_PATHS_TOOLS=obj/cake CAKE_PATHS_CACHE=obj/cake/script CAKE_SETTINGS_ENABLESCRIPTCACHE=true
# A container's user may have no home to keep packages and tools in.
if [ ! -w "${HOME:-/nonexistent}" ]; then
    export HOME=$PWD/obj/home
    mkdir -p "$HOME"
fi

if ! restored=$(dotnet tool restore 2>&1); then
    printf '%s\n' "$restored" >&2
    exit 1
fi

case ${1:-help} in
-h | --help) word=help ;;
*) word=${1:-help} ;;
esac
shift $(($# > 0))
exec dotnet cake build.cake --target="$word" --no-report "$@"
