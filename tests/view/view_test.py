#!/usr/bin/env python3
"""The viewer in a real browser, over real models and over an API that misbehaves.

    view_test.py BUILD SOURCE [unittest arguments]

BUILD holds the program. Without Chromium and Selenium all of it is skipped, by name. Pictures of what
was seen stay in BUILD/view. With MACADAM_WRITE_GOLDENS=1 they become what is expected. With
MACADAM_VIEW_WORLD=FOLDER the same is done over FOLDER/streets (any data set), FOLDER/runs/first and
FOLDER/runs/second, and pictures are only kept.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
import xml.etree.ElementTree as ElementTree

try:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    from browser import Page, Program, compare_with_golden, open_chromium, read_png
    MISSING = None if shutil.which("chromium") and shutil.which("chromedriver") else "chromium, chromium-driver"
except ImportError as error:
    MISSING = str(error)
from fake_api import FakeApi

BUILD, SOURCE = (os.path.abspath(sys.argv.pop(1)) for _ in range(2))
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


WORLD = None


def setUpModule():
    global WORLD
    if MISSING:
        raise unittest.SkipTest(f"the viewer's tests need {MISSING}")
    WORLD = World()


def tearDownModule():
    if WORLD:
        WORLD.close()


class Browser(unittest.TestCase):
    def setUp(self):
        self.page = Page(WORLD.driver, WORLD.view.address)
        self.page.errors()
        WORLD.driver.set_window_size(1280, 900)
        WORLD.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    def tearDown(self):
        self.assertEqual(self.page.errors(), [], "faults in the browser")
        self.page.open()
        self.page.js("localStorage.clear()")

    def gallery_ids(self, **query):
        text = "&".join(f"{k}={v}" for k, v in query.items())
        return [image["id"] for image in json.loads(WORLD.get(f"/v1/images?{text}"))["images"]]

    def open_image(self, at=0, more=""):
        image = self.gallery_ids()[at]
        self.page.open(f"#/image/{image}{more}")
        self.page.wait_for_planes()
        return image

    def picture(self, name):
        """Compares what the window shows with what is expected of it."""
        self.page.frame()
        fault = compare_with_golden(GOLDENS, name, WORLD.driver.get_screenshot_as_png(), KEPT)
        if not OTHER_WORLD:
            self.assertIsNone(fault, fault)


class Gallery(Browser):
    def test_shows_all_photos_and_finds_them(self):
        page = self.page
        page.open()
        ids = self.gallery_ids()
        page.wait(lambda: len(page.all(".grid li")) == len(ids), "a card a photo")
        page.wait(lambda: page.js("return [...document.querySelectorAll('.grid img')].every((i) => i.complete && i.naturalWidth > 0)"),
                  "every thumbnail has come")
        self.picture("gallery")
        page.one("input[type=search]").send_keys(ids[3][-8:])
        page.wait(lambda: [c.text for c in page.all(".grid .name")] == [i for i in ids if ids[3][-8:] in i], "those that match")
        page.one("input[type=search]").clear()
        page.one("input[type=search]").send_keys("nothing like it")
        page.wait(lambda: "No photo has this name" in page.text(".grid"), "words for none")

    def test_splits_are_filtered_and_the_address_keeps_it(self):
        page = self.page
        page.open()
        page.wait(lambda: page.js("return document.querySelector('.tools select option[value=val]') !== null"), "the splits")
        page.js("""const select = document.querySelectorAll('.tools select')[0];
                select.value = 'val'; select.dispatchEvent(new Event('change'));""")
        val = self.gallery_ids(split="val")
        page.wait(lambda: [c.text for c in page.all(".grid .name")] == val, "the split's photos")
        self.assertIn("split=val", WORLD.driver.current_url)
        page.open(WORLD.driver.current_url.split("/", 3)[3])
        page.wait(lambda: [c.text for c in page.all(".grid .name")] == val, "the same from the address")

    def test_sorts_by_score_and_filters_by_class(self):
        page = self.page
        page.open()
        page.wait(lambda: page.button(f"Score {len(self.gallery_ids())} photos"), "the button").click()
        page.wait(lambda: not [b for b in page.all(".tools button") if "scor" in b.text.lower() and b.is_displayed()], "all are scored", 120)
        page.js("const s = document.querySelectorAll('.tools select')[2]; s.value = 'worst'; s.dispatchEvent(new Event('change'));")
        scores = {i["id"]: i["miou"] for i in json.loads(WORLD.get("/v1/scores"))["images"]}
        self.assertEqual(sorted(scores), sorted(self.gallery_ids()))
        shown = [c.text for c in page.all(".grid .name")]
        self.assertEqual([scores[i] for i in shown], sorted(scores.values()))
        name = json.loads(WORLD.get("/v1/scores"))["classes"][1]
        page.js("const s = document.querySelectorAll('.tools select')[1]; s.value = '1'; s.dispatchEvent(new Event('change'));")
        having = [i["id"] for i in json.loads(WORLD.get("/v1/scores"))["images"] if i["iou"][1] is not None]
        page.wait(lambda: sorted(c.text for c in page.all(".grid .name")) == sorted(having), f"those with {name}")

    def test_ten_thousand_photos(self):
        fake = FakeApi([f"val.{i:05}" for i in range(10_000)])
        view = Program(MACADAM, "view", "--api", f"http://127.0.0.1:{fake.port}", "--port", "0")
        try:
            page = Page(WORLD.driver, view.address)
            page.open()
            page.wait(lambda: "10000 of 10000" in page.text(".tools"), "all are known")
            few = len(page.all(".grid li"))
            self.assertLess(few, 1000, "cards come as they are needed")
            page.js("window.scrollTo(0, document.body.scrollHeight)")
            page.wait(lambda: len(page.all(".grid li")) > few, "more come at the end")
            page.one("input[type=search]").send_keys("09999")
            page.wait(lambda: [c.text for c in page.all(".grid .name")] == ["val.09999"], "the last is found")
        finally:
            view.end()
            fake.close()


class Image(Browser):
    def classes(self):
        return json.loads(WORLD.get("/v1/classes"))["classes"]

    def place_of(self, plane, value, width, height):
        """A place in the middle of pixels of this value, in parts of the picture."""
        for y in range(2, height - 2):
            for x in range(2, width - 2):
                if all(plane[(y + dy) * width + x + dx] == value for dy in (-2, 0, 2) for dx in (-2, 0, 2)):
                    return (x + 0.5) / width, (y + 0.5) / height
        self.fail(f"no patch of {value}")

    def truth_of(self, image):
        width, height, _, plane = read_png(WORLD.get(f"/v1/images/{image}/mask"))
        return plane, width, height

    def common_class(self, plane):
        return max((c["id"] for c in self.classes()), key=plane.count)

    def test_panes_show_what_the_api_says(self):
        page = self.page
        image = self.open_image()
        self.assertEqual([c.text for c in page.all(".pane figcaption")], ["Photo", "Truth", "Prediction", "Errors"])
        plane, width, height = self.truth_of(image)
        value = self.common_class(plane)
        x, y = self.place_of(plane, value, width, height)
        color = next(c["color"] for c in self.classes() if c["id"] == value)
        shown = page.pixel(1, x, y)
        self.assertTrue(all(abs(a - b) <= 2 for a, b in zip(shown, color)), (shown, color))
        self.assertAlmostEqual(shown[3] / 255, 0.55, delta=0.01)
        guess = read_png(WORLD.get(f"/v1/images/{image}/prediction"))[3]
        metrics = json.loads(WORLD.get(f"/v1/images/{image}/metrics"))
        self.assertIn(f"{100 * metrics['miou']:.1f} %", page.text(".facts"))
        present = {c["name"] for c in self.classes() if c["id"] in plane or c["id"] in guess}
        self.assertEqual({n.text for n in page.all(".legend .name")}, present, "only the classes that are there")
        for stage in ("waited", "decoded", "network", "encoded"):
            self.assertIn(stage, page.text(".facts"))
        self.picture("photo")

    def test_legend_toggles_solo_and_lights(self):
        page = self.page
        image = self.open_image()
        plane, width, height = self.truth_of(image)
        value = self.common_class(plane)
        name = next(c["name"] for c in self.classes() if c["id"] == value)
        x, y = self.place_of(plane, value, width, height)
        toggle = next(t for t in page.all(".legend .toggle") if t.text == name)
        toggle.click()
        page.one("h1").click()
        page.frame()
        self.assertEqual(page.pixel(1, x, y)[3], 0, "hidden")
        self.assertEqual(toggle.get_attribute("aria-pressed"), "false")
        toggle.click()
        page.frame()
        self.assertGreater(page.pixel(1, x, y)[3], 100, "shown again")
        next(o for o in page.all(".legend .only") if name in o.get_attribute("aria-label")).click()
        self.assertEqual([t.text for t in page.all(".legend .toggle[aria-pressed=true]")], [name])
        page.button("Show all", ".legend").click()
        self.assertEqual(page.all(".legend .toggle[aria-pressed=false]"), [])
        other = next(t for t in page.all(".legend .toggle") if t.text != name)
        before = page.pixel(1, x, y)[3]
        ActionChains(WORLD.driver).move_to_element(other).perform()
        page.wait(lambda: page.pixel(1, x, y)[3] < before / 2, "others step back for the entry that is pointed at")
        page.press("1")
        self.assertEqual(len(page.all(".legend .toggle[aria-pressed=false]")), 1, "keys toggle too")

    def test_the_pointer_tells_class_truth_and_confidence(self):
        page = self.page
        image = self.open_image()
        plane, width, height = self.truth_of(image)
        value = self.common_class(plane)
        x, y = self.place_of(plane, value, width, height)
        name = next(c["name"] for c in self.classes() if c["id"] == value)
        area = page.all(".area")[1]
        ActionChains(WORLD.driver).move_to_element_with_offset(
            area, round((x - 0.5) * area.size["width"]), round((y - 0.5) * area.size["height"])).perform()
        line = page.wait(lambda: "truth" in page.text(".hover") and page.text(".hover"), "words of the place")
        self.assertIn(f"truth {name}", line)
        self.assertRegex(line, r"prediction \S+.* \d+ % sure")
        self.assertEqual(len(page.all(".legend tr.lit")), 1)
        self.assertEqual(len([c for c in page.all(".cursor") if c.is_displayed()]), 3, "the other panes show the place")

    def test_zoom_is_one_for_all_panes_and_in_the_address(self):
        page = self.page
        self.open_image()
        area = page.all(".area")[0]
        page.js("""const area = arguments[0], box = area.getBoundingClientRect();
                area.dispatchEvent(new WheelEvent('wheel', {deltaY: -600, clientX: box.left + box.width / 4, clientY: box.top + 9,
                  bubbles: true, cancelable: true}));""", area)
        page.wait(lambda: "zoom=" in WORLD.driver.current_url, "the zoom in the address")
        page.frame()
        same = page.js("""return [...document.querySelectorAll('.pane')].map((p) => {
                const c = p.querySelector('canvas'); return c.width + 'x' + c.height; })""")
        self.assertEqual(len(set(same)), 1)
        address = WORLD.driver.current_url

        def photo():
            data = page.js("return document.querySelector('.pane canvas').toDataURL()")
            return read_png(base64.b64decode(data.split(",")[1]))[3]

        first = photo()
        page.open(address.split("/", 3)[3])
        page.wait_for_planes()
        off = [abs(a - b) for a, b in zip(photo(), first)]
        self.assertLess(sum(off) / len(off), 2, "the same view from the address")
        page.press("0")
        page.wait(lambda: "zoom=" not in WORLD.driver.current_url, "all again")
        for key in "++":
            page.press(key)
        page.wait(lambda: "zoom=2.25" in WORLD.driver.current_url, "keys zoom")
        area = page.all(".area")[0]
        ActionChains(WORLD.driver).move_to_element(area).click_and_hold().move_by_offset(40, 20).release().perform()
        page.wait(lambda: "x=0.5&" not in WORLD.driver.current_url and "x=" in WORLD.driver.current_url, "dragging moves")

    def test_masks_are_crisp_at_any_zoom(self):
        page = self.page
        self.open_image()
        for _ in range(8):
            page.press("+")
        page.frame()
        colors = page.js("""const c = document.querySelectorAll('.pane')[1].querySelectorAll('canvas')[1];
                const d = new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer);
                return [...new Set(d)].length;""")
        self.assertLessEqual(colors, len(self.classes()) + 1, "no color between two classes")

    def test_opacity_reaches_both_ends_and_is_remembered(self):
        page = self.page
        image = self.open_image()
        plane, width, height = self.truth_of(image)
        x, y = self.place_of(plane, self.common_class(plane), width, height)
        for value, alpha in ((0, 0), (1, 255)):
            page.js("""const s = document.querySelector('[aria-label=Mask]'); s.value = arguments[0];
                    s.dispatchEvent(new Event('input'));""", value)
            page.frame()
            self.assertEqual(page.pixel(1, x, y)[3], alpha)
        self.open_image(1)
        self.assertEqual(page.one("[aria-label=Mask]").get_attribute("value"), "1")
        page.press(" ", up=False)
        drawn = """const c = document.querySelectorAll('.pane')[1].querySelectorAll('canvas')[1];
                return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v > 0)"""
        self.assertFalse(page.js(drawn), "the space bar hides while it is held")
        page.js("document.body.dispatchEvent(new KeyboardEvent('keyup', {key: ' ', bubbles: true}))")
        page.frame()
        self.assertTrue(page.js(drawn))

    def test_outline_is_borders_alone(self):
        page = self.page
        self.open_image()
        count = """const c = document.querySelectorAll('.pane')[1].querySelectorAll('canvas')[1];
                const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
                let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n / (d.length / 4);"""
        self.assertGreater(page.js(count), 0.95)
        page.press("o")
        page.frame()
        share = page.js(count)
        self.assertGreater(share, 0.002)
        self.assertLess(share, 0.3)

    def test_overlay_with_a_divider(self):
        page = self.page
        self.open_image()
        page.button("Overlay").click()
        page.wait_for_planes()
        self.assertEqual(len(page.all(".pane")), 1)
        bar = page.one(".divider")
        self.assertEqual(bar.get_attribute("aria-valuenow"), "50")
        ActionChains(WORLD.driver).click_and_hold(bar).move_by_offset(150, 0).release().perform()
        after = int(bar.get_attribute("aria-valuenow"))
        self.assertGreater(after, 55)
        page.js("arguments[0].focus(); arguments[0].dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft', bubbles: true}))", bar)
        self.assertEqual(int(bar.get_attribute("aria-valuenow")), after - 2)
        self.picture("overlay")

    def test_confidence_with_a_threshold(self):
        page = self.page
        self.open_image()
        page.press("c")
        page.wait_for_planes()
        self.assertEqual([c.text for c in page.all(".pane figcaption")][-1], "Confidence")
        opaque = """const c = document.querySelectorAll('.pane')[4].querySelectorAll('canvas')[1];
                const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
                let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n / (d.length / 4);"""
        everywhere = page.js(opaque)
        page.js("""const s = document.querySelector('[aria-label="Confidence up to"]'); s.value = 60; s.dispatchEvent(new Event('input'));""")
        page.frame()
        self.assertLess(page.js(opaque), everywhere)
        self.assertGreater(everywhere, 0.95)

    def test_two_models_side_by_side(self):
        page = self.page
        self.open_image(0, "?with=second")
        titles = [c.text for c in page.all(".pane figcaption")]
        self.assertEqual(titles[2:3] + titles[-1:], ["first", "second"])
        page.js("""const s = document.querySelector('[aria-label="Compare with"]'); s.value = ''; s.dispatchEvent(new Event('change'));""")
        page.wait(lambda: "second" not in [c.text for c in page.all(".pane figcaption")], "one model again")
        page.js("const s = document.querySelector('#model'); s.value = 'second'; s.dispatchEvent(new Event('change'));")
        page.wait(lambda: "model=second" in WORLD.driver.current_url, "the model in the address")
        page.wait_for_planes()

    def test_steps_through_the_photos(self):
        page = self.page
        ids = self.gallery_ids()
        self.open_image()
        page.press("j")
        page.wait(lambda: page.text("h1") == ids[1], "the next")
        page.press("k")
        page.wait(lambda: page.text("h1") == ids[0], "the one before")
        page.press("g")
        page.wait(lambda: page.all(".grid li"), "the gallery")
        page.press("?")
        self.assertTrue(page.one("#keys").is_displayed())
        page.button("Close", "#keys").click()

    def test_downloads(self):
        page = self.page
        image = self.open_image()
        width, height, _, guess = read_png(WORLD.get(f"/v1/images/{image}/prediction"))

        def download(text, ending):
            page.button("Download").click()
            page.button(text).click()
            path = os.path.join(WORLD.downloads, image + ending)
            page.wait(lambda: os.path.exists(path) and os.path.getsize(path) > 0, f"{text} is saved")
            with open(path, "rb") as file:
                return file.read()

        self.assertEqual(read_png(download("Mask (PNG)", "_mask.png"))[3], guess)
        self.assertEqual(read_png(download("Overlay (PNG)", "_overlay.png"))[:2], (width, height))
        figures = json.loads(download("Figures (JSON)", ".json"))
        self.assertEqual([c["pixels"] for c in figures["classes"]], [guess.count(c["id"]) for c in figures["classes"]])
        coco = json.loads(download("COCO pre-annotation", "_coco.json"))
        found = bytearray([255]) * (width * height)
        for annotation in coco["annotations"]:
            n, inside = 0, False
            for run in annotation["segmentation"]["counts"]:
                for i in range(n, n + run if inside else n):
                    found[(i % height) * width + i // height] = annotation["category_id"] - 1
                n, inside = n + run, not inside
            self.assertEqual(n, width * height)
        self.assertEqual(bytes(found), guess, "COCO's regions are the mask")
        found = bytearray([255]) * (width * height)
        names = {c["name"]: c["id"] for c in self.classes()}
        for mask in ElementTree.fromstring(download("CVAT pre-annotation", "_cvat.xml")).iter("mask"):
            left, top, wide = (int(mask.get(k)) for k in ("left", "top", "width"))
            n, inside = 0, False
            for run in map(int, mask.get("rle").split(",")):
                for i in range(n, n + run if inside else n):
                    found[(top + i // wide) * width + left + i % wide] = names[mask.get("label")]
                n, inside = n + run, not inside
        self.assertEqual(bytes(found), guess, "CVAT's masks are the mask")


class OwnPhotos(Browser):
    """Files, the clipboard, the camera, a video."""

    def photo(self, name):
        path = os.path.join(WORLD.scratch, name)
        with open(path, "wb") as file:
            file.write(WORLD.get(f"/v1/images/{self.gallery_ids()[0]}"))
        return path

    def test_a_file_is_segmented_and_its_name_is_text(self):
        page = self.page
        page.open("#/own")
        page.one("#files").send_keys(self.photo(HOSTILE))
        page.wait_for_planes()
        self.assertEqual(page.text("h1"), HOSTILE)
        self.assertNotIn("taken", WORLD.driver.title.replace(HOSTILE, ""))
        self.assertEqual([c.text for c in page.all(".pane figcaption")], ["Photo", "Prediction"])
        self.assertTrue(page.all(".legend .name"))
        page.one(".head .button").click()
        page.wait(lambda: [c.text for c in page.all(".grid .name")] == [HOSTILE], "it is kept in the page")

    def test_drop_and_paste(self):
        page = self.page
        page.open("#/own")
        page.one(".tools")
        data = base64.b64encode(WORLD.get(f"/v1/images/{self.gallery_ids()[0]}")).decode()
        for kind, event in (("drop", "DragEvent"), ("paste", "ClipboardEvent")):
            page.js("""const [data, kind, event] = arguments;
                    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
                    const transfer = new DataTransfer();
                    transfer.items.add(new File([bytes], kind + '.png', {type: 'image/png'}));
                    document.dispatchEvent(new window[event](kind, {bubbles: true, cancelable: true, dataTransfer: transfer, clipboardData: transfer}));""",
                    data, kind, event)
            page.wait(lambda: page.text("h1") == f"{kind}.png", f"what was {kind}ped is shown")
            page.wait_for_planes()

    def test_the_camera(self):
        page = self.page
        page.open("#/own")
        page.button("Camera").click()
        page.wait(lambda: page.js("const v = document.querySelector('dialog video'); return v && v.videoWidth > 0"), "a picture of the camera")
        page.button("Take a photo").click()
        page.wait(lambda: page.text("h1").startswith("camera"), "the photo")
        page.wait_for_planes()

    def test_a_video_frame_by_frame(self):
        page = self.page
        page.open("#/own")
        page.one(".tools")
        page.js_async("""const done = arguments[0];
                const canvas = document.createElement('canvas'); canvas.width = 128; canvas.height = 64;
                const context = canvas.getContext('2d');
                const recorder = new MediaRecorder(canvas.captureStream(20), {mimeType: 'video/webm'});
                const parts = []; recorder.ondataavailable = (e) => parts.push(e.data);
                recorder.onstop = () => {
                  const transfer = new DataTransfer();
                  transfer.items.add(new File(parts, 'clip.webm', {type: 'video/webm'}));
                  document.dispatchEvent(new DragEvent('drop', {bubbles: true, cancelable: true, dataTransfer: transfer}));
                  done();
                };
                recorder.start();
                let i = 0;
                const timer = setInterval(() => {
                  context.fillStyle = `hsl(${i * 20} 80% 50%)`; context.fillRect(0, 0, 128, 64);
                  if (++i > 30) { clearInterval(timer); recorder.stop(); }
                }, 50);""")
        page.wait(lambda: "frames" in page.text("dialog[open] [role=status]"), "the video is read")
        page.button("Take the frames").click()
        page.wait(lambda: page.all("h1") and page.text("h1").startswith("clip.webm 0.00"), "the first frame")
        page.wait_for_planes()
        page.press("j")
        page.wait(lambda: page.text("h1").startswith("clip.webm 0.50"), "the next frame")

    def test_what_is_no_photo_has_words(self):
        page = self.page
        page.open("#/own")
        path = os.path.join(WORLD.scratch, "letter.txt")
        with open(path, "w") as file:
            file.write("no photo")
        page.one("#files").send_keys(path)
        page.wait(lambda: "is no PNG" in page.text("#banner"), "words")
        with open(os.path.join(WORLD.scratch, "broken.png"), "wb") as file:
            file.write(b"\x89PNG\r\n\x1a\n nothing")
        page.one("#files").send_keys(file.name)
        page.wait(lambda: page.all(".failure") and page.one(".failure").is_displayed(), "words for a damaged one")


class Trouble(Browser):
    """An API that is down, slow, busy, or none at all."""

    def setUp(self):
        super().setUp()
        self.fake = FakeApi(["val.a", "val.b"])
        self.view = Program(MACADAM, "view", "--api", f"http://127.0.0.1:{self.fake.port}", "--port", "0")
        self.page = Page(WORLD.driver, self.view.address)

    def tearDown(self):
        super().tearDown()
        self.view.end()
        self.fake.close()

    def test_down_and_back(self):
        page = self.page
        api = Program(MACADAM, *WORLD.serve_arguments, "--port", "0", ready="ready")
        view = Program(MACADAM, "view", "--api", api.address, "--port", "0")
        try:
            page = Page(WORLD.driver, view.address)
            page.open()
            page.wait(lambda: page.all(".grid li"), "the gallery")
            api.end()
            page.js(f"location.hash = '#/image/{self.gallery_ids()[0]}'")
            page.wait(lambda: "cannot be reached" in page.text("#banner"), "words")
            self.picture("down")
            api = Program(MACADAM, *WORLD.serve_arguments, "--port", str(api.port), ready="ready")
            page.wait(lambda: "back" in page.text("#banner"), "it is back")
            page.wait_for_planes()
        finally:
            view.end()
            api.end()

    def test_busy_is_waited_for(self):
        page = self.page
        self.fake.mode = "busy"
        page.open("#/image/val.a")
        page.wait(lambda: "busy" in page.text("#banner"), "words")
        page.wait_for_planes()
        self.assertEqual(sum("/prediction" in path for path in self.fake.asked), 2)

    def test_not_an_api(self):
        page = self.page
        self.fake.mode = "not_an_api"
        page.open()
        page.wait(lambda: "is this the API of Macadam" in page.text("main"), "words")
        self.fake.mode = "well"
        page.wait(lambda: page.all(".grid li"), "and it goes on by itself")

    def test_markup_in_names_is_text(self):
        page = self.page
        page.open("#/image/val.a")
        page.wait_for_planes()
        self.assertIn("<b>bold</b>", page.text(".legend"))
        self.assertEqual(page.js("return document.querySelectorAll('main b, main i, main u, main img[src=x]').length"), 0)
        self.assertIn("<i>two</i>", page.text("#model"))

    def test_a_connection_that_is_lost_in_an_upload_loses_nothing(self):
        page = self.page
        self.fake.mode = "cut"
        page.open("#/own")
        path = os.path.join(WORLD.scratch, "mine.png")
        with open(path, "wb") as file:
            file.write(self.fake.photo)
        page.one("#files").send_keys(path)
        page.wait(lambda: page.all(".failure") and page.one(".failure").is_displayed(), "words")
        self.fake.mode = "well"
        page.wait(lambda: "back" in page.text("#banner") or page.button("Try again").click() is None, "again")
        page.wait_for_planes()
        self.assertEqual(page.text("h1"), "mine.png")

    def test_a_photo_that_the_api_refuses(self):
        page = self.page
        self.fake.mode = "broken"
        page.open("#/own")
        path = os.path.join(WORLD.scratch, "refused.png")
        with open(path, "wb") as file:
            file.write(self.fake.photo)
        page.one("#files").send_keys(path)
        page.wait(lambda: page.all(".failure") and "damaged" in page.text(".failure"), "the API's words")


class Runs(Browser):
    def test_curves_scores_classes_and_samples(self):
        page = self.page
        page.open("#/runs")
        page.wait(lambda: len(page.all(".chart polyline")) == 2, "a curve a run")
        self.assertEqual({t.text for t in page.all(".table tbody th")} >= {"first", "second"}, True)
        page.js("""const s = document.querySelector('.runs h2 select'); s.value = 'train_loss'; s.dispatchEvent(new Event('change'));""")
        page.wait(lambda: "train loss" in page.one(".chart").get_attribute("aria-label"), "another curve")
        self.assertTrue(page.all(".better, .worse"), "differences of classes")
        before = [i.get_attribute("src") for i in page.all(".samples img")]
        page.js("const s = document.querySelector('[aria-label=Epoch]'); s.value = 1; s.dispatchEvent(new Event('input'));")
        after = [i.get_attribute("src") for i in page.all(".samples img")]
        self.assertNotEqual(before, after)
        self.assertTrue(any(s.endswith("/0001.png") for s in after))
        page.wait(lambda: page.js("return [...document.querySelectorAll('.samples img')].every((i) => i.complete && i.naturalWidth > 0)"), "pictures")
        self.assertIn("ce + dice", page.text("main"))
        self.picture("runs")
        page.all(".table input")[0].click()
        page.wait(lambda: len(page.all(".chart polyline")) == 1, "one curve less")

    def test_the_report_opens(self):
        self.page.open("#/runs")
        link = self.page.one(".table a").get_attribute("href")
        WORLD.driver.get(link)
        self.page.wait(lambda: "Scores of the classes" in self.page.text("body"), "the report")


class Looks(Browser):
    def test_phone(self):
        page = self.page
        WORLD.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True})
        try:
            for fragment, name in (("#/", "phone_gallery"), (f"#/image/{self.gallery_ids()[0]}", "phone_photo"), ("#/runs", "phone_runs")):
                page.open(fragment)
                page.wait(lambda: page.all(".grid img, .pane, .chart"), fragment)
                if "image" in fragment:
                    page.wait_for_planes()
                page.frame()
                wide = page.js("return document.documentElement.scrollWidth")
                self.assertLessEqual(wide, 390, f"{fragment} is as wide as the phone")
                if name == "phone_photo":
                    self.picture(name)
        finally:
            WORLD.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def test_dark(self):
        page = self.page
        WORLD.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
        self.open_image()
        self.picture("dark")
        dark = page.js("return getComputedStyle(document.documentElement).backgroundColor")
        page.one("#theme").click()
        light = page.js("return getComputedStyle(document.documentElement).backgroundColor")
        self.assertNotEqual(dark, light, "the button goes before the system")

    def test_print(self):
        self.open_image()
        pdf = base64.b64decode(WORLD.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
        with open(os.path.join(KEPT, "print.pdf"), "wb") as file:
            file.write(pdf)
        self.assertGreater(len(pdf), 10_000)

    def test_axe_finds_nothing_serious(self):
        path = next((p for p in axe_files() if os.path.exists(p)), None)
        if not path:
            self.skipTest("axe-core is not installed (pip install axe-core-python)")
        with open(path) as file:
            axe = file.read()
        faults = []
        for scheme in ("light", "dark"):
            WORLD.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
            for fragment in ("#/", f"#/image/{self.gallery_ids()[0]}", f"#/image/{self.gallery_ids()[0]}?layout=overlay", "#/own", "#/runs"):
                self.page.open(fragment)
                self.page.wait(lambda: self.page.all(".grid, .pane, .chart"), fragment)
                if "image" in fragment:
                    self.page.wait_for_planes()
                self.page.js(axe)
                found = self.page.js_async("axe.run().then(arguments[0])")
                faults += [f"{scheme} {fragment} {v['id']}: {v['nodes'][0]['html'][:120]}" for v in found["violations"]
                           if v["impact"] in ("serious", "critical")]
        self.page.errors()  # the policy forbids what axe tries
        self.assertEqual(faults, [])


class Speed(Browser):
    """Measured, and told: see docs/decisions.md."""

    def test_figures(self):
        page = self.page
        page.open()
        page.wait(lambda: page.all(".grid li"), "the gallery")
        paint = page.js("return performance.getEntriesByType('paint').find((e) => e.name === 'first-contentful-paint').startTime")
        size = page.js("""return performance.getEntriesByType('resource').filter((e) => /\\.(js|css|svg)$/.test(e.name))
                .reduce((sum, e) => sum + e.decodedBodySize, performance.getEntriesByType('navigation')[0].decodedBodySize)""")
        page.open("#/own")
        page.one(".tools")
        page.js_async("""const done = arguments[0];
                const canvas = new OffscreenCanvas(2048, 1024), context = canvas.getContext('2d');
                for (let i = 0; i < 400; ++i) { context.fillStyle = `hsl(${i * 37} 60% 50%)`; context.fillRect((i * 97) % 2048, (i * 61) % 1024, 200, 120); }
                canvas.convertToBlob({type: 'image/jpeg'}).then((blob) => {
                  const transfer = new DataTransfer();
                  transfer.items.add(new File([blob], 'large.jpg', {type: 'image/jpeg'}));
                  document.dispatchEvent(new DragEvent('drop', {bubbles: true, cancelable: true, dataTransfer: transfer}));
                  done();
                });""")
        page.wait_for_planes()
        times = page.js_async("""const done = arguments[0], times = [];
                const toggle = document.querySelector('.legend .toggle');
                const next = () => {
                  if (times.length === 21) return done(times);
                  toggle.click();
                  requestAnimationFrame((begun) => {  // behind the page's own, in the same frame
                    times.push(performance.now() - begun);
                    setTimeout(next);
                  });
                };
                next();""")
        print(f"first paint {paint:.0f} ms; page {size / 1000:.0f} kB; a toggle at 2048x1024 paints in {sorted(times)[10]:.1f} ms (median of 21)")
        self.assertGreater(paint, 0)
        self.assertLess(size, 150_000, "the whole page")


def axe_files():
    for folder in sys.path:
        yield os.path.join(folder, "axe_core_python/axe.min.js")


if __name__ == "__main__":
    unittest.main(verbosity=1)
