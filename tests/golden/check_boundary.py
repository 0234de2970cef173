#!/usr/bin/env python3
"""Boundary IoU by OpenCV's erosion, compared with `macadam eval --boundary`.

    pip install numpy opencv-python-headless
    python3 tests/golden/check_boundary.py build/release/macadam

The boundary is that of boundary_utils.py of the paper's authors (Cheng et al., CVPR 2021): what
cv2.erode with a square of 3 x 3, as often as the boundary is wide, takes off a mask with nothing
around it. Sums are over the data set, class by class; ignored pixels are taken out of both masks
first. The data set (streets in four sizes) and the predictions are made for it.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import cv2
import numpy as np

LEARNED = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]


def boundary(mask, ratio):
    """mask_to_boundary() of boundary_utils.py."""
    height, width = mask.shape
    distance = max(1, int(round(ratio * np.sqrt(height ** 2 + width ** 2))))
    framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(framed, np.ones((3, 3), dtype=np.uint8), iterations=distance)
    return mask - eroded[1:height + 1, 1:width + 1]


def expected(pairs, ratio):
    """IoU of each class's boundaries; None where there are none."""
    both, either = np.zeros(len(LEARNED), int), np.zeros(len(LEARNED), int)
    for truth, found in pairs:
        counted = np.isin(truth, LEARNED)
        for c, label in enumerate(LEARNED):
            g = boundary((counted & (truth == label)).astype(np.uint8), ratio)
            p = boundary((counted & (found == label)).astype(np.uint8), ratio)
            both[c] += int((g & p).sum())
            either[c] += int((g | p).sum())
    return [b / e if e else None for b, e in zip(both.tolist(), either.tolist())]


def predicted(truth, random):
    """The labels, shifted, with some areas of other ids (void among them) laid over them."""
    found = np.roll(truth, random.integers(-4, 5, 2), (0, 1))
    for _ in range(6):
        y, x = random.integers(0, truth.shape[0]), random.integers(0, truth.shape[1])
        found[y:y + random.integers(1, 30), x:x + random.integers(1, 60)] = random.integers(0, 34)
    return found


def main(program):
    random = np.random.default_rng(1)
    worst = 0
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for size in ("96x48", "64x64", "33x150", "512x256"):
            data, masks = scratch / size, scratch / f"{size}-masks"
            subprocess.run([program, "synth", data, "--images", "12", "--size", size], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            masks.mkdir()
            pairs = []
            for file in sorted((data / "gtFine/val").rglob("*_labelIds.png")):
                truth = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
                pairs.append((truth, predicted(truth, random)))
                cv2.imwrite(str(masks / file.name), pairs[-1][1])
            for ratio in (0.02, 0.005, 0.1):
                run = subprocess.run([program, "eval", masks, data, "--label-set", "trainids19",
                                      "--boundary", str(ratio), "--json"], check=True,
                                     capture_output=True, text=True)
                found = json.loads(run.stdout)
                wanted = expected(pairs, ratio)
                known = [v for v in wanted if v is not None]
                got = [c["boundary_iou"] for c in found["classes"]]
                assert [v is None for v in got] == [v is None for v in wanted], (size, ratio)
                difference = max(abs(a - b) for a, b in zip(got, wanted) if a is not None)
                difference = max(difference,
                                 abs(found["mbiou_present"] - sum(known) / len(known)))
                worst = max(worst, difference)
                print(f"{size}, ratio {ratio}: {len(known)} classes, mean "
                      f"{found['mbiou_present']:.4f}, largest difference {difference:.1e}")
    if worst > 1e-12:
        sys.exit("boundary IoU differs from OpenCV's")


main(sys.argv[1])
