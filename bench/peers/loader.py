"""Macadam's loader beside PyTorch's DataLoader with Albumentations: samples a second, from the same
files, by the same list of transforms, ready for the network.

  python3 bench/peers/loader.py build/release/bench_loader CONFIG... [--rounds N] [--seconds S]
                                [--workers N] [--override KEY=VALUE...]

Each CONFIG is a training configuration of Macadam whose data set is a folder in the layout of
Cityscapes or CamVid. The peer reads photos and masks with OpenCV, maps ids to train labels by a
table, and builds the transforms that the configuration names with Albumentations 1.3.1 (whose
parameter names Macadam's are); without a RandomCrop it resizes first. Normalised float32 tensors
come out of `--workers` processes; Macadam has as many threads that decode, and as many that augment. Both take turns, round by
round, and both are warm. Prints one Markdown row a configuration: medians, and the median of the
rounds' ratios.

Needs torch, albumentations==1.3.1, opencv and numpy.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import time
import tomllib
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import torch
from albumentations.pytorch import ToTensorV2

MACADAM_ONLY = {"RandomCrop": {"class_uniform", "cat_max_ratio"}}
WORDS = {"reflect_101": cv2.BORDER_REFLECT_101, "constant": cv2.BORDER_CONSTANT, "none": None}


def transform_of(entry):
    """One entry of `augment` as Albumentations has it."""
    entry = dict(entry)
    name = entry.pop("name")
    children = [transform_of(child) for child in entry.pop("transforms", [])]
    for key in MACADAM_ONLY.get(name, ()):
        entry.pop(key, None)
    entry = {k: tuple(v) if isinstance(v, list) else WORDS[v] if isinstance(v, str) else v
             for k, v in entry.items()}
    return getattr(A, name)(*([children] if children else []), **entry)


def compose(config):
    """All transforms of a configuration, to the network's normalised input."""
    height, width = config["size"]
    listed = config.get("augment", [{"name": "HorizontalFlip", "p": 0.5}])
    for entry in listed:
        if entry["name"] == "RandomCrop":
            entry.setdefault("height", height)
            entry.setdefault("width", width)
    steps = [transform_of(entry) for entry in listed]
    crops = [i for i, step in enumerate(steps) if isinstance(step, A.RandomCrop)]
    if not crops:
        steps.insert(0, A.Resize(height, width))
    else:
        crop = steps[crops[0]]
        steps.insert(crops[0] + 1, A.Resize(height, width))  # does nothing at that size
        steps.insert(crops[0], A.PadIfNeeded(crop.height, crop.width,
                                             border_mode=cv2.BORDER_CONSTANT, mask_value=255))
    return A.Compose([*steps, A.Normalize(), ToTensorV2()])


def pairs_of(root):
    """(photo, mask) of the training split."""
    root = Path(root)
    if (root / "leftImg8bit").is_dir():
        return [(photo, root / "gtFine" / photo.relative_to(root / "leftImg8bit").parent /
                 photo.name.replace("_leftImg8bit", "_gtFine_labelIds"))
                for photo in sorted((root / "leftImg8bit/train").rglob("*.png"))]
    return [(photo, root / "trainannot" / photo.name)
            for photo in sorted((root / "train").glob("*.png"))]


class Streets(torch.utils.data.Dataset):
    """Photos and masks through Albumentations."""

    def __init__(self, config, folder):
        self.pairs = pairs_of((folder / config["dataset"]).resolve())
        self.transform = compose(config)
        self.table = (np.arange(256) % 8).astype(np.uint8)  # as dear as any other table

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        photo, mask = self.pairs[index]
        image = cv2.cvtColor(cv2.imread(str(photo)), cv2.COLOR_BGR2RGB)
        labels = self.table[cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)]
        out = self.transform(image=image, mask=labels)
        return out["image"], out["mask"]


class Peer:
    """The DataLoader, kept warm between rounds."""

    def __init__(self, config, folder, workers):
        loader = torch.utils.data.DataLoader(
            Streets(config, folder), batch_size=config["batch"], shuffle=True, num_workers=workers,
            drop_last=True, persistent_workers=True,
            worker_init_fn=lambda _: cv2.setNumThreads(1))
        self.batches = itertools.chain.from_iterable(itertools.repeat(loader))
        next(self.batches)

    def measure(self, seconds):
        """Samples a second."""
        start, samples = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            samples += len(next(self.batches)[0])
        return samples / (time.perf_counter() - start)


class Macadam:
    """bench_loader, kept warm between rounds."""

    def __init__(self, program, config, overrides, seconds, workers):
        self.process = subprocess.Popen(
            [program, config, *overrides, f"loader.threads={workers}", "loader.cache=0",
             "precision=fp32", "--seconds", str(seconds), "--on-request"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(workers)})
        assert self.process.stdout.readline() == "ready\n"

    def measure(self):
        """Samples a second."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["samples_per_second"]

    def close(self):
        """Ends the program, whose input the DataLoader's processes hold open."""
        self.process.terminate()
        self.process.wait()


def main():
    """Reads the options, takes turns, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("configs", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--override", nargs="*", default=[], help="for Macadam alone")
    options = parser.parse_args()

    print("| configuration | Macadam, samples/s | PyTorch + Albumentations | ratio |")
    print("|---|--:|--:|--:|")
    for path in options.configs:
        config = tomllib.loads(path.read_text())
        macadam = Macadam(options.program, path, options.override, options.seconds,
                          options.workers)
        peer = Peer(config, path.parent, options.workers)
        rounds = []
        for _ in range(options.rounds):
            rounds.append((macadam.measure(), peer.measure(options.seconds)))
        macadam.close()
        ours, theirs = (statistics.median(side) for side in zip(*rounds))
        ratio = statistics.median(a / b for a, b in rounds)
        spread = [a / b for a, b in rounds]
        print(f"| {path.stem} | {ours:.2f} | {theirs:.2f} | "
              f"{ratio:.1f} ({min(spread):.1f} to {max(spread):.1f}) |", flush=True)
        del peer


if __name__ == "__main__":
    main()
