#!/usr/bin/env python3
"""Counts the tests that ran, one by one, whatever runner they belong to.

    tally.py [--status N] RESULT...     the results of one run that exited with status N
    tally.py --steps FILE               the steps of a CI run, one a line: name, kind, status,
                                        seconds, results, with tabs between them

A result is Meson's testlog.json or the TAP of Node's test runner. Meson knows only programs, so what
each program printed is read for the closing lines of cmocka, of Python's unittest, of the replay of
traces, each of which is one test, and of our other runners ("12 passed, 0 failed"). A program or a run that counted nothing has failed, for it has
tested nothing; so has one that counted no failure and yet exited non-zero.

Prints "N passed, N failed" last, alone on its line, and exits with 1 when anything failed.
"""
import json
import pathlib
import re
import sys

CMOCKA = re.compile(r"^\[  (PASSED|FAILED)  \] (\d+) test\(s\)", re.M)
PLAIN = re.compile(r"^(?:\w+: )?(\d+) passed, (\d+) failed(?:, \d+ skipped)?$", re.M)
UNITTEST = re.compile(r"^Ran (\d+) tests? in .*\n\n(OK|FAILED)(?: \((.*)\))?", re.M)
REPLAY = re.compile(r"^[1-9]\d* events, (\d+) mismatches$", re.M)
TAP_TOTAL = re.compile(r"^# (pass|fail|cancelled) (\d+)$", re.M)


def count_text(text):
    """What one program printed -> (passed, failed)."""
    passed = failed = 0
    for kind, n in CMOCKA.findall(text):
        if kind == "PASSED":
            passed += int(n)
        else:
            failed += int(n)
    for good, bad in PLAIN.findall(text):
        passed += int(good)
        failed += int(bad)
    for mismatches in REPLAY.findall(text):
        passed += mismatches == "0"
        failed += mismatches != "0"
    for n, _, detail in UNITTEST.findall(text):
        parts = dict(re.findall(r"(\w+)=(\d+)", detail or ""))
        bad = int(parts.get("failures", 0)) + int(parts.get("errors", 0))
        passed += int(n) - bad - int(parts.get("skipped", 0))
        failed += bad
    return passed, failed


def count_meson(text):
    passed = failed = 0
    for line in text.splitlines():
        test = json.loads(line)
        good, bad = count_text(test.get("stdout", "") + "\n" + test.get("stderr", ""))
        if test["result"] == "EXPECTEDFAIL":
            good, bad = 1, 0
        elif bad == 0 and test["result"] != "OK":
            print(f"tally: {test['name']} ended with {test['result']}")
            bad = 1
        elif good + bad == 0:
            print(f"tally: {test['name']} ran no test that can be counted")
            bad = 1
        passed, failed = passed + good, failed + bad
    return passed, failed


def count_tap(text):
    totals = dict(TAP_TOTAL.findall(text))
    return int(totals.get("pass", 0)), int(totals.get("fail", 0)) + int(totals.get("cancelled", 0))


def count_run(results, status):
    """The results of one run -> (passed, failed); no result, or one without tests, has failed."""
    passed = failed = 0
    for path in map(pathlib.Path, results):
        text = path.read_text(errors="replace") if path.is_file() else ""
        good, bad = count_meson(text) if path.suffix == ".json" else count_tap(text)
        if good + bad == 0:
            print(f"tally: {path} tells of no test")
            bad = 1
        passed, failed = passed + good, failed + bad
    if failed == 0 and (status != 0 or passed == 0):
        failed = 1
    return passed, failed


def count_steps(text):
    """A CI run's steps; a `tests` step is as good as its results, a `check` step counts as one."""
    passed = failed = 0
    for line in text.splitlines():
        name, kind, status, seconds, results = line.split("\t")
        if kind == "tests":
            good, bad = count_run(results.split(), int(status))
        else:
            good, bad = (1, 0) if status == "0" else (0, 1)
        print(f"{name:<16} {good:>6} passed {bad:>4} failed {seconds:>6} s")
        passed, failed = passed + good, failed + bad
    return passed, failed


def main(args):
    if args[:1] == ["--steps"] and len(args) == 2:
        passed, failed = count_steps(pathlib.Path(args[1]).read_text())
    else:
        status = 0
        if args[:1] == ["--status"]:
            status, args = int(args[1]), args[2:]
        passed, failed = count_run(args, status)
    failed += passed + failed == 0
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
