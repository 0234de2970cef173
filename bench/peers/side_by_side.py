"""What the side-by-side runs on a GPU share: Macadam's programs ready for their turn, results that
survive an interruption, and the check that both sides compute the same.
"""

import argparse
import json
import os
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import torch

import torch_networks

CLASSES = 8  # of Macadam's label set categories8
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
# What counts as the same as PyTorch in fp32: ||difference|| / ||scores|| over the whole image, and
# the share of the pixels that get another class.
SAME_SCORES = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 0.1}
SAME_CLASSES = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 0.05}
CUT = 75  # exit status: time is up, the same command goes on from here


def parser_of(text):
    """The options that all runs have."""
    parser = argparse.ArgumentParser(description=text,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=Path, help="the build folder")
    parser.add_argument("-o", "--output", type=Path, required=True,
                        help="folder for one JSON file a measurement; those there are not repeated")
    parser.add_argument("--networks", nargs="+", default=list(torch_networks.NETWORKS),
                        choices=list(torch_networks.NETWORKS))
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.7, help="of each side in each round")
    parser.add_argument("--time-limit", type=float, default=1e9,
                        help="seconds; what would not fit any more is left for the next run, and "
                             f"the exit status is {CUT}")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    return parser


def size_of(text):
    """"1024x512", width x height."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is not WIDTHxHEIGHT")
    return int(match[1]), int(match[2])


def set_up(options):
    """fp32 is fp32 on both sides: no TF32."""
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch sees no CUDA device: use --device cpu")
    if not (options.programs / "macadam").exists():
        sys.exit(f"{options.programs}: no macadam there: name the build folder")
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def precisions_of(device):
    """Those that Macadam has on the device."""
    return ["bf16", "fp16", "fp32"] if device == "cuda" else ["bf16", "fp32"]


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def machine(device):
    cuda = device == "cuda"
    return {"torch": torch.__version__, "device": torch.cuda.get_device_name() if cuda else "cpu",
            "cudnn": torch.backends.cudnn.version() if cuda else None}


def environment():
    """Of Macadam's programs: MACADAM_LIBRARY_PATH is for them alone, peers bring their own."""
    path = os.environ.get("MACADAM_LIBRARY_PATH")
    if not path:
        return None
    before = os.environ.get("LD_LIBRARY_PATH")
    return os.environ | {"LD_LIBRARY_PATH": f"{path}:{before}" if before else path}


class Program:
    """One of Macadam's bench programs, measuring whenever it is asked to."""

    def __init__(self, path, *arguments, **options):
        words = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            [path, *arguments, "--on-request", *words], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env=environment())
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def line(self):
        text = self.process.stdout.readline()
        if not text:
            raise RuntimeError(f"{self.path}: ended with status {self.process.wait()}")
        return text

    def wait_until_ready(self):
        self.line()

    def measure(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.line())


def alternate(rounds, sides):
    """name -> measurements of each side, in turns; every second round backwards."""
    found = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides)[::-1 if number % 2 else 1]:
            found[name].append(sides[name]())
    return found


def median_of(measurements, key):
    return statistics.median(m[key] for m in measurements)


class Results:
    """A folder of JSON files, one a measurement, and the time that is left for more."""

    def __init__(self, options):
        self.folder = options.output
        self.folder.mkdir(parents=True, exist_ok=True)
        self.end = time.monotonic() + options.time_limit
        self.longest = 0
        self.failed = False

    def get(self, name, measure):
        """What `name` has, measured now if it is not there; None if that fails."""
        file = self.folder / f"{name}.json"
        if file.exists():
            return json.loads(file.read_text())
        if time.monotonic() + 1.2 * self.longest > self.end:
            print(f"{name}: left for the next run", file=sys.stderr)
            sys.exit(CUT)
        start = time.monotonic()
        try:
            result = measure()
        except RuntimeError as error:
            print(f"{name}: FAILED: {error}", file=sys.stderr)
            self.failed = True
            return None
        self.longest = max(self.longest, time.monotonic() - start)
        partial = file.with_suffix(".part")
        partial.write_text(json.dumps(result, indent=1) + "\n")
        partial.rename(file)
        return result


def matrix_rate(device):
    """bf16 TFLOP/s of a large matrix product on random data: what the device can do at most."""
    n = 8192 if device == "cuda" else 512
    torch.manual_seed(1)
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        a @ b
    times = []
    for _ in range(5):
        synchronize(device)
        start = time.perf_counter()
        for _ in range(20):
            a @ b
        synchronize(device)
        times.append((time.perf_counter() - start) / 20)
    return {"n": n, "tflops": 2e-12 * n ** 3 / statistics.median(times), **machine(device)}


def write_png(file, image):
    """An HxWx3 array of bytes."""
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data
                + struct.pack(">I", zlib.crc32(kind + data)))
    height, width, _ = image.shape
    rows = b"".join(b"\0" + row.tobytes() for row in image)
    file.write_bytes(b"\x89PNG\r\n\x1a\n"
                     + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
                     + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def execute(*command):
    """One of Macadam's commands, whose output matters only when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip()
                           else f"{command[0]}: exit {done.returncode}")


def other_classes(found, expected):
    """The share of the pixels whose class is not the same in two maps."""
    return float(np.mean(found != expected))


def same_scores(options, name):
    """How far Macadam's class scores are from PyTorch's in fp32, with the same weights on the same
    image, in every precision that the device has. Fails where they are not the same."""
    width, height = 256, 128
    model = torch_networks.make(name, CLASSES).eval()
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    x = torch.from_numpy(((image / np.float32(255) - mean) / std).transpose(2, 0, 1)[None])
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        expected = model.to(options.device)(x.to(options.device))[0].permute(1, 2, 0).cpu().numpy()

    errors, others = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        torch.save(weights, folder / "weights.pth")
        write_png(folder / "image.png", image)
        program = options.programs / "macadam"
        execute(program, "convert", folder / "weights.pth", folder / "model.safetensors",
                "--network", name, "--label-set", "categories8", "--size", f"{width}x{height}")
        for precision in precisions_of(options.device):
            execute(program, "predict", folder / "model.safetensors", folder / "image.png", "-o",
                    folder, "--logits", "--precision", precision, "--device", options.device)
            scores = np.load(folder / "logits" / "image.npy")
            errors[precision] = float(np.linalg.norm(scores - expected)
                                      / np.linalg.norm(expected))
            others[precision] = other_classes(scores.argmax(-1), expected.argmax(-1))
    print(f"{name}: scores differ by "
          + ", ".join(f"{error:.1e}, the class of {100 * others[precision]:.2g} % of the pixels "
                      f"({precision})" for precision, error in errors.items()), file=sys.stderr)
    for precision, error in errors.items():
        if not (error <= SAME_SCORES[precision] and others[precision] <= SAME_CLASSES[precision]):
            raise RuntimeError(
                f"the two sides do not compute the same in {precision}: ||difference|| / "
                f"||scores|| = {error:.2e}, {100 * others[precision]:.2g} % of the pixels have "
                "another class")
    return {"network": name, "error": errors, "other_classes": others,
            "limits": {"error": {p: SAME_SCORES[p] for p in errors},
                       "other_classes": {p: SAME_CLASSES[p] for p in errors}}}
