"""Every segmentation network, exported, in ONNX Runtime against Macadam itself, on real photos.

  python3 bench/peers/onnx_networks.py build/release/macadam PHOTOS [--count N] [--size WxH]
                                       [--only PATTERN]

Each network gets the weights of the goldens' rule (tests/golden/networks_rule.py) through
`macadam convert`; the photos are resized to the networks' size. Prints a Markdown table as
onnx_agreement.py measures it. Needs onnxruntime, numpy and Pillow.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from onnx_agreement import TIE, compare

GOLDENS = Path(__file__).parents[2] / "tests" / "golden"
sys.path.insert(0, str(GOLDENS))
import networks_rule as rule  # pylint: disable=wrong-import-position


def ask(program, *words):
    """What `macadam info WORDS` says."""
    text = subprocess.run([program, "info", *words, "--json"], check=True, capture_output=True).stdout
    return json.loads(text)


def read_header(file):
    """name -> dtype, shape and place of each tensor of a safetensors file."""
    with open(file, "rb") as stream:
        return json.loads(stream.read(int.from_bytes(stream.read(8), "little")))


def convert(program, network, size, weights, model, *flags):
    subprocess.run([program, "convert", weights, model, "--network", network, "--size", size,
                    *flags], check=True, stdout=subprocess.DEVNULL)


def shapes_of(program, network, size, folder):
    """name -> shape of the network's parameters, from a model of its initial values: the bias of
    the head alone is enough to make one."""
    head = [layer for layer in ask(program, network, "--size", size, "--device", "cpu")["layers"]
            if layer["kind"] == "conv"][-1]
    seed = folder / "seed"
    seed.mkdir()
    np.save(seed / f"{head['name']}.bias.npy", np.zeros(head["output"][-1], np.float32))
    model = folder / "seed.safetensors"
    convert(program, network, size, seed, model, "--partial")
    return {name: tensor["shape"] for name, tensor in read_header(model).items()
            if name != "__metadata__"}


def make_model(program, network, size, folder):
    """A model with the weights of the rule, at the gain of the network's golden."""
    golden = GOLDENS / "networks" / f"{network}.json"
    gain = json.loads(golden.read_text())["weight_gain"] if golden.exists() else 1.0
    weights, model = folder / "weights", folder / "model.safetensors"
    weights.mkdir()
    for name, shape in shapes_of(program, network, size, folder).items():
        np.save(weights / f"{name}.npy", rule.tensor(name, shape, gain))
    convert(program, network, size, weights, model)
    return model


def resized(photos, size, folder):
    width, height = map(int, size.split("x"))
    files = []
    for photo in photos:
        files.append(folder / f"{photo.stem}.png")
        Image.open(photo).convert("RGB").resize((width, height)).save(files[-1])
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=2)
    parser.add_argument("--size", default="224x160", help="width x height")
    parser.add_argument("--only", default=".*", help="regular expression for names of networks")
    options = parser.parse_args()
    names = [entry["name"] for entry in ask(options.program)["networks"]
             if entry["task"] == "segmentation"]

    print("| network | largest score | largest difference, relative | pixels of another class | "
          f"of those ties within {TIE:.0e} |\n|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as scratch:
        photos = sorted(options.photos.glob("*.png"))[:options.count]
        photos = resized(photos, options.size, Path(scratch))
        for name in names:
            if not re.fullmatch(options.only, name):
                continue
            with tempfile.TemporaryDirectory() as folder:
                model = make_model(options.program, name, options.size, Path(folder))
                found = compare(options.program, model, photos)
            print(f"| {name} | {found.largest:.2f} | {found.difference / found.largest:.1e} | "
                  f"{found.other_class} of {found.pixels} | {found.ties} |", flush=True)


if __name__ == "__main__":
    main()
