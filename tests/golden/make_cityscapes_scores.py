#!/usr/bin/env python3
"""The numbers of tests/loader/cityscapes_scores_test.cpp, by the official script.

    pip install cityscapesScripts==2.3.0 'numpy<2.4' pillow
    python tests/golden/make_cityscapes_scores.py

The masks follow from a rule (masks() here and in the test), so that no file is kept. They hold all
34 ids, among them those that the official evaluation ignores, as labels and as predictions.
"""

import os
import tempfile

os.environ.setdefault("CITYSCAPES_DATASET", tempfile.gettempdir())

import numpy as np
from PIL import Image
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official

HEIGHT, WIDTH, PAIRS, IDS = 40, 60, 2, 34


def masks(seed, ids):
    """Labels, and predictions of which two in three are the label."""
    state = seed
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    predictions = np.zeros_like(labels)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            state = (state * 1664525 + 1013904223) % 2**32
            labels[y, x] = ids[(state >> 16) % len(ids)]
            state = (state * 1664525 + 1013904223) % 2**32
            value = state >> 16
            predictions[y, x] = labels[y, x] if value % 3 else ids[value // 3 % len(ids)]
    return labels, predictions


def instances(labels):
    """Of persons, riders and vehicles, an instance every 15 columns."""
    columns = np.arange(WIDTH, dtype=np.uint16)[None, :] // 15
    wide = labels.astype(np.uint16)
    return np.where(wide >= 24, 1000 * wide + columns, wide).astype(np.uint16)


def scores(ids):
    with tempfile.TemporaryDirectory() as folder:
        predicted, labelled = [], []
        for seed in range(1, PAIRS + 1):
            for name, mask, files in zip(("gt", "pred"), masks(seed, ids), (labelled, predicted)):
                files.append(f"{folder}/{name}{seed}_labelIds.png")
                Image.fromarray(mask).save(files[-1])
                if files is labelled:
                    Image.fromarray(instances(mask)).save(f"{folder}/{name}{seed}_instanceIds.png")
        official.args.JSONOutput = False
        official.args.quiet = True
        return official.evaluateImgLists(predicted, labelled, official.args)


for title, ids in (
    ("all ids", list(range(IDS))),
    ("without sky, human and train", [i for i in range(IDS) if i not in (23, 24, 25, 31)]),
):
    result = scores(ids)
    print(f"// {title}")
    print("classes:", ", ".join(repr(float(v)) for v in result["classScores"].values() if v == v))
    print("categories:", ", ".join(repr(float(v)) for v in result["categoryScores"].values() if v == v))
    print("means:", float(result["averageScoreClasses"]), float(result["averageScoreCategories"]))
    print("iIoU of classes:", ", ".join(repr(float(v)) for v in result["classInstScores"].values() if v == v))
    print("iIoU of categories:", ", ".join(repr(float(v)) for v in result["categoryInstScores"].values() if v == v))
    print("means:", repr(float(result["averageScoreInstClasses"])), repr(float(result["averageScoreInstCategories"])))
