"""Macadam's transforms beside those of Albumentations: one thread each, the same photo in memory,
the same lists; how many images a second, and how far the results lie apart.

  python3 bench/peers/transforms.py build/release/bench_transforms PHOTO.png [--mask MASK.png]
                                    [--size WxH] [--lists FILE.toml] [--rounds N] [--seconds S]

Photo and mask are brought to --size first. Macadam's figure is from bytes to normalised float32,
as the network reads it, with the drawing of random numbers. The peer's figure that is compared has
A.Normalize at the end, for the same result; that without it stands beside. Both sides take turns,
case by case and round by round: medians, and the median of the rounds' ratios with their range.
A measurement takes --seconds by the clock; the seconds of the rates are those of the processor.

Where a list leaves nothing to chance (several draws of the peer agree), bytes before the
normalisation are compared: the largest difference, the share of pixels that differ by more than 2
levels in any channel, and the share of labels that differ, without ties: those whose place in the
photo is as near to one pixel as to the next (within 1/32 pixel, to which both round). Other lists
are "random": their laws are held against Albumentations' by tests/loader/augment_draw_test.cpp, their
arithmetic by tests/kernels/augment_goldens_test.cpp and pixel_ops_test.cpp.

Needs albumentations==1.3.1, opencv, numpy and torch.
"""

import argparse
import random
import tempfile
import time
import tomllib
import warnings
from pathlib import Path

import albumentations as A
import cv2
import numpy as np

import side_by_side
from loader import transform_of

DRAWS = 8  # of the peer, to see whether anything is left to chance
TIE = 1 / 32


def steps_of(listed, height, width):
    """The transforms of a list, with results of height x width."""
    steps = []
    for entry in listed:
        if entry["name"] == "RandomCrop":
            entry = {"height": height, "width": width, **entry}
        steps.append(transform_of(entry))
        if entry["name"] == "RandomCrop" and (entry["height"], entry["width"]) != (height, width):
            steps.append(A.Resize(height, width))
    return steps


def seed(number):
    """Of both generators from which Albumentations draws."""
    random.seed(number)
    np.random.seed(number)


class Peer:
    """A list of transforms in Albumentations."""

    def __init__(self, listed, photo, mask):
        self.photo, self.mask = photo, mask
        self.listed = listed
        steps = steps_of(listed, *mask.shape)
        self.plain = A.Compose(steps)
        self.normalised = A.Compose([*steps, A.Normalize()])

    def draw(self, number):
        """Photo and mask as bytes."""
        seed(number)
        out = self.plain(image=self.photo, mask=self.mask)
        return out["image"], out["mask"]

    def certain(self):
        """The result, or None if it depends on chance."""
        image, mask = self.draw(0)
        for number in range(1, DRAWS):
            other, other_mask = self.draw(number)
            if not np.array_equal(image, other) or not np.array_equal(mask, other_mask):
                return None
        return image, mask

    def ties(self):
        """Where labels come from a place between two pixels."""
        height, width = self.mask.shape
        x, y = np.meshgrid(np.arange(width, dtype=np.float32),
                           np.arange(height, dtype=np.float32))
        geometry = [step for step in steps_of(self.listed, height, width)
                    if isinstance(step, A.DualTransform)]
        for step in geometry:  # a fill is no place
            if hasattr(step, "border_mode"):
                step.border_mode = cv2.BORDER_REFLECT_101
        places = A.Compose(geometry)(image=np.dstack([x, y, x]))["image"][..., :2]
        return (np.abs(places - np.floor(places) - 0.5) <= TIE).any(axis=2)

    def measure(self, transform, seconds):
        """Images a second."""
        transform(image=self.photo, mask=self.mask)
        start, begin, images = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - start < seconds:
            transform(image=self.photo, mask=self.mask)
            images += 1
        return images / (time.process_time() - begin)


def difference(peer, folder, name):
    """Three cells of the table."""
    certain = peer.certain()
    if certain is None:
        return "random | |"
    image, mask = certain
    ours = cv2.cvtColor(cv2.imread(str(folder / f"{name}.png")), cv2.COLOR_BGR2RGB)
    labels = cv2.imread(str(folder / f"{name}_labels.png"), cv2.IMREAD_UNCHANGED)
    away = np.abs(ours.astype(int) - image).max(axis=2)
    wrong = labels != mask
    if wrong.any():
        wrong &= ~peer.ties()
    return f"{away.max()} | {100 * (away > 2).mean():.3f} % | {100 * wrong.mean():.4f} %"


def resized(options, folder):
    """Photo and mask at the size that is measured, and their files."""
    photo = cv2.resize(cv2.imread(str(options.photo)), options.size)
    if options.mask:
        mask = cv2.imread(str(options.mask), cv2.IMREAD_UNCHANGED)
        mask = cv2.resize(mask, options.size, interpolation=cv2.INTER_NEAREST)
    else:
        mask = np.zeros(photo.shape[:2], np.uint8)
    files = folder / "photo.png", folder / "mask.png"
    cv2.imwrite(str(files[0]), photo)
    cv2.imwrite(str(files[1]), mask)
    return cv2.cvtColor(photo, cv2.COLOR_BGR2RGB), mask, files


def main():
    """Reads the options, takes turns, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--mask", type=Path)
    parser.add_argument("--size", type=side_by_side.size_of, default=(1024, 512))
    parser.add_argument("--lists", type=Path, default=Path(__file__).with_name("transforms.toml"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    warnings.filterwarnings("ignore", category=FutureWarning)  # RandomBrightness is deprecated

    cases = tomllib.loads(options.lists.read_text())["case"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        photo, mask, files = resized(options, folder)
        peers = [Peer(case["augment"], photo, mask) for case in cases]
        rates = [[] for _ in cases]
        with side_by_side.Program(options.program, options.lists, files[0], mask=files[1],
                                  seconds=options.seconds, output=folder) as macadam:
            macadam.wait_until_ready()
            for _ in range(options.rounds):
                for peer, rate in zip(peers, rates):
                    rate.append((macadam.measure()["images_per_second"],
                                 peer.measure(peer.normalised, options.seconds),
                                 peer.measure(peer.plain, options.seconds)))
        print("| transform | largest difference | pixels over 2 levels | labels that differ "
              "| Macadam, images/s | Albumentations + Normalize | without Normalize | ratio |")
        print("|---|--:|--:|--:|--:|--:|--:|--:|")
        for case, peer, rate in zip(cases, peers, rates):
            ours, theirs, plain = np.median(rate, axis=0)
            ratios = [a / b for a, b, _ in rate]
            print(f"| {case['name']} | {difference(peer, folder, case['name'])} | {ours:.0f} "
                  f"| {theirs:.0f} | {f'{plain:.0f}' if case['augment'] else ''} "
                  f"| {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |")


if __name__ == "__main__":
    main()
