"""pure_test.py - the check of pure rooms: a planted call of the system is found, whoever makes it."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import check_pure  # noqa: E402

ROOMS = {"base": [], "http": ["base"], "admit": ["base"]}


class PureTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.build = pathlib.Path(self.folder.name)
        self.make_room("base", "#include <stdlib.h>\nvoid *own(void) { return malloc(1); }\n")

    def make_room(self, room, *sources):
        objects = []
        for i, text in enumerate(sources):
            stem = self.build / f"{room}{i}"
            stem.with_suffix(".c").write_text(text)
            subprocess.run(["cc", "-w", "-O2", "-c", stem.with_suffix(".c"), "-o", stem.with_suffix(".o")], check=True)
            objects.append(stem.with_suffix(".o"))
        subprocess.run(["ar", "rcs", self.build / f"lib{room}.a", *objects], check=True)

    def complaints(self):
        return check_pure.check(self.build, ROOMS)[1]

    def test_memory_and_text_functions_pass(self):
        self.make_room("admit", "#include <stdio.h>\n#include <string.h>\n"
                       "int f(char *b, char *s) { return snprintf(b, 9, \"%d%s\", *s, s) + !memcmp(b, s, 7); }\n")
        self.assertEqual(self.complaints(), [])

    def test_their_fortified_twins_pass_and_those_of_others_do_not(self):
        self.assertTrue(check_pure.is_allowed("__memcpy_chk"))
        self.assertTrue(check_pure.is_allowed("__isoc99_snprintf") or check_pure.is_allowed("__snprintf_chk"))
        self.assertFalse(check_pure.is_allowed("__read_chk"))
        self.assertFalse(check_pure.is_allowed("__isoc99_sscanf"))

    def test_a_hidden_clock_is_found(self):
        self.make_room("admit", "#include <time.h>\n#define NOW(t) clock_gettime(CLOCK_MONOTONIC, t)\n"
                       "long f(void) { struct timespec t; NOW(&t); return t.tv_nsec; }\n")
        self.assertEqual(self.complaints(), ["the pure room admit needs clock_gettime"])

    def test_sockets_files_threads_and_randomness_are_found(self):
        for name in ("socket", "open", "fopen", "pthread_create", "pthread_mutex_lock", "getrandom", "rand",
                     "time", "getenv", "printf", "usleep"):
            with self.subTest(name):
                self.make_room("admit", f"extern int {name}(void);\nint f(void) {{ return {name}(); }}\n")
                self.assertEqual(self.complaints(), [f"the pure room admit needs {name}"])

    def test_a_room_that_may_be_included_defines_what_is_needed(self):
        self.make_room("admit", "void *own(void);\nvoid *f(void) { return own(); }\n")
        self.assertEqual(self.complaints(), [])

    def test_a_room_that_may_not_be_included_does_not(self):
        self.make_room("http", "int fine(void) { return 1; }\n")
        self.make_room("admit", "int fine(void);\nint f(void) { return fine(); }\n")
        self.assertEqual(self.complaints(), ["the pure room admit needs fine"])

    def test_what_another_file_of_the_room_defines_is_not_missing(self):
        self.make_room("admit", "int g(void);\nint f(void) { return g(); }\n", "int g(void) { return 1; }\n")
        self.assertEqual(self.complaints(), [])

    def test_only_the_room_of_a_library_may_call_it(self):
        text = "int llhttp_execute(void);\nint f(void) { return llhttp_execute(); }\n"
        self.make_room("http", text)
        self.assertEqual(self.complaints(), [])
        self.make_room("admit", text)
        self.assertEqual(self.complaints(), ["the pure room admit needs llhttp_execute"])


if __name__ == "__main__":
    unittest.main()
