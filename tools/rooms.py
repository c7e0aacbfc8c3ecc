#!/usr/bin/env python3
"""Reads src/ROOMS: checks every #include against it, and lists the rooms for Meson.

    rooms.py check         every include obeys src/ROOMS, or a list of those that don't and status 1
    rooms.py list          one line a room, in order: name;pure|effects;dep dep;source source
    rooms.py pure          the names of the pure rooms
    rooms.py tests DIR     one line a test program below tests/DIR: name;room;source

With --top DIR first, of the tree at DIR instead of this one.
"""
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
if sys.argv[1:2] == ["--top"]:
    TOP = pathlib.Path(sys.argv[2]).resolve()
    del sys.argv[1:3]
SRC = TOP / "src"
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


class Rooms:
    def __init__(self, text):
        self.deps, self.outside, self.kind, kind = {}, {}, {}, "pure"
        for number, line in enumerate(text.splitlines(), 1):
            line = line.split("#")[0].strip()
            if not line:
                continue
            if line in ("[pure]", "[effects]"):
                kind = line[1:-1]
                continue
            name, _, rest = line.partition(":")
            deps, _, outside = rest.partition("|")
            known = list(self.deps)
            deps = known if deps.split() == ["*"] else deps.split()
            for d in deps:
                if d not in known:
                    sys.exit(f"src/ROOMS:{number}: {name} names {d}, which is not above it")
                if kind == "pure" and self.kind[d] != "pure":
                    sys.exit(f"src/ROOMS:{number}: the pure room {name} names {d}, which has effects")
            self.deps[name], self.outside[name], self.kind[name] = deps, outside.split(), kind

    def existing(self):
        return [r for r in self.deps if (SRC / r).is_dir()]


def sources(room):
    return sorted(p for p in (SRC / room).iterdir() if p.suffix in (".c", ".cpp"))


def check(rooms):
    bad = []
    for folder in sorted(p for p in SRC.iterdir() if p.is_dir()):
        room = folder.name
        if room not in rooms.deps:
            bad.append(f"src/{room}: a folder that src/ROOMS does not name")
            continue
        for path in sorted(folder.rglob("*")):
            if path.suffix not in (".c", ".h", ".cpp"):
                continue
            for mark, name in INCLUDE.findall(path.read_text()):
                where = f"{path.relative_to(TOP)} includes {name}"
                target = name.split("/")[0]
                if mark == '"':
                    if target != room and target not in rooms.deps[room]:
                        bad.append(f"{where}: {room} may not see {target}")
                    elif target != room and name.endswith("_private.h"):
                        bad.append(f"{where}: a private header of {target}")
                    continue
                # A library with two halves may have two rooms; both are named then.
                owners = [owner for owner, headers in rooms.outside.items()
                          if any(name == h or (h.endswith("/") and name.startswith(h)) for h in headers)]
                if owners and room not in owners:
                    bad.append(f"{where}: only {' and '.join(owners)} may")
                elif owners and path.suffix == ".h" and not path.name.endswith("_private.h"):
                    bad.append(f"{where}: not in a header that other rooms include")
    return bad


def main():
    rooms = Rooms((SRC / "ROOMS").read_text())
    what = sys.argv[1] if len(sys.argv) > 1 else "check"
    if what == "check":
        bad = check(rooms)
        print("\n".join(bad) if bad else f"rooms: {len(rooms.existing())} rooms, every include allowed")
        sys.exit(bool(bad))
    if what == "list":
        for r in rooms.existing():
            deps = " ".join(d for d in rooms.deps[r] if (SRC / d).is_dir())
            files = " ".join(str(p.relative_to(TOP)) for p in sources(r))
            print(f"{r};{rooms.kind[r]};{deps};{files}")
    elif what == "pure":
        print(" ".join(r for r in rooms.existing() if rooms.kind[r] == "pure"))
    elif what == "tests":
        for path in sorted((TOP / "tests" / sys.argv[2]).rglob("*.c")):
            print(f"{path.stem};{path.parent.name};{path.relative_to(TOP)}")
    else:
        sys.exit(__doc__)


main()
