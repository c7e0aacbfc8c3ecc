#!/usr/bin/env python3
"""Lists and runs the fuzz targets: tests/fuzz/NAME_fuzz.c with seeds in tests/fuzz/seeds/NAME/.

    fuzz.py list                         one line a target, for Meson: name;source;room room
    fuzz.py run BUILD SECONDS [NAME...]  fuzzes each target so long; a find is left in BUILD/fuzz/NAME/

A target says which rooms it links in a comment of its own near the top: /* rooms: json base */
"""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
FUZZ = TOP / "tests" / "fuzz"
ROOMS = re.compile(r"^/\* rooms: ([a-z ]+?) \*/$", re.M)

# Finding a way into a parser needs no long inputs, and short ones are quick.
MAX_LEN = 16384


def targets():
    found = {}
    for path in sorted(FUZZ.glob("*_fuzz.c")):
        rooms = ROOMS.search(path.read_text())
        if not rooms:
            sys.exit(f"{path.relative_to(TOP)}: no line /* rooms: ... */")
        found[path.stem.removesuffix("_fuzz")] = (path.relative_to(TOP), rooms[1])
    return found


def fuzz(build, seconds, name):
    """Runs one target; what it said, and whether it found something."""
    place = build / "fuzz" / name
    corpus = place / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [build / "tests" / "fuzz" / f"{name}_fuzz", f"-max_total_time={seconds}", f"-max_len={MAX_LEN}",
         "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0",
         f"-artifact_prefix={place}/", corpus, FUZZ / "seeds" / name],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.decode(errors="replace"), done.returncode != 0


def run(build, seconds, names):
    """As many targets at a time as there are processors."""
    names, failed = list(names or targets()), []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, (said, has_found) in zip(names, pool.map(lambda n: fuzz(build, seconds, n), names)):
            print(f"{name}: {seconds} s\n{said}", flush=True)
            if has_found:
                failed.append(name)
    print(f"fuzz: found something in {' '.join(failed)}" if failed else "fuzz: found nothing")
    return 1 if failed else 0


def main(args):
    if args == ["list"]:
        for name, (path, rooms) in targets().items():
            print(f"{name};{path};{rooms}")
    elif len(args) >= 3 and args[0] == "run" and args[2].isdigit():
        sys.exit(run(pathlib.Path(args[1]).resolve(), int(args[2]), args[3:]))
    else:
        sys.exit(__doc__)


main(sys.argv[1:])
