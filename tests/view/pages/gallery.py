"""The gallery: finding, filtering and sorting photos."""

import json

from browser import Page, Program
from fake_api import FakeApi
from world import MACADAM, Browser


THUMBNAILS_IN_SIGHT = """return [...document.querySelectorAll('.grid img')]
    .filter((i) => i.getBoundingClientRect().top < innerHeight)
    .every((i) => i.complete && i.naturalWidth > 0)"""


class Gallery(Browser):
    def names(self):
        """Of all cards: they come as the page is scrolled."""
        self.page.js("window.scrollTo(0, document.body.scrollHeight)")
        return [card.text for card in self.page.all(".grid .name")]

    def test_shows_all_photos_and_finds_them(self):
        page = self.page
        page.open()
        ids = self.gallery_ids()
        page.wait(lambda: self.names() == ids, "a card a photo")
        page.js("window.scrollTo(0, 0)")
        page.wait(lambda: page.js(THUMBNAILS_IN_SIGHT), "every thumbnail has come")
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
        page.wait(lambda: self.names() == val, "the split's photos")
        self.assertIn("split=val", self.world.driver.current_url)
        page.open(self.world.driver.current_url.split("/", 3)[3])
        page.wait(lambda: self.names() == val, "the same from the address")

    def test_sorts_by_score_and_filters_by_class(self):
        page = self.page
        page.open()
        page.wait(lambda: page.button(f"Score {len(self.gallery_ids())} photos"), "the button").click()
        page.wait(lambda: not [b for b in page.all(".tools button") if "scor" in b.text.lower() and b.is_displayed()], "all are scored", 600)
        page.js("const s = document.querySelectorAll('.tools select')[2]; s.value = 'worst'; s.dispatchEvent(new Event('change'));")
        scores = {i["id"]: i["miou"] for i in json.loads(self.world.get("/v1/scores"))["images"]}
        self.assertEqual(sorted(scores), sorted(self.gallery_ids()))
        page.wait(lambda: len(self.names()) == len(scores), "every card")
        self.assertEqual([scores[i] for i in self.names()], sorted(scores.values()))
        name = json.loads(self.world.get("/v1/scores"))["classes"][1]
        page.js("const s = document.querySelectorAll('.tools select')[1]; s.value = '1'; s.dispatchEvent(new Event('change'));")
        having = [i["id"] for i in json.loads(self.world.get("/v1/scores"))["images"] if i["iou"][1] is not None]
        page.wait(lambda: sorted(self.names()) == sorted(having), f"those with {name}")

    def test_ten_thousand_photos(self):
        fake = FakeApi([f"val.{i:05}" for i in range(10_000)])
        view = Program(MACADAM, "view", "--api", f"http://127.0.0.1:{fake.port}", "--port", "0")
        try:
            page = Page(self.world.driver, view.address)
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
