"""Photos that are not the gallery's: files, pasted ones, the camera, videos."""

import base64
import os

from world import HOSTILE, Browser


class OwnPhotos(Browser):
    """Files, the clipboard, the camera, a video."""

    def photo(self, name):
        path = os.path.join(self.world.scratch, name)
        with open(path, "wb") as file:
            file.write(self.world.get(f"/v1/images/{self.gallery_ids()[0]}"))
        return path

    def test_a_file_is_segmented_and_its_name_is_text(self):
        page = self.page
        page.open("#/own")
        page.one("#files").send_keys(self.photo(HOSTILE))
        page.wait_for_planes()
        self.assertEqual(page.text("h1"), HOSTILE)
        self.assertNotIn("taken", self.world.driver.title.replace(HOSTILE, ""))
        self.assertEqual([c.text for c in page.all(".pane figcaption")], ["Photo", "Prediction"])
        self.assertTrue(page.all(".legend .name"))
        page.one(".head .button").click()
        page.wait(lambda: [c.text for c in page.all(".grid .name")] == [HOSTILE], "it is kept in the page")

    def test_drop_and_paste(self):
        page = self.page
        page.open("#/own")
        page.one(".tools")
        data = base64.b64encode(self.world.get(f"/v1/images/{self.gallery_ids()[0]}")).decode()
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
        path = os.path.join(self.world.scratch, "letter.txt")
        with open(path, "w") as file:
            file.write("no photo")
        page.one("#files").send_keys(path)
        page.wait(lambda: "is no PNG" in page.text("#banner"), "words")
        with open(os.path.join(self.world.scratch, "broken.png"), "wb") as file:
            file.write(b"\x89PNG\r\n\x1a\n nothing")
        page.one("#files").send_keys(file.name)
        page.wait(lambda: page.all(".failure") and page.one(".failure").is_displayed(), "words for a damaged one")
