"""A photo beside its masks."""

import base64
import json
import os
import xml.etree.ElementTree as ElementTree

from selenium.webdriver import ActionChains

from browser import read_png
from world import Browser


class Image(Browser):
    def classes(self):
        return json.loads(self.world.get("/v1/classes"))["classes"]

    def place_of(self, plane, value, width, height):
        """A place in the middle of pixels of this value, in parts of the picture."""
        for y in range(2, height - 2):
            for x in range(2, width - 2):
                if all(plane[(y + dy) * width + x + dx] == value for dy in (-2, 0, 2) for dx in (-2, 0, 2)):
                    return (x + 0.5) / width, (y + 0.5) / height
        self.fail(f"no patch of {value}")

    def truth_of(self, image):
        width, height, _, plane = read_png(self.world.get(f"/v1/images/{image}/mask"))
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
        guess = read_png(self.world.get(f"/v1/images/{image}/prediction"))[3]
        metrics = json.loads(self.world.get(f"/v1/images/{image}/metrics"))
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
        ActionChains(self.world.driver).move_to_element(other).perform()
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
        ActionChains(self.world.driver).move_to_element_with_offset(
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
        page.wait(lambda: "zoom=" in self.world.driver.current_url, "the zoom in the address")
        page.frame()
        same = page.js("""return [...document.querySelectorAll('.pane')].map((p) => {
                const c = p.querySelector('canvas'); return c.width + 'x' + c.height; })""")
        self.assertEqual(len(set(same)), 1)
        address = self.world.driver.current_url

        def photo():
            data = page.js("return document.querySelector('.pane canvas').toDataURL()")
            return read_png(base64.b64decode(data.split(",")[1]))[3]

        first = photo()
        page.open(address.split("/", 3)[3])
        page.wait_for_planes()
        off = [abs(a - b) for a, b in zip(photo(), first)]
        self.assertLess(sum(off) / len(off), 2, "the same view from the address")
        page.press("0")
        page.wait(lambda: "zoom=" not in self.world.driver.current_url, "all again")
        for key in "++":
            page.press(key)
        page.wait(lambda: "zoom=2.25" in self.world.driver.current_url, "keys zoom")
        area = page.all(".area")[0]
        ActionChains(self.world.driver).move_to_element(area).click_and_hold().move_by_offset(40, 20).release().perform()
        page.wait(lambda: "x=0.5&" not in self.world.driver.current_url and "x=" in self.world.driver.current_url, "dragging moves")

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
        self.assertGreater(page.js(count), 0.9)
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
        ActionChains(self.world.driver).click_and_hold(bar).move_by_offset(150, 0).release().perform()
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
        page.wait(lambda: "model=second" in self.world.driver.current_url, "the model in the address")
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
        width, height, _, guess = read_png(self.world.get(f"/v1/images/{image}/prediction"))

        def download(text, ending):
            page.button("Download").click()
            page.button(text).click()
            path = os.path.join(self.world.downloads, image + ending)
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
