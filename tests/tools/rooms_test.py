"""rooms_test.py - the import rule: what src/ROOMS allows passes, what it does not is named."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "rooms.py"

ROOMS = """
[pure]
base:
json: base | parser.h
[effects]
os:   base | sys/
cmd:  *
"""


class RoomsTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.top = pathlib.Path(self.folder.name)
        self.write("src/ROOMS", ROOMS)
        self.write("src/base/str.h", "#include <string.h>\n")
        self.write("src/json/json.c", '#include "base/str.h"\n#include <parser.h>\n')
        self.write("src/os/file.c", '#include "base/str.h"\n#include <sys/stat.h>\n')
        self.write("src/cmd/main.c", '#include "os/file.h"\n#include "json/json.h"\n')

    def write(self, path, text):
        path = self.top / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run_tool(self, *args):
        return subprocess.run([sys.executable, TOOL, "--top", self.top, *args], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def assert_refused(self, *words):
        done = self.run_tool("check")
        self.assertEqual(done.returncode, 1, done.stdout)
        for word in words:
            self.assertIn(word, done.stdout)

    def test_a_tree_that_obeys_passes(self):
        done = self.run_tool("check")
        self.assertEqual((done.returncode, done.stdout), (0, "rooms: 4 rooms, every include allowed\n"))

    def test_a_room_may_not_include_one_that_its_line_does_not_name(self):
        self.write("src/base/str.c", '#include "json/json.h"\n')
        self.assert_refused("src/base/str.c", "base may not see json")

    def test_an_outside_library_belongs_to_one_room(self):
        self.write("src/os/json.c", "#include <parser.h>\n")
        self.assert_refused("src/os/json.c", "only json may")

    def test_a_library_with_two_rooms_belongs_to_no_third(self):
        self.write("src/ROOMS", ROOMS.replace("os:   base | sys/", "os:   base | sys/ parser.h"))
        self.write("src/os/json.c", "#include <parser.h>\n")
        self.assertEqual(self.run_tool("check").returncode, 0)
        self.write("src/base/json.c", "#include <parser.h>\n")
        self.assert_refused("src/base/json.c", "only json and os may")

    def test_a_folder_of_outside_headers_belongs_to_one_room(self):
        self.write("src/json/deep/json_file.cpp", "  # include <sys/mman.h>\n")
        self.assert_refused("json_file.cpp", "only os may")

    def test_an_outside_header_stays_out_of_headers_that_others_include(self):
        self.write("src/json/json.h", "#include <parser.h>\n")
        self.assert_refused("src/json/json.h", "not in a header")

    def test_but_a_private_header_may_include_it(self):
        self.write("src/json/json_private.h", "#include <parser.h>\n")
        self.assertEqual(self.run_tool("check").returncode, 0)

    def test_a_private_header_is_for_its_room_alone(self):
        self.write("src/cmd/main.c", '#include "json/json_private.h"\n')
        self.assert_refused("src/cmd/main.c", "a private header of json")

    def test_a_folder_without_a_line_is_refused(self):
        self.write("src/misc/a.c", "")
        self.assert_refused("src/misc")

    def test_a_line_may_only_name_rooms_above_it(self):
        self.write("src/ROOMS", "[pure]\nbase: json\njson:\n")
        self.assert_refused("src/ROOMS:2", "json, which is not above it")

    def test_a_pure_room_may_not_name_one_with_effects(self):
        self.write("src/ROOMS", "[effects]\nos:\n[pure]\nbase: os\n")
        self.assert_refused("src/ROOMS:4", "which has effects")


if __name__ == "__main__":
    unittest.main()
