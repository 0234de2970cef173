"""An API that is slow, busy, broken or large, as a test wants it."""

import json
import struct
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CLASSES = [("road", (128, 64, 128)), ("sky", (70, 130, 180)), ("<b>bold</b><img src=x onerror=alert(1)>", (0, 142, 0))]


def png(width, height, rows, palette=None):
    """An 8-bit PNG of one channel; rows are bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 3 if palette else 0, 0, 0, 0)
    colors = chunk(b"PLTE", bytes(v for c in palette for v in c)) if palette else b""
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + colors + chunk(b"IDAT", data) + chunk(b"IEND", b"")


class FakeApi:
    """Serves `photos` ids on a free port. `mode`: well, busy, full (for scores), slow, broken, not_an_api, cut."""

    def __init__(self, photos, size=(64, 32)):
        self.mode = "well"
        self.photos = photos
        self.asked = []
        width, height = size
        row = bytes(x * 3 // width for x in range(width))
        palette = [color for _, color in CLASSES]
        self.photo = png(width, height, [bytes(x * 255 // width for x in range(width))] * height)
        self.mask = png(width, height, [row] * height, palette)
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, body, kind="application/json", status=200, **fields):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                for name, value in fields.items():
                    self.send_header(name.replace("_", "-"), value)
                try:
                    self.end_headers()
                    self.wfile.write(body)
                except BrokenPipeError:
                    pass  # whoever asked has left

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                fake.asked.append(self.path)
                if fake.mode == "cut":
                    self.close_connection = True
                    self.connection.close()
                elif fake.mode == "broken" or not body.startswith((b"\x89PNG", b"\xff\xd8")):
                    self.answer(json.dumps({"error": "the photo is damaged"}).encode(), status=400)
                else:
                    self.answer(fake.mask, "image/png", Server_Timing="queue;dur=1.5, decode;dur=2, infer;dur=30, encode;dur=4")

            def do_GET(self):
                fake.asked.append(self.path)
                path = self.path.split("?")[0]
                if fake.mode == "not_an_api":
                    return self.answer(b"<h1>It works!</h1>", "text/html")
                if fake.mode == "busy" and path.endswith("/prediction"):
                    fake.mode = "well"  # the next time it has room
                    return self.answer(b'{"error": "as many requests as it takes"}', status=503, Retry_After="1")
                if path == "/v1/models":
                    models = [{"name": "one", "version": "1"}, {"name": "<i>two</i>", "version": "1"}]
                    return self.answer(json.dumps({"models": models}).encode())
                if path == "/v1/classes":
                    if fake.mode == "slow":
                        time.sleep(1.5)
                    classes = [{"id": i, "name": name, "color": color, "label": i} for i, (name, color) in enumerate(CLASSES)]
                    return self.answer(json.dumps({"model": "one", "classes": classes}).encode())
                if path == "/v1/images":
                    query = dict(part.split("=") for part in self.path.split("?")[1].split("&"))
                    offset, limit = int(query["offset"]), int(query["limit"])
                    images = [{"id": name, "split": "val", "labelled": True} for name in fake.photos[offset:offset + limit]]
                    return self.answer(json.dumps({"dataset": "<u>fake</u>", "splits": ["val"], "count": len(fake.photos),
                                                   "images": images}).encode())
                if path == "/v1/scores":
                    return self.answer(json.dumps({"images": [], "iou": [], "miou": None}).encode())
                if path.endswith("/mask") or path.endswith("/prediction"):
                    return self.answer(fake.mask, "image/png")
                if path.endswith("/metrics"):
                    if fake.mode == "full":
                        return self.answer(b'{"error": "as many requests as it takes"}', status=503, Retry_After="1")
                    time.sleep(0.5 if fake.mode == "slow" else 0.02)
                    return self.answer(json.dumps({"miou": 0.5, "iou": {"road": 0.5}}).encode())
                if path.startswith("/v1/images/"):
                    return self.answer(fake.photo, "image/png")
                return self.answer(b'{"error": "no such path"}', status=404)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
