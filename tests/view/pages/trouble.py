"""Over an API that misbehaves."""

import os

from browser import Page, Program
from fake_api import FakeApi
from world import MACADAM, Browser


class Trouble(Browser):
    """An API that is down, slow, busy, or none at all."""

    def setUp(self):
        super().setUp()
        self.fake = FakeApi(["val.a", "val.b"])
        self.view = Program(MACADAM, "view", "--api", f"http://127.0.0.1:{self.fake.port}", "--port", "0")
        self.page = Page(self.world.driver, self.view.address)

    def tearDown(self):
        super().tearDown()
        self.view.end()
        self.fake.close()

    def upload(self, name):
        path = os.path.join(self.world.scratch, name)
        with open(path, "wb") as file:
            file.write(self.fake.photo)
        self.page.one("#files").send_keys(path)

    def test_down_and_back(self):
        page = self.page
        api = Program(MACADAM, *self.world.serve_arguments, "--port", "0", ready="ready")
        view = Program(MACADAM, "view", "--api", api.address, "--port", "0")
        try:
            page = Page(self.world.driver, view.address)
            page.open()
            page.wait(lambda: page.all(".grid li"), "the gallery")
            api.end()
            page.js(f"location.hash = '#/image/{self.gallery_ids()[0]}'")
            page.wait(lambda: "cannot be reached" in page.text("#banner"), "words")
            self.picture("down")
            api = Program(MACADAM, *self.world.serve_arguments, "--port", str(api.port), ready="ready")
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

    def test_photos_that_had_no_turn_can_be_scored_later(self):
        page = self.page
        page.open()
        page.wait(lambda: page.all(".grid li"), "the gallery")
        page.js("const real = setTimeout; window.setTimeout = (work, time) => real(work, Math.min(time, 10));")
        self.fake.mode = "full"
        page.button("Score 2 photos").click()
        page.wait(lambda: sum("/metrics" in path for path in self.fake.asked) == 40, "20 trials of each")
        again = page.button("Score 2 photos")
        self.fake.mode = "well"
        again.click()
        page.wait(lambda: not [b for b in page.all(".tools button") if b.is_displayed()], "both are scored")

    def test_scores_of_the_model_before_are_not_kept(self):
        page = self.page
        page.open()
        page.wait(lambda: page.all(".grid li"), "the gallery")
        self.fake.mode = "slow"
        page.button("Score 2 photos").click()
        page.wait(lambda: sum("/metrics" in path for path in self.fake.asked) == 2, "both are asked for")
        asked = len(self.fake.asked)
        page.js("""const select = document.querySelector('#model'); select.value = '<i>two</i>';
                document.querySelector('.gallery').dataset.old = '1'; select.dispatchEvent(new Event('change'));""")
        page.wait(lambda: page.js("return !document.querySelector('.gallery[data-old]')"), "the page of the other model")
        self.assertTrue(any("/classes?model=%3Ci" in path for path in self.fake.asked[asked:]))
        self.fake.mode = "well"
        page.button("Score 2 photos").click()
        page.wait(lambda: not [b for b in page.all(".tools button") if b.is_displayed()], "both are scored")

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
        self.upload("mine.png")
        page.wait(lambda: page.all(".failure") and page.one(".failure").is_displayed(), "words")
        self.fake.mode = "well"
        page.wait(lambda: "back" in page.text("#banner") or page.button("Try again").click() is None, "again")
        page.wait_for_planes()
        self.assertEqual(page.text("h1"), "mine.png")

    def test_a_photo_that_the_api_refuses(self):
        page = self.page
        self.fake.mode = "broken"
        page.open("#/own")
        self.upload("refused.png")
        page.wait(lambda: page.all(".failure") and "damaged" in page.text(".failure"), "the API's words")
