"""scripts/check-layers, run on small trees that keep or break the order."""

import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check-layers"


class CheckLayers(unittest.TestCase):
    def check(self, files):
        """Runs the script on a tree of these files: its exit status and what it said."""
        with tempfile.TemporaryDirectory() as root:
            for name, text in files.items():
                path = Path(root) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            run = subprocess.run([SCRIPT, root], capture_output=True, text=True, check=False)
            return run.returncode, run.stdout

    def assert_refused(self, files, fault):
        status, said = self.check(files)
        self.assertEqual(status, 1, said)
        self.assertIn(fault, said)

    def test_a_tree_that_keeps_the_order_passes(self):
        status, said = self.check({
            "common/map.c": '#include "common/map.h"\n#include <time.h>\n',
            "proto/message.c": '#include "common/map.h"\n#include "proto/message.h"\n',
            "broker/session/session.c": '#include "broker/session/session.h"\n#include "broker/session/watcher.h"\n',
            "broker/hub/hub.c": '#include <uv.h>\n#include "proto/message.h"\n',
            "client/cli/watch.c": '#include "client/cli/screen.h"\n#include "proto/message.h"\n',
        })
        self.assertEqual(status, 0, said)
        self.assertIn("5 files, 0 faults", said)

    def test_a_lower_layer_may_not_include_a_higher_one(self):
        self.assert_refused({"common/map.c": '#include "proto/json.h"\n'},
                            "common/map.c:1: common/ may not include proto/")
        self.assert_refused({"proto/json.c": '\n  #  include "broker/hub/hub.h"\n'},
                            "proto/json.c:2: proto/ may not include broker/")

    def test_clients_do_not_reach_into_the_broker_or_each_other(self):
        self.assert_refused({"client/cli/main.c": '#include "broker/hub/hub.h"\n'},
                            "client/cli/ may not include broker/")
        self.assert_refused({"client/publisher/a.c": '#include "client/cli/main.h"\n'},
                            "client/publisher/ may not include client/cli/")

    def test_of_the_publisher_progressctl_sees_the_public_header_alone(self):
        status, said = self.check({"client/cli/run.c": '#include "client/publisher/publisher.h"\n'})
        self.assertEqual(status, 0, said)
        self.assert_refused({"client/cli/run.c": '#include "client/publisher/outbox.h"\n'},
                            "client/cli/ may not include client/publisher/")

    def test_within_the_broker_includes_run_one_way(self):
        self.assert_refused({"broker/hub/hub.c": '#include "broker/session/session.h"\n'},
                            "broker/hub/hub may not include broker/session/session")
        self.assert_refused({"broker/net/stream.h": '#include "broker/net/channel.h"\n'},
                            "broker/net/stream may not include broker/net/channel")

    def test_a_file_of_the_broker_without_a_row_is_refused(self):
        self.assert_refused({"broker/novelty.h": ""}, "broker/novelty.h:1: no row")

    def test_a_folder_that_is_no_layer_is_refused(self):
        self.assert_refused({"client/web/stream.c": ""}, "client/web/ is not a layer")
        self.assert_refused({"broker/hub/stream.c": ""}, "no row")
        self.assert_refused({"common/map.c": '#include "tests/support/x.h"\n'}, "is not a path")

    def test_an_include_without_its_folder_is_refused(self):
        self.assert_refused({"common/map.c": '#include "mem.h"\n'},
                            '"mem.h" is not a path from the root')

    def test_pure_code_has_neither_loop_nor_clock(self):
        self.assert_refused({"proto/json.c": "#include <time.h>\n"}, "may not include <time.h>")
        self.assert_refused({"common/map.c": "#include <uv.h>\n"}, "may not include <uv.h>")

    def test_a_tree_without_files_is_not_taken_for_a_good_one(self):
        self.assertEqual(self.check({})[0], 1)


if __name__ == "__main__":
    unittest.main()
