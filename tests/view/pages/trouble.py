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
