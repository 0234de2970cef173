"""Phones, the dark, paper, accessibility, speed."""

import base64
import os
import sys

from world import KEPT, Browser


class Looks(Browser):
    def test_phone(self):
        page = self.page
        self.world.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True})
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
            self.world.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def test_dark(self):
        page = self.page
        self.world.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
        self.open_image()
        self.picture("dark")
        dark = page.js("return getComputedStyle(document.documentElement).backgroundColor")
        page.one("#theme").click()
        light = page.js("return getComputedStyle(document.documentElement).backgroundColor")
        self.assertNotEqual(dark, light, "the button goes before the system")

    def test_print(self):
        self.open_image()
        pdf = base64.b64decode(self.world.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
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
            self.world.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
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
    """Measured, and told: see docs/decisions/serving.md."""

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
