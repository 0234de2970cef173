"""bench/gpu_check.sh rehearsed on the CPU at tiny sizes: every section runs, what is not reached is
named, and what was measured survives a command that is ended.

  python3 tests/bench/gpu_check_test.py BUILD
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = sys.argv.pop() if len(sys.argv) > 1 else None
REHEARSED = ("build", "smoke", "tests", "headline", "kernels", "camvid", "resnet", "latency",
             "sanitizer", "profile", "large", "fp32", "throughput", "choices")


class Rehearsal(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out, self.work = Path(folder.name, "out"), Path(folder.name, "work")

    def command(self, *sections, **environment):
        return [str(ROOT / "bench/gpu_check.sh"), str(self.out), *sections], os.environ | {
            "BUILD": BUILD, "WORK": str(self.work), "DEVICE": "cpu", "NO_PEERS": "1",
            "PYTHON": sys.executable} | environment

    def check(self, *sections, **environment):
        """The exit status, what it printed, and the results."""
        command, variables = self.command(*sections, **environment)
        done = subprocess.run(command, env=variables, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        return done.returncode, done.stdout, self.results()

    def results(self):
        file = self.out / "results.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def states(self):
        return {name: entry["state"] for name, entry in self.results().items() if name != "goals"}

    def test_every_section_passes_and_is_not_repeated(self):
        status, printed, results = self.check()
        self.assertEqual(status, 0, printed)
        self.assertEqual(self.states(), {section: "passed" for section in REHEARSED})
        self.assertGreater(results["tests"]["data"]["binaries"]["test_kernels"]["run"], 0)
        self.assertGreater(len(results["kernels"]["data"]["cases"]), 0)
        self.assertEqual(results["camvid"]["data"]["runs"]["camvid"]["epochs"], 1)
        self.assertIn("by kind", results["profile"]["data"]["unet_mini"])
        self.assertEqual(len(results["throughput"]["data"]), 5)
        self.assertEqual(len(results["choices"]["data"]), 3)
        self.assertIn("## choices: passed", (self.out / "report.md").read_text())
        self.assertTrue((self.out / "log.txt").exists())

        for file in self.out.iterdir():  # as a machine that empties it before each command
            file.unlink()
        status, printed, _ = self.check("second")
        self.assertEqual(status, 0, printed)
        self.assertIn("=== profile: passed before", printed)
        self.assertEqual(self.states(), {section: "passed" for section in REHEARSED})

    def test_what_a_deadline_does_not_leave_time_for_is_named(self):
        status, printed, _ = self.check("build")
        self.assertEqual(status, 0, printed)
        status, printed, _ = self.check("smoke", "camvid", DEADLINE="1")
        self.assertEqual(status, 1, printed)
        self.assertEqual(self.states(), {"build": "passed", "smoke": "not reached",
                                         "camvid": "not reached"}, printed)
        self.assertIn("=== camvid: not reached", printed)
        self.assertIn("## camvid: not reached", (self.out / "report.md").read_text())

    def test_an_ended_command_leaves_what_it_has(self):
        command, variables = self.command("build", "kernels")
        with subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:
            while "build" not in self.states() and process.poll() is None:
                time.sleep(0.02)
            process.terminate()
            self.assertIn(process.wait(), (143, 0))  # 0: it was done before
        self.assertEqual(self.states()["build"], "passed")

    def test_wrong_words_are_named(self):
        status, printed, _ = self.check("headlines")
        self.assertEqual(status, 1)
        self.assertIn("gpu_check: error: headlines: no such section", printed)
        status, printed, _ = self.check("build", DEADLINE="soon")
        self.assertEqual(status, 1)
        self.assertIn("gpu_check: error: DEADLINE: soon", printed)
        status, printed, _ = self.check("build", BUILD=str(self.work / "nowhere"),
                                        CARRIED=str(self.work / "nowhere"))
        self.assertEqual(status, 1)
        self.assertIn("no build there", printed)


if __name__ == "__main__":
    unittest.main()
