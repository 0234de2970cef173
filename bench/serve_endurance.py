"""What a server of `macadam serve` does when it gets more than it can do, and over time.

    python3 bench/serve_endurance.py build/release/macadam runs/NAME PHOTO [--overload 60] [--soak 600]
        [--reload 20]

1. 200 clients drip bytes while health is asked for.
2. Overload: an open loop at twice the rate that 16 clients had, for some seconds.
3. Soak: photos, tensors, the gallery's neighbours, broken photos, clients that leave, and the model
   file replaced every 20 seconds. Before each replacement clients pause until nothing is in work, no
   model is being loaded, and the server has given back what requests had; then the memory of the
   process is noted, and what of it is allocated: of one model and no request. They are flat when
   their mean in the last third lies within 2 % of that in the first, the first minute left out.
Only the standard library.
"""
import argparse
import asyncio
import json
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path


def percentile(values, percent):
    values = sorted(values)
    return values[min(len(values) - 1, len(values) * percent // 100)] if values else float("nan")


def post(target, body, more=""):
    return (f"POST {target} HTTP/1.1\r\nHost: h\r\n{more}Content-Length: {len(body)}\r\n\r\n"
            .encode() + body)


async def ask(port, request, leave_after=None):
    """Status and seconds; 0 when the connection broke."""
    begun = time.perf_counter()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return 0, time.perf_counter() - begun
    try:
        writer.write(request)
        await writer.drain()
        if leave_after is not None:
            await asyncio.sleep(leave_after)
            return -1, time.perf_counter() - begun
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        if length:
            await reader.readexactly(int(length.group(1)))
        return int(head.split(b" ", 2)[1]), time.perf_counter() - begun
    except (OSError, asyncio.IncompleteReadError):
        return 0, time.perf_counter() - begun
    finally:
        writer.close()


class Server:
    def __init__(self, macadam, model, *more):
        self.log = Path(tempfile.mkdtemp()) / "log"
        self.process = subprocess.Popen(
            [macadam, "serve", str(model), "--port", "0", "--log", str(self.log), *more],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not self.log.exists() or '"event":"ready"' not in self.log.read_text():
            time.sleep(0.05)
        self.port = int(re.search(r"http://127.0.0.1:(\d+)", self.log.read_text()).group(1))
        self.url = f"http://127.0.0.1:{self.port}"

    def metrics(self):
        """The series without labels."""
        page = urllib.request.urlopen(self.url + "/metrics").read().decode()
        return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", page, re.M)}

    def memory(self):
        return self.metrics()["macadam_resident_bytes"] / 2**20

    def replacements(self):
        """How many new files it has taken, or refused, by its log."""
        return len(re.findall('"event":"model (?:replaced|kept)', self.log.read_text()))

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


async def drip(server):
    slow = []
    for _ in range(200):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST /v1/segment HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nx")
        slow.append(writer)
    health = b"GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n"
    times = []
    for _ in range(50):
        for writer in slow:
            writer.write(b"y")
        times.append((await ask(server.port, health))[1])
        await asyncio.sleep(0.02)
    for writer in slow:
        writer.close()
    print(f"200 dripping clients: health p50 {percentile(times, 50) * 1000:.1f} ms, "
          f"slowest {max(times) * 1000:.1f} ms")


async def capacity(server, request, seconds):
    done = 0
    end = time.perf_counter() + seconds

    async def client():
        nonlocal done
        while time.perf_counter() < end:
            status, _ = await ask(server.port, request)
            done += status == 200

    await asyncio.gather(*(client() for _ in range(16)))
    return done / seconds


async def overload(server, request, rate, seconds):
    results = []

    async def one():
        results.append(await ask(server.port, request))

    begun, tasks = time.perf_counter(), []
    for i in range(int(rate * seconds)):
        await asyncio.sleep(max(0, begun + i / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(one()))
    await asyncio.gather(*tasks)
    accepted = [t for status, t in results if status == 200]
    refused = [t for status, t in results if status == 503]
    others = len(results) - len(accepted) - len(refused)
    print(f"overload, {rate:.0f} requests/s for {seconds} s: {len(accepted)} answered (p50 "
          f"{percentile(accepted, 50) * 1000:.0f} ms, p99 {percentile(accepted, 99) * 1000:.0f} ms), "
          f"{len(refused)} told 503 (p50 {percentile(refused, 50) * 1000:.1f} ms, p99 "
          f"{percentile(refused, 99) * 1000:.0f} ms), {others} otherwise; memory "
          f"{server.memory():.0f} MiB")
    begun = time.perf_counter()
    while (await ask(server.port, request))[0] != 200:
        pass
    print(f"  the next is answered after {(time.perf_counter() - begun) * 1000:.0f} ms")


async def soak(server, photo, model, others, seconds, reload_every):
    counts = {}
    end = time.perf_counter() + seconds
    broken = bytearray(photo)
    broken[len(photo) // 2] ^= 0x55
    requests = [
        (post("/v1/segment", photo), 200), (post("/v1/segment?format=rle&confidence=1", photo), 200),
        (post("/v1/segment?tile=1", photo), 200), (post("/v1/segment", bytes(broken)), 400),
        (post("/v1/segment", b"none"), 400), (post("/none", photo), 404),
        (post("/v2/models/m/infer", photo, "Inference-Header-Content-Length: 0\r\n"), 200),
        (post("/v2/models/m/infer", b"[" * 1000), 400), (b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n", 200),
        (b"nonsense\r\n\r\n", 400)]

    going = asyncio.Event()  # not set: clients pause
    going.set()

    async def client(seed):
        choice = random.Random(seed)
        while time.perf_counter() < end:
            await going.wait()
            request, expected = choice.choice(requests)
            if choice.random() < 0.1:
                await ask(server.port, request[:choice.randrange(1, len(request))], 0.01)
                continue
            status, _ = await ask(server.port, request)
            key = "as expected" if status == expected else f"{status} instead of {expected}"
            counts[key] = counts.get(key, 0) + 1

    async def at_rest(replacements):
        """Notes the memory when nothing is in work and as many new files were seen."""
        going.clear()
        while ((await asyncio.to_thread(server.metrics))["macadam_work_bytes"] > 0
               or server.replacements() < replacements):
            await asyncio.sleep(0.2)
        await asyncio.sleep(6)  # after 5 seconds without requests
        metrics = await asyncio.to_thread(server.metrics)
        going.set()
        resident.append(metrics["macadam_resident_bytes"] / 2**20)
        allocated.append(metrics["macadam_allocated_bytes"] / 2**20)

    async def reload():
        turn = 0
        while time.perf_counter() + reload_every < end:
            await asyncio.sleep(reload_every)
            await at_rest(turn)
            shutil.copy(others[turn % len(others)], str(model) + ".new")
            os.replace(str(model) + ".new", model)
            turn += 1

    resident, allocated = [], []  # MiB
    await asyncio.gather(reload(), *(client(i) for i in range(8)))
    print(f"soak of {seconds} s: {counts}")
    for name, memory in ("resident", resident), ("allocated", allocated):
        warm = memory[int(60 / reload_every):] or memory
        third = max(len(warm) // 3, 1)
        growth = sum(warm[-third:]) / sum(warm[:third]) - 1
        print(f"  {name} at rest: {', '.join(f'{m:.0f}' for m in memory)} MiB, after the first "
              f"minute {growth:+.1%} from the first third to the last")


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("macadam")
    parser.add_argument("run")
    parser.add_argument("photo")
    parser.add_argument("--overload", type=int, default=60)
    parser.add_argument("--soak", type=int, default=600)
    parser.add_argument("--reload", type=float, default=20)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    source = Path(options.run)
    best = source / "best.safetensors" if source.is_dir() else source
    last = source / "last.safetensors" if source.is_dir() else source
    model = folder / "m.safetensors"
    shutil.copy(best, model)
    photo = Path(options.photo).read_bytes()
    server = Server(options.macadam, model)
    info = json.load(urllib.request.urlopen(server.url + "/v1/models"))["models"][0]
    print(f"{info['network']} {info['width']}x{info['height']} {info['precision']}, the photo "
          f"{len(photo)} bytes")
    await drip(server)
    request = post("/v1/segment", photo)
    rate = await capacity(server, request, 5)
    print(f"16 clients: {rate:.0f} requests/s")
    await overload(server, request, 2 * rate, options.overload)
    await soak(server, photo, model, [last, best], options.soak, options.reload)
    code = server.end()
    print(f"ended with {code}")


if __name__ == "__main__":
    asyncio.run(main())
