#!/usr/bin/env python3
"""Checks that the pure rooms call no system: no clock, socket, file, thread or environment.

    check_pure.py BUILD

What the library of a pure room leaves undefined must be defined by a room that it may include, or be
one of the memory and text functions below. The linker sees through macros and casts, so this holds
where a look at the source would not.
"""
import os
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent

# Functions of the C library that look at nothing but their arguments and the heap.
ALLOWED = set("""
    malloc calloc realloc aligned_alloc free abort __assert_fail __errno_location
    memchr memcmp memcpy memmem memmove memrchr memset
    strchr strchrnul strcmp strlen strncasecmp strncmp strnlen strrchr strspn strcspn strstr
    strtod strtoull strtoll snprintf vsnprintf qsort bsearch
    exp exp2 expm1 fabs floor ceil fmax fmin fmod frexp ldexp llround log log10 log1p log2 lround modf
    nearbyint pow rint round sqrt trunc cbrt
""".split())

# The same, as the compiler rewrites them for _FORTIFY_SOURCE and for other dialects.
TWIN = re.compile(r"^__(\w+)_chk$|^__isoc\d+_(\w+)$")

# What compilers add by themselves: the stack protector, position-independent code, division of 128 bits.
COMPILER = re.compile(r"^(__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|__u?(div|mod|divmod)ti[34])$")

# What else a room may need because of the library that it alone includes.
OWN = {
    "http": re.compile(r"^llhttp_"),
    # The parser, and C++'s own malloc and free.
    "json": re.compile(r"^_ZNK?8simdjson|^_Zn[wa]m|^_Zd[la]Pv|^_ZSt7nothrow$"),
}


def symbols(archive, *which):
    """The names that `nm` lists of all members of an archive."""
    out = subprocess.run(["nm", "-P", *which, archive], check=True, text=True, stdout=subprocess.PIPE).stdout
    # Lines of members look like "libx.a[y.o]:" and have no second word.
    return {parts[0] for parts in map(str.split, out.splitlines()) if len(parts) > 1}


def is_allowed(symbol):
    twin = TWIN.match(symbol)
    return symbol in ALLOWED or bool(twin and (twin[1] or twin[2]) in ALLOWED) or bool(COMPILER.match(symbol))


def check(build, rooms):
    """`rooms` maps each pure room to the rooms that it may include -> a list of complaints."""
    defined, undefined, bad = {}, {}, []
    for room in rooms:
        archive = build / f"lib{room}.a"
        if archive.is_file(): # a room may consist of headers alone
            defined[room] = symbols(archive, "--defined-only")
            undefined[room] = symbols(archive, "--undefined-only")
    for room in undefined:
        near = set().union(*(defined.get(r, set()) for r in [room, *rooms[room]]))
        for symbol in sorted(undefined[room] - near):
            own = OWN.get(room)
            if not is_allowed(symbol) and not (own and own.match(symbol)):
                bad.append(f"the pure room {room} needs {symbol}")
    return len(undefined), bad


def pure_rooms():
    out = subprocess.run([sys.executable, TOP / "tools" / "rooms.py", "list"], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    rows = [line.split(";") for line in out.splitlines()]
    return {name: deps.split() for name, kind, deps, _ in rows if kind == "pure"}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    n, bad = check(pathlib.Path(sys.argv[1]), pure_rooms())
    if n == 0:
        sys.exit(f"pure: no library of a pure room in {os.path.abspath(sys.argv[1])}")
    print("\n".join(bad) if bad else f"pure: {n} rooms call no system")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
