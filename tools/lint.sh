#!/bin/sh
# Looks for defects by reading the code: tools/lint.sh DIR, a build directory configured with clang,
# whose compile_commands.json says how each file is compiled. Silent when there is nothing to say.
set -eu
cd "$(dirname "$0")/.."
dir=$1
status=0

# clang-tidy reports how many warnings it suppressed in headers of others; nobody asked.
find src -name '*.c' -print0 |
    xargs -0 -P "$(nproc)" -n 4 clang-tidy-14 -p "$dir" --quiet 2>"$dir/clang-tidy.err" || status=1
grep -v 'warnings\? \(generated\|treated as errors\)' "$dir/clang-tidy.err" || true

# zerodivcond mistakes the `value` of a long division for its divisor.
cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 --std=c++17 -j "$(nproc)" \
    --enable=warning,performance,portability --suppress=missingIncludeSystem --suppress=zerodivcond \
    -D_GNU_SOURCE -D__GNUC__=12 -I src src || status=1

exit $status
