#!/usr/bin/env python3
"""`macadam eval --official` and the script of Cityscapes' authors on the same files, digit for digit.

    pip install cityscapesScripts==2.3.0 'numpy<2.4' pillow
    python3 tests/golden/check_official.py build/release/macadam

Makes data sets in Cityscapes' layout, with instances and masks of all 34 ids (some data sets lack
classes), and predictions that are partly wrong, named as submissions are. Compares the scores of the
19 classes and 7 categories, the instance scores of 8 classes and 2 categories, and the four means,
and demands equal doubles. The official script takes files in the order that the file system gives;
its sums over instances depend on that, so that here they come by name.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("CITYSCAPES_DATASET", tempfile.gettempdir())

import numpy as np
from PIL import Image
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official
from cityscapesscripts.helpers.labels import labels as all_labels

WITH_INSTANCES = [24, 25, 26, 27, 28, 29, 30, 31, 32, 33]


def draw_photo(random, ids, height, width):
    """Label ids, and instance ids: boxes over boxes, some of one instance in two parts."""
    labels = np.full((height, width), random.choice(ids), np.uint8)
    instances = labels.astype(np.uint16)
    for number in range(random.integers(5, 60)):
        label = int(random.choice(ids))
        y, x = random.integers(0, height), random.integers(0, width)
        box = (slice(y, y + random.integers(1, height // 2)), slice(x, x + random.integers(1, width // 3)))
        labels[box] = label
        single = label in WITH_INSTANCES and random.random() < 0.9  # else a group
        instances[box] = label * 1000 + number % 40 if single else label
    return labels, instances


def predict(random, labels, ids):
    found = np.roll(labels, random.integers(-3, 4, 2), (0, 1))
    for _ in range(random.integers(0, 20)):
        y, x = random.integers(0, labels.shape[0]), random.integers(0, labels.shape[1])
        found[y:y + random.integers(1, 40), x:x + random.integers(1, 90)] = random.choice(ids)
    return found


def make(folder, random, ids):
    """The lists of predictions and ground truth, by name."""
    predicted, labelled = [], []
    for number in range(7):
        city = ("frankfurt", "lindau", "munster")[number % 3]
        name = f"{city}_{number // 4:06}_{number * 19:06}"
        labels, instances = draw_photo(random, ids, 96, 192)
        for part in ("leftImg8bit", "gtFine"):
            (folder / part / "val" / city).mkdir(parents=True, exist_ok=True)
        (folder / "results" / city).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((96, 192, 3), np.uint8)).save(
            folder / "leftImg8bit/val" / city / f"{name}_leftImg8bit.png")
        truth = folder / "gtFine/val" / city / f"{name}_gtFine_labelIds.png"
        Image.fromarray(labels).save(truth)
        Image.fromarray(instances).save(str(truth).replace("labelIds", "instanceIds"))
        mask = folder / "results" / city / f"{name}_pred.png"
        Image.fromarray(predict(random, labels, ids)).save(mask)
        labelled.append(str(truth))
        predicted.append(str(mask))
    order = sorted(range(len(labelled)), key=lambda i: pathlib.Path(labelled[i]).name)
    return [predicted[i] for i in order], [labelled[i] for i in order]


def known(scores):
    return {name: value for name, value in scores.items() if value == value}


def listed(entries, key):
    return {e["name"]: e[key] for e in entries if e.get(key) is not None}


def main(program):
    official.args.JSONOutput = False
    official.args.quiet = True
    compared = 0
    everything = [label.id for label in all_labels if label.id >= 0]
    for seed, ids in enumerate([everything] * 4 + [[i for i in everything if i not in (24, 25, 31)],
                                                   [7, 8, 11, 23, 26], [7, 21]]):
        random = np.random.default_rng(seed)
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch)
            predicted, labelled = make(folder, random, ids)
            wanted = official.evaluateImgLists(predicted, labelled, official.args)
            run = subprocess.run([program, "eval", folder / "results", folder, "--official", "--json"],
                                 check=True, capture_output=True, text=True)
            found = json.loads(run.stdout)
        lists = [
            (listed(found["cityscapes_classes"], "iou"), known(wanted["classScores"])),
            (listed(found["cityscapes_categories"], "iou"), known(wanted["categoryScores"])),
            (listed(found["cityscapes_classes"], "iiou"), known(wanted["classInstScores"])),
            (listed(found["cityscapes_categories"], "iiou"), known(wanted["categoryInstScores"])),
        ]
        for mean, key in (("cityscapes_class_iou", "averageScoreClasses"),
                          ("cityscapes_category_iou", "averageScoreCategories"),
                          ("cityscapes_class_iiou", "averageScoreInstClasses"),
                          ("cityscapes_category_iiou", "averageScoreInstCategories")):
            value = float(wanted[key])
            lists.append(({} if found[mean] is None else {mean: found[mean]},
                          {mean: value} if value == value else {}))
        for got, expected in lists:
            expected = {name: float(value) for name, value in expected.items()}
            if got != expected:
                sys.exit(f"seed {seed}: macadam {got}\nofficial {expected}")
            compared += len(expected)
    print(f"{compared} scores, all equal")


main(sys.argv[1])
