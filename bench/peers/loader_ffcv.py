"""Macadam's pack beside FFCV's file: decoded samples at the network's size to normalised float32
batches, without augmentation (no transform of FFCV moves a label with its photo).

  macadam pack DATASET data.pack --size 1024x512
  python3 bench/peers/loader_ffcv.py build/release/bench_loader DATASET data.pack data.beton
                              [--size WxH] [--batch N] [--rounds N] [--seconds S] [--workers N]

DATASET is in Cityscapes' layout; data.beton is written from it (raw photos, labels as arrays) unless
it is there. Both sides take turns. Needs ffcv, torch, opencv and numpy.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from ffcv.fields import NDArrayField, RGBImageField
from ffcv.fields.ndarray import NDArrayDecoder
from ffcv.fields.rgb_image import SimpleRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import NormalizeImage, ToTensor, ToTorchImage
from ffcv.writer import DatasetWriter

MEAN = 255 * np.array([0.485, 0.456, 0.406])
STD = 255 * np.array([0.229, 0.224, 0.225])


class Pairs:
    """Photos and masks of the training split, resized."""

    def __init__(self, root, size):
        self.root, self.size = Path(root), size
        self.photos = sorted((self.root / "leftImg8bit/train").rglob("*.png"))

    def __len__(self):
        return len(self.photos)

    def __getitem__(self, index):
        photo = self.photos[index]
        city = photo.relative_to(self.root / "leftImg8bit").parent
        mask = photo.name.replace("_leftImg8bit", "_gtFine_labelIds")
        image = cv2.cvtColor(cv2.imread(str(photo)), cv2.COLOR_BGR2RGB)
        labels = cv2.imread(str(self.root / "gtFine" / city / mask), cv2.IMREAD_UNCHANGED)
        return (cv2.resize(image, self.size),
                cv2.resize(labels, self.size, interpolation=cv2.INTER_NEAREST))


def batches(options):
    """FFCV's, without end."""
    if not Path(options.beton).exists():
        fields = {"image": RGBImageField(write_mode="raw"),
                  "label": NDArrayField(np.dtype("uint8"), options.size[::-1])}
        DatasetWriter(options.beton, fields, num_workers=options.workers).from_indexed_dataset(
            Pairs(options.dataset, options.size))
    loader = Loader(options.beton, batch_size=options.batch, num_workers=options.workers,
                    order=OrderOption.RANDOM, os_cache=True, drop_last=True,
                    pipelines={"image": [SimpleRGBImageDecoder(),
                                         NormalizeImage(MEAN, STD, np.float32), ToTensor(),
                                         ToTorchImage()],
                               "label": [NDArrayDecoder(), ToTensor()]})
    return itertools.chain.from_iterable(itertools.repeat(loader))


def main():
    """Reads the options, takes turns, prints the medians."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("program", "dataset", "pack", "beton"):
        parser.add_argument(name)
    parser.add_argument("--size", type=lambda text: tuple(map(int, text.split("x"))),
                        default=(1024, 512))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()

    theirs = batches(options)
    next(theirs)
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write('network = "unet_mini"\naugment = []\n'
                     f'dataset = "{Path(options.pack).resolve()}"\n'
                     f"size = [{options.size[1]}, {options.size[0]}]\nbatch = {options.batch}\n"
                     f'precision = "fp32"\nloader = {{threads = {options.workers}, cache = 0}}\n')
        config.flush()
        ours = subprocess.Popen([options.program, config.name, "--seconds", str(options.seconds),
                                 "--on-request"],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert ours.stdout.readline() == "ready\n"
    rounds = []
    for _ in range(options.rounds):
        ours.stdin.write("\n")
        ours.stdin.flush()
        mine = json.loads(ours.stdout.readline())["samples_per_second"]
        start, samples = time.perf_counter(), 0
        while time.perf_counter() - start < options.seconds:
            samples += len(next(theirs)[0])
        rounds.append((mine, samples / (time.perf_counter() - start)))
    ours.terminate()
    ratios = sorted(a / b for a, b in rounds)
    print(f"Macadam {statistics.median(a for a, _ in rounds):.1f} samples/s, FFCV "
          f"{statistics.median(b for _, b in rounds):.1f}; ratio {statistics.median(ratios):.2f} "
          f"({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
