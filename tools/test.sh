#!/bin/sh
# Runs the tests of a build: tools/test.sh DIR meson|e2e|all [ARGUMENT OF MESON TEST...]. Ends with how
# many passed and failed, every test of every runner counted.
set -eu
cd "$(dirname "$0")/.."
dir=$(realpath -m "$1")
which=$2
shift 2
results=
status=0

export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:allow_addr2line=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:allow_addr2line=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

# TSan of gcc 12 needs the address layout of older kernels; without the right to ask for it, go on.
no_aslr=
if setarch -R true 2>/dev/null; then
    no_aslr='setarch -R'
fi

if [ "$which" != e2e ]; then
    rm -f "$dir/meson-logs/testlog.json"
    $no_aslr meson test -C "$dir" --print-errorlogs "$@" </dev/null || status=$?
    results="$results $dir/meson-logs/testlog.json"
fi

if [ "$which" != meson ] && ls tests/e2e/*.test.mjs >/dev/null 2>&1; then
    echo "End-to-end tests:"
    rm -f "$dir/e2e.tap"
    node=$(tools/node.sh)
    ninja -C "$dir" weir >"$dir/e2e-build.log" 2>&1 || cat "$dir/e2e-build.log"
    WEIR_BIN=$dir/weir "$node" --test --test-timeout=300000 \
        --test-reporter=spec --test-reporter-destination=stdout \
        --test-reporter=tap --test-reporter-destination="$dir/e2e.tap" \
        tests/e2e/*.test.mjs </dev/null || status=$?
    results="$results $dir/e2e.tap"
fi

# shellcheck disable=SC2086 # a list of words
tools/tally.py --status "$status" $results
