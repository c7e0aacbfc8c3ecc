#!/bin/sh
# Configures a build directory: tools/configure.sh DIR [MESON OPTION...]. Does it again when a source
# file came or went, or a library was installed: Meson lists them only while it configures.
set -eu
cd "$(dirname "$0")/.."
dir=$1
shift

inventory() {
    echo "$@"
    find src tests \( -name '*.c' -o -name '*.cpp' \) -print | sort
    cksum src/ROOMS
    pkg-config --modversion cmocka 2>/dev/null || true
}

now=$(inventory "$@")
if [ ! -f "$dir/build.ninja" ]; then
    meson setup "$dir" "$@"
elif [ "$now" != "$(cat "$dir/.inventory" 2>/dev/null)" ]; then
    meson setup --reconfigure "$dir" "$@"
fi
printf '%s\n' "$now" >"$dir/.inventory"
