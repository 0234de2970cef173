"""What the tests are shown: a data set, runs, an API and a viewer over them, one browser."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest
import urllib.request

from browser import Page, Program, compare_with_golden, open_chromium

BUILD, SOURCE = os.environ["MACADAM_VIEW_BUILD"], os.environ["MACADAM_VIEW_SOURCE"]
MACADAM = os.path.join(BUILD, "macadam")
GOLDENS = os.path.join(SOURCE, "tests/golden/view")
KEPT = os.path.join(BUILD, "view")
OTHER_WORLD = os.environ.get("MACADAM_VIEW_WORLD")
HOSTILE = "<img src=x onerror=document.title='taken'>.png"


def macadam(*arguments, cwd):
    done = subprocess.run([MACADAM, *arguments], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"macadam {arguments}: {done.stderr}")


class World:
    """A data set, two trained runs, the API over them, the viewer, and one browser for all tests."""

    def __init__(self):
        self.scratch = tempfile.mkdtemp(prefix="macadam-view-")
        self.folder = OTHER_WORLD or self.scratch
        if not OTHER_WORLD:
            self.train()
        self.serve_arguments = ["serve", f"first={self.folder}/runs/first", f"second={self.folder}/runs/second",
                                "--gallery", f"{self.folder}/streets", "--max-batch", "2"]
        self.api = Program(MACADAM, *self.serve_arguments, "--port", "0", ready="ready")
        self.view = Program(MACADAM, "view", "--api", self.api.address, "--port", "0", "--runs", f"{self.folder}/runs")
        self.downloads = os.path.join(self.scratch, "downloads")
        os.mkdir(self.downloads)
        self.driver = open_chromium(self.downloads)

    def train(self):
        macadam("synth", "streets", "--images", "24", "--size", "256x128", "--seed", "3", cwd=self.folder)
        for name, loss in (("first", "ce"), ("second", "ce + dice")):
            with open(f"{self.folder}/{name}.toml", "w") as file:
                file.write(f'network = "unet_mini"\ndataset = "streets"\nsize = [64, 128]\nbatch = 2\nepochs = 3\n'
                           f'loss = "{loss}"\nprecision = "fp32"\nname = "{name}"\n')
            macadam("train", f"{name}.toml", cwd=self.folder)

    def close(self):
        self.driver.quit()
        codes = [self.view.end(), self.api.end()]
        shutil.rmtree(self.scratch)
        if codes != [0, 0]:
            raise RuntimeError(f"the programs ended with {codes}")

    def get(self, path):
        with urllib.request.urlopen(self.api.address + path) as answer:
            return answer.read()


class Browser(unittest.TestCase):
    world = None  # set before any test runs

    def setUp(self):
        self.page = Page(self.world.driver, self.world.view.address)
        self.page.errors()
        self.world.driver.set_window_size(1280, 900)
        self.world.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    def tearDown(self):
        self.assertEqual(self.page.errors(), [], "faults in the browser")
        self.page.open()
        self.page.js("localStorage.clear()")

    def gallery_ids(self, **query):
        text = "".join(f"&{k}={v}" for k, v in query.items())
        ids = []
        while page := json.loads(self.world.get(f"/v1/images?offset={len(ids)}{text}"))["images"]:
            ids += [image["id"] for image in page]
        return ids

    def open_image(self, at=0, more=""):
        image = self.gallery_ids()[at]
        self.page.open(f"#/image/{image}{more}")
        self.page.wait_for_planes()
        return image

    def picture(self, name):
        """Compares what the window shows with what is expected of it."""
        self.page.frame()
        fault = compare_with_golden(GOLDENS, name, self.world.driver.get_screenshot_as_png(), KEPT)
        if not OTHER_WORLD:
            self.assertIsNone(fault, fault)
