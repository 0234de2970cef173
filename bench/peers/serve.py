"""macadam serve against a FastAPI/uvicorn service that runs the same network by ONNX Runtime, on the
same cores, in turns; then the numbers that the server is built for.

    pip install fastapi uvicorn[standard] onnxruntime opencv-python-headless numpy; apt install wrk
    python3 bench/peers/serve.py build/release/macadam runs/NAME PHOTO [--rounds 5] [--seconds 6]
        [--precision fp32]

Both get the photo as a PNG, resize it, run the network, resize the scores to the photo's size, take
the largest and answer with a PNG. wrk holds the connections. Ratios are medians over the rounds.
"""
import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

SERVICE = '''
import json, os
import cv2, numpy, onnxruntime
from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = os.cpu_count()
session = onnxruntime.InferenceSession(os.environ["PEER_MODEL"], options,
                                       providers=["CPUExecutionProvider"])
entry = session.get_inputs()[0]
height, width = json.loads(os.environ["PEER_SIZE"])
app = FastAPI()

def segment(data):
    photo = cv2.imdecode(numpy.frombuffer(data, numpy.uint8), cv2.IMREAD_COLOR)
    if photo is None:
        return None
    seen = cv2.cvtColor(cv2.resize(photo, (width, height)), cv2.COLOR_BGR2RGB)
    tensor = numpy.ascontiguousarray(seen.transpose(2, 0, 1)[None])
    if entry.type != "tensor(uint8)":
        tensor = tensor.astype(numpy.float32) / 255
    scores = session.run(None, {entry.name: tensor})[0][0]
    scores = cv2.resize(numpy.ascontiguousarray(scores.transpose(1, 2, 0)), photo.shape[1::-1])
    return cv2.imencode(".png", scores.argmax(2).astype(numpy.uint8))[1].tobytes()

@app.post("/v1/segment")
async def post(request: Request):
    mask = await run_in_threadpool(segment, await request.body())
    return Response(mask, media_type="image/png") if mask else Response(status_code=400)

@app.get("/v2/health/live")
async def live():
    return {"live": True}
'''


def wrk(url, connections, seconds, script=None):
    """Requests a second, and the latency's p50 and p99 in ms."""
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "30s"]
    text = subprocess.run(words + (["-s", str(script)] if script else []) + [url], check=True,
                          capture_output=True, text=True).stdout
    if "Non-2xx" in text:
        sys.exit("answers were refused:\n" + text)

    def latency(percent):
        value, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", text).groups()
        return float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]

    return float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)), latency(50), latency(99)


class Server:
    def __init__(self, words, port, **more):
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, **more)
        self.port, self.url = port, f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                path = "/v2/health/live" if "uvicorn" in words else "/v2/health/ready"
                urllib.request.urlopen(self.url + path)
                return
            except OSError:
                time.sleep(0.05)
        sys.exit(f"{words[0]} did not start")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def settle(self):
        """Waits until it works no more at what clients have left behind."""
        def used():
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])
        for _ in range(300):
            before = used()
            time.sleep(0.2)
            if used() <= before + 1:
                return
        sys.exit(f"port {self.port} does not come to rest")

    def memory(self):
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")


