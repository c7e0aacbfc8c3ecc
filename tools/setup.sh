#!/bin/sh
# Installs what is missing for a purpose: tools/setup.sh run|test|az|check|bench. Says what and why,
# and asks nothing. Only Debian packages, and npm packages by package-lock.json.
set -eu
cd "$(dirname "$0")/.."

purpose=${1:-run}
missing= # Debian packages

# need PACKAGE WHY
need() {
    case $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true) in
    installed) return ;;
    esac
    [ -n "$missing" ] || echo "Missing Debian packages:"
    printf '  %-18s %s\n' "$1" "$2"
    missing="$missing $1"
}

# need_command COMMAND PACKAGE WHY: for what many people have from elsewhere than Debian
need_command() {
    command -v "$1" >/dev/null 2>&1 || need "$2" "$3"
}

need_run() {
    need_command make make "the front door"
    need_command g++ g++ "compiles C, and the one C++ file behind the JSON reader"
    need_command meson meson "describes the build"
    need_command ninja ninja-build "runs the build"
    need_command python3 python3 "runs the small tools of the build"
    need pkg-config "tells Meson where the libraries are"
    need libuv1-dev "event loops, timers, DNS, signals"
    need node-llhttp "the HTTP/1.1 parser, as C source"
    need libsimdjson-dev "the JSON reader"
    need libssl-dev "TLS and hashes"
    need libxxhash-dev "the hash by which texts are known again"
    need libsqlite3-dev "the database of the control plane"
    need_command npm npm "fetches the vocabularies, and the clients that the end-to-end tests drive"
}

need_test() {
    need libcmocka-dev "the framework of the unit tests"
    need_command openssl openssl "makes certificates for tests"
}

need_az() {
    need_command az azure-cli "the Azure CLI, unmodified, as a client"
}

need_check() {
    need clang-14 "the second compiler, for sanitizers and fuzzing"
    need libclang-rt-14-dev "the sanitizers and libFuzzer of clang"
    need clang-format-14 "checks the layout of the code"
    need clang-tidy-14 "finds defects by reading the code"
    need cppcheck "finds other defects by reading the code"
}

need_bench() {
    need nginx "what Weir is measured against"
    need haproxy "what Weir is measured against"
    need_command wrk wrk "makes the load of plain requests"
    need_command valgrind valgrind "counts instructions"
    need_command perf linux-perf "counts writes"
    need manpages-zh "Chinese texts whose tokens are counted"
    need unicode-cldr-core "names of emoji in many languages, for the same"
    need_command taskset util-linux "keeps gateway and load on their own cores"
}

case $purpose in
run) need_run ;;
bench) need_run && need_bench ;;
test) need_run && need_test ;;
az) need_run && need_test && need_az ;;
check) need_run && need_test && need_check ;;
*)
    echo "usage: tools/setup.sh run|test|az|check|bench" >&2
    exit 2
    ;;
esac

if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "This is no Debian: install what these packages hold, then run make again." >&2
        exit 1
    elif [ "$(id -u)" = 0 ]; then
        as_root=
    elif command -v sudo >/dev/null 2>&1; then
        as_root=sudo
        echo "Installing them with sudo."
    else
        echo "Only root can install them, and there is no sudo here. As root:" >&2
        echo "  apt-get update && apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 $missing </dev/null
fi

# npm_ci FOR WHAT [ARGUMENT OF NPM...]: what package-lock.json names, unless it is there already.
# node_modules/.installed is the lock file that was installed from, .installed_for says for what.
npm_ci() {
    for=$1
    shift
    echo "Installing npm packages into node_modules: $1"
    shift
    # Nothing here needs an install script, so none is run.
    npm ci --ignore-scripts --no-fund --no-audit --loglevel=error "$@" </dev/null
    cp package-lock.json node_modules/.installed
    echo "$for" >node_modules/.installed_for
}

is_installed() {
    cmp -s package-lock.json node_modules/.installed &&
        { [ "$1" = build ] || [ "$(cat node_modules/.installed_for 2>/dev/null)" != build ]; }
}

# The end-to-end tests run on the Node that package.json names, whatever the machine has.
if [ "$purpose" != run ]; then
    is_installed tests || npm_ci tests "the vocabularies and Unicode's tables, real OpenAI clients,
a model server that is not ours, and the Node that runs the end-to-end tests."
else
    is_installed build || npm_ci build "the published vocabularies and Unicode's tables." \
        --omit=dev --omit=optional
fi
