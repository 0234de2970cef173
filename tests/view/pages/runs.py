"""Curves, tables and samples of runs."""

from world import Browser


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
        self.world.driver.get(link)
        self.page.wait(lambda: "Scores of the classes" in self.page.text("body"), "the report")
