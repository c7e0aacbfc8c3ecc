"""tally_test.py - the count of tests: every runner's closing lines, and no silence taken for success."""
import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import tally  # noqa: E402

CMOCKA_GOOD = "[==========] Running 2 test(s).\n[       OK ] a\n[==========] 2 test(s) run.\n[  PASSED  ] 2 test(s).\n"
CMOCKA_BAD = "[  FAILED  ] a\n[  PASSED  ] 1 test(s).\n[  FAILED  ] 2 test(s), listed below:\n[  FAILED  ] a\n"


def meson_line(name, result, text):
    return json.dumps({"name": name, "result": result, "stdout": text, "stderr": ""}) + "\n"


class TallyTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.top = pathlib.Path(self.folder.name)

    def write(self, name, text):
        (self.top / name).write_text(text)
        return str(self.top / name)

    def tally(self, *args):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            status = tally.main(list(args))
        return status, out.getvalue().splitlines()[-1]

    def test_cmocka_is_counted_test_by_test(self):
        self.assertEqual(tally.count_text(CMOCKA_GOOD), (2, 0))
        self.assertEqual(tally.count_text(CMOCKA_GOOD + CMOCKA_GOOD), (4, 0))
        self.assertEqual(tally.count_text(CMOCKA_BAD), (1, 2))

    def test_our_own_closing_line_counts_alone_on_its_line(self):
        self.assertEqual(tally.count_text("x\n12 passed, 3 failed\n"), (12, 3))
        self.assertEqual(tally.count_text("replay: 12 passed, 0 failed\n"), (12, 0))
        self.assertEqual(tally.count_text("so 12 passed, 3 failed, he said\n"), (0, 0))

    def test_unittest_is_counted(self):
        self.assertEqual(tally.count_text("Ran 3 tests in 0.1s\n\nOK\n"), (3, 0))
        self.assertEqual(tally.count_text("Ran 5 tests in 0.1s\n\nFAILED (failures=1, errors=2)\n"), (2, 3))

    def test_a_replayed_trace_is_one_test(self):
        self.assertEqual(tally.count_text("1000 events, 0 mismatches\n"), (1, 0))
        self.assertEqual(tally.count_text("1000 events, 2 mismatches\n"), (0, 1))
        self.assertEqual(tally.count_text("0 events, 0 mismatches\n"), (0, 0))

    def test_a_program_that_must_fail_passes_by_failing(self):
        text = "1 events, 1 mismatches\n"
        log = self.write("testlog.json", meson_line("a", "EXPECTEDFAIL", text))
        self.assertEqual(self.tally(log), (0, "1 passed, 0 failed"))
        log = self.write("testlog.json", meson_line("a", "UNEXPECTEDPASS", "1 events, 0 mismatches\n"))
        self.assertEqual(self.tally("--status", "1", log), (1, "1 passed, 1 failed"))

    def test_a_program_that_crashed_has_failed(self):
        log = self.write("testlog.json", meson_line("a", "OK", CMOCKA_GOOD) + meson_line("b", "FAIL", "[ RUN ] x\n"))
        self.assertEqual(self.tally("--status", "1", log), (1, "2 passed, 1 failed"))

    def test_a_program_that_ran_nothing_has_failed(self):
        log = self.write("testlog.json", meson_line("a", "OK", CMOCKA_GOOD) + meson_line("b", "OK", ""))
        self.assertEqual(self.tally(log), (1, "2 passed, 1 failed"))

    def test_node_is_counted_and_a_cancelled_test_has_failed(self):
        tap = self.write("e2e.tap", "TAP version 13\n1..3\n# tests 3\n# pass 2\n# fail 0\n# cancelled 1\n# skipped 0\n")
        self.assertEqual(self.tally(tap), (1, "2 passed, 1 failed"))

    def test_results_add_up(self):
        log = self.write("testlog.json", meson_line("a", "OK", CMOCKA_GOOD))
        tap = self.write("e2e.tap", "# pass 4\n# fail 0\n")
        self.assertEqual(self.tally("--status", "0", log, tap), (0, "6 passed, 0 failed"))

    def test_a_missing_result_has_failed(self):
        log = self.write("testlog.json", meson_line("a", "OK", CMOCKA_GOOD))
        self.assertEqual(self.tally(log, str(self.top / "none.tap")), (1, "2 passed, 1 failed"))
        self.assertEqual(self.tally(), (1, "0 passed, 1 failed"))

    def test_a_runner_that_exits_badly_has_failed_whatever_it_counted(self):
        log = self.write("testlog.json", meson_line("a", "OK", CMOCKA_GOOD))
        self.assertEqual(self.tally("--status", "3", log), (1, "2 passed, 1 failed"))

    def test_steps_add_up_and_a_check_counts_as_one(self):
        log = self.write("testlog.json", meson_line("a", "OK", CMOCKA_GOOD))
        steps = self.write("steps", f"test\ttests\t0\t3\t{log}\nformat\tcheck\t0\t1\t\nlint\tcheck\t2\t1\t\n")
        self.assertEqual(self.tally("--steps", steps), (1, "3 passed, 1 failed"))

    def test_no_step_at_all_has_failed(self):
        self.assertEqual(self.tally("--steps", self.write("steps", "")), (1, "0 passed, 1 failed"))


if __name__ == "__main__":
    unittest.main()
