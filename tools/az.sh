#!/bin/sh
# Prints the path of the az to test with: the newest from the Python index, kept in build/az, or Debian's
# (2.45, which knows no --sku-name) where that index cannot be reached. Progress goes to standard error.
set -eu
cd "$(dirname "$0")/.."
az=$PWD/build/az/bin/az

if [ ! -x "$az" ]; then
    mkdir -p build
    if python3 -m venv build/az >&2 && build/az/bin/pip install --quiet azure-cli >&2; then
        echo "azure-cli installed from the Python index into build/az" >&2
    else
        rm -rf build/az
        tools/setup.sh az >&2
        az=$(command -v az)
    fi
fi
echo "$az"