def overhead(server, photo, count):
    """Of one client: the time that is neither decoding nor the network nor encoding, p50 and p99.
    The client is a bare socket: http.client would add some 0.2 ms of its own."""
    head = (f"POST /v1/segment HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
            f"Content-Length: {len(photo)}\r\n\r\n")
    request = head.encode() + photo
    answer = memoryview(bytearray(1 << 24))
    connection = socket.create_connection(("127.0.0.1", server.port))
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        connection.sendall(request)
        filled, end = 0, None
        while end is None or filled < end:
            got = connection.recv_into(answer[filled:])
            if got == 0:
                sys.exit("the server closed the connection")
            filled += got
            if end is None and (at := bytes(answer[:4096]).find(b"\r\n\r\n", 0, filled)) >= 0:
                head = bytes(answer[:at]).decode()
                end = at + 4 + int(re.search(r"(?i)content-length: (\d+)", head).group(1))
        whole = (time.perf_counter() - begun) * 1000
        stages = dict(re.findall(r"(\w+);dur=([\d.]+)", head))
        times.append(whole - sum(float(stages[s]) for s in ("decode", "infer", "encode")))
    times.sort()
    return times[len(times) // 2], times[len(times) * 99 // 100]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("macadam")
    parser.add_argument("run")
    parser.add_argument("photo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--precision", default="auto", help="of ours; the peer's is fp32")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp())
    model = Path(options.run)
    model = model / "best.safetensors" if model.is_dir() else model
    onnx = scratch / "model.onnx"
    subprocess.run([options.macadam, "convert", str(model), str(onnx)], check=True,
                   capture_output=True)
    (scratch / "service.py").write_text(SERVICE)
    script = scratch / "post.lua"
    script.write_text(f'wrk.method = "POST"\nlocal f = io.open("{options.photo}", "rb")\n'
                      'wrk.body = f:read("*a")\n')
    photo = Path(options.photo).read_bytes()

    begun = time.perf_counter()
    ours = Server([options.macadam, "serve", str(model), "--port", "8471", "--log", "/dev/null",
                   "--precision", options.precision], 8471)
    start = time.perf_counter() - begun
    info = json.load(urllib.request.urlopen(ours.url + "/v1/models"))["models"][0]
    peer = Server([sys.executable, "-m", "uvicorn", "service:app", "--port", "8472", "--log-level",
                   "error"], 8472, cwd=scratch,
                  env={**os.environ, "PEER_MODEL": str(onnx),
                       "PEER_SIZE": json.dumps([info["height"], info["width"]])})
    print(f"{info['network']} {info['width']}x{info['height']} {info['precision']}, the photo "
          f"{len(photo)} bytes; start to ready {start:.2f} s")
    for connections in (1, 32):
        rates, tails, ours_rates, ours_busy = [], [], [], []
        for _ in range(options.rounds):
            def busy():
                stats = json.load(urllib.request.urlopen(
                    f"{ours.url}/v2/models/{info['name']}/stats"))["model_stats"][0]
                return sum(b["compute_infer"]["ns"] for b in stats["batch_stats"]) / 1e9
            peer.settle()
            before = busy()
            rate, _, tail = wrk(ours.url + "/v1/segment", connections, options.seconds, script)
            ours_busy.append((busy() - before) / options.seconds)
            ours.settle()
            peer_rate, _, peer_tail = wrk(peer.url + "/v1/segment", connections, options.seconds,
                                          script)
            rates.append(rate / peer_rate)
            tails.append(tail / peer_tail)
            ours_rates.append(rate)
        print(f"{connections} clients: {statistics.median(rates):.2f}x the peer's requests/s "
              f"({min(rates):.2f} to {max(rates):.2f}), {statistics.median(tails):.2f} of its p99 "
              f"({min(tails):.2f} to {max(tails):.2f}); the network runs "
              f"{statistics.median(ours_busy):.0%} of the time")
    peer.settle()
    middle, tail = overhead(ours, photo, 1000)
    print(f"one client, besides decoding, network and encoding: p50 {middle:.2f} ms, "
          f"p99 {tail:.2f} ms")
    load = threading.Thread(target=wrk, args=(ours.url + "/v1/segment", 4, options.seconds + 2, script))
    load.start()
    time.sleep(1)
    rate, _, tail = wrk(ours.url + "/v2/health/live", 8, options.seconds)
    load.join()
    print(f"health while predictions run: {rate:.0f} requests/s, p99 {tail:.2f} ms")
    print(f"memory: {ours.memory() >> 20} MiB against {peer.memory() >> 20} MiB")
    ours.end()
    peer.end()


if __name__ == "__main__":
    main()
