#!/bin/sh
# Runs tests of a build: tools/test.sh DIR "KIND..." [ARGUMENT OF MESON TEST...]. Kinds are meson (unit,
# scenario, replay, seeds of fuzz targets), e2e and soak. Ends with how many passed and failed, every test of
# every runner counted. Results are left in DIR: meson-logs/testlog.json, e2e.tap, soak.tap.
set -eu
cd "$(dirname "$0")/.."
dir=$(realpath -m "$1")
kinds=$2
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

# run_node NAME N: tests/NAME/*.test.mjs against the binary of the build, N files at a time
run_node() {
    ls tests/"$1"/*.test.mjs >/dev/null 2>&1 || return 0
    results="$results $dir/$1.tap"
    rm -f "$dir/$1.tap"
    node=$(tools/node.sh)
    echo "tests/$1:"
    WEIR_BIN=$dir/weir $no_aslr "$node" --test --test-concurrency="$2" --test-timeout=300000 \
        --test-reporter=spec --test-reporter-destination=stdout \
        --test-reporter=tap --test-reporter-destination="$dir/$1.tap" \
        tests/"$1"/*.test.mjs </dev/null || status=$?
}

for kind in $kinds; do
    case $kind in
    meson)
        results="$results $dir/meson-logs/testlog.json"
        rm -f "$dir/meson-logs/testlog.json"
        $no_aslr meson test -C "$dir" --print-errorlogs "$@" </dev/null || status=$?
        ;;
    e2e)
        # Its tests wait for each other's facts more than they compute, and tell their folders and ports apart.
        ninja -C "$dir" weir || status=$?
        run_node e2e "$(nproc)"
        ;;
    soak)
        ninja -C "$dir" weir || status=$?
        run_node soak 1 # what it measures is not to be somebody else's load
        ;;
    *)
        echo "tools/test.sh: no tests of kind $kind" >&2
        exit 2
        ;;
    esac
done

# shellcheck disable=SC2086 # a list of words
tools/tally.py --status "$status" $results
