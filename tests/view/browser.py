"""Chromium without a window, the programs it looks at, and pictures of what it shows."""

import json
import os
import re
import shutil
import struct
import subprocess
import threading
import time
import zlib

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By


class Program:
    """`macadam ARGUMENTS` until it says where it listens."""

    def __init__(self, macadam, *arguments, ready="listening"):
        self.process = subprocess.Popen([macadam, *arguments], stderr=subprocess.PIPE, text=True)
        self.log = []
        self.address = ""
        deadline = time.time() + 120
        while time.time() < deadline:
            line = self.process.stderr.readline()
            if not line:
                raise RuntimeError(f"{arguments}: {''.join(self.log)}")
            self.log.append(line)
            if match := re.search(r'"address":"(http://[^"]+)"', line):
                self.address = match.group(1)
            if f'"event":"{ready}"' in line:
                break
        self.reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True)
        self.reader.start()

    @property
    def port(self):
        return int(self.address.rsplit(":", 1)[1])

    def end(self):
        self.process.terminate()
        code = self.process.wait(60)
        self.reader.join()
        self.process.stderr.close()
        return code


def open_chromium(downloads):
    options = Options()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                     "--force-device-scale-factor=1", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
                     "--lang=en-US", "--window-size=1280,900"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": downloads})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
    driver.set_script_timeout(60)
    return driver


class Page:
    """What a person does with the page."""

    def __init__(self, driver, address):
        self.driver = driver
        self.address = address

    def open(self, fragment="#/", fresh=True):
        if fresh:
            self.driver.get("about:blank")
        self.driver.get(f"{self.address}/{fragment}")

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.wait(lambda: next(iter(self.all(selector)), None), f"{selector} is there")

    def text(self, selector):
        return self.one(selector).text

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def js_async(self, script, *arguments):
        return self.driver.execute_async_script(script, *arguments)

    def wait(self, condition, what, seconds=30):
        deadline = time.time() + seconds
        while True:
            try:
                if value := condition():
                    return value
            except StaleElementReferenceException:
                pass
            if time.time() > deadline:
                raise AssertionError(f"not within {seconds} s: {what}")
            time.sleep(0.03)

    def button(self, text, within="body"):
        return self.wait(lambda: next((b for b in self.all(f"{within} button, {within} summary, {within} .button")
                                       if b.text.strip() == text and b.is_displayed()), None), f"the button {text!r}")

    def press(self, key, up=True):
        """A key, to whatever has the focus."""
        self.js("""const [key, up] = arguments, target = document.activeElement ?? document.body;
                target.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
                if (up) target.dispatchEvent(new KeyboardEvent('keyup', {key, bubbles: true}));""", key, up)
        self.frame()

    def frame(self):
        """Until what was asked for has been painted."""
        self.js_async("const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done));")

    def errors(self):
        """What the browser complained of since the last call: faults of scripts and of the policy."""
        return [entry["message"] for entry in self.driver.get_log("browser")
                if entry["level"] == "SEVERE" and "Failed to load resource" not in entry["message"]]

    def pixel(self, pane, x, y, layer="top"):
        """The color [r, g, b, a] that a pane shows at (x, y), in parts of its area."""
        return self.js("""const [pane, x, y, layer] = arguments;
                const canvases = document.querySelectorAll('.pane')[pane].querySelectorAll('canvas');
                const canvas = canvases[layer === 'top' ? 1 : 0];
                return Array.from(canvas.getContext('2d').getImageData(Math.floor(x * canvas.width),
                  Math.floor(y * canvas.height), 1, 1).data);""", pane, x, y, layer)

    def wait_for_planes(self, seconds=60):
        """Until photo and masks are there."""
        self.wait(lambda: self.all(".pane") and not [n for n in self.all(".note") if n.is_displayed()],
                  "all panes have what they show", seconds)
        self.frame()


def read_png(data):
    """(width, height, channels, bytes) of an 8-bit PNG without interlacing."""
    at, packed, width, height, channels = 8, b"", 0, 0, 0
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        if kind == b"IHDR":
            width, height, _, color = struct.unpack(">IIBB", data[at + 8:at + 18])
            channels = {0: 1, 2: 3, 3: 1, 6: 4}[color]
        elif kind == b"IDAT":
            packed += data[at + 8:at + 8 + size]
        at += 12 + size
    rows, stride = zlib.decompress(packed), width * channels
    pixels, above = bytearray(), bytearray(stride)
    for y in range(height):
        kind, line = rows[y * (stride + 1)], bytearray(rows[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride if kind else 0):
            left = line[i - channels] if i >= channels else 0
            up, corner = above[i], above[i - channels] if i >= channels else 0
            if kind == 1:
                line[i] = (line[i] + left) & 255
            elif kind == 2:
                line[i] = (line[i] + up) & 255
            elif kind == 3:
                line[i] = (line[i] + (left + up) // 2) & 255
            else:
                p = left + up - corner
                a, b, c = abs(p - left), abs(p - up), abs(p - corner)
                line[i] = (line[i] + (left if a <= b and a <= c else up if b <= c else corner)) & 255
        pixels += line
        above = line
    return width, height, channels, bytes(pixels)


def tiles(data, columns=32, rows=20):
    """The mean color of each tile of a picture: what stays when fonts differ by a hair."""
    width, height, channels, pixels = read_png(data)
    means = []
    for row in range(rows):
        for column in range(columns):
            x0, x1 = column * width // columns, (column + 1) * width // columns
            y0, y1 = row * height // rows, (row + 1) * height // rows
            sums, count = [0, 0, 0], 0
            for y in range(y0, y1, 2):
                for x in range(x0, x1, 2):
                    p = (y * width + x) * channels
                    for c in range(3):
                        sums[c] += pixels[p + c]
                    count += 1
            means.append([round(s / count) for s in sums])
    return means


def compare_with_golden(folder, name, picture, kept, tolerance=14, most_wrong=0.02):
    """None when the picture looks like FOLDER/NAME.json; else what differs. The picture is kept."""
    os.makedirs(kept, exist_ok=True)
    with open(os.path.join(kept, f"{name}.png"), "wb") as file:
        file.write(picture)
    found = tiles(picture)
    golden = os.path.join(folder, f"{name}.json")
    if os.environ.get("MACADAM_WRITE_GOLDENS"):
        with open(golden, "w") as file:
            json.dump(found, file, separators=(",", ":"))
    with open(golden) as file:
        wanted = json.load(file)
    wrong = [i for i, (a, b) in enumerate(zip(found, wanted)) if max(abs(p - q) for p, q in zip(a, b)) > tolerance]
    if len(found) == len(wanted) and len(wrong) <= most_wrong * len(wanted):
        return None
    return f"{name}: {len(wrong)} of {len(wanted)} tiles differ (see {kept}/{name}.png)"
