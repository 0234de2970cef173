#!/usr/bin/env python3
"""Makes losses.json: the losses that the presets of `loss` stand for, by the frameworks' own code
(segmentation_models.pytorch, with gradients) or, for Keras' segmentation_models, whose TensorFlow is
not needed, by its formulas written out with numpy.

Run it with a Python that has PyTorch and segmentation-models-pytorch (written with 0.6.0), which
nothing else needs:  python make_loss_goldens.py
Scores are NHWC. The last class has no labelled pixel. For Keras every pixel has a label; else some are
ignored (255).
"""

import json
import pathlib

import numpy as np
import torch
from segmentation_models_pytorch.losses import (DiceLoss, FocalLoss, JaccardLoss, LovaszLoss,
                                                TverskyLoss)

SHAPE = N, H, W, C = 2, 4, 5, 6


def smp(loss, scores, labels, dtype=torch.float64):
    logits = torch.tensor(scores).permute(0, 3, 1, 2).contiguous().requires_grad_()
    value = loss(logits.to(dtype), torch.tensor(labels).long())
    value.backward()
    gradient = logits.grad.permute(0, 2, 3, 1).contiguous().flatten()
    return {"value": value.item(), "gradient": [float(f"{g:.9g}") for g in gradient]}


# segmentation_models 1.0.1, losses.py and base/functional.py, with their default arguments.
EPSILON, SMOOTH = 1e-7, 1e-5


def f_score(truth, p, beta=1.0):
    tp = (truth * p).sum((0, 1, 2))
    fp, fn = p.sum((0, 1, 2)) - tp, truth.sum((0, 1, 2)) - tp
    return (((1 + beta**2) * tp + SMOOTH) /
            ((1 + beta**2) * tp + beta**2 * fn + fp + SMOOTH)).mean()


def iou_score(truth, p):
    intersection = (truth * p).sum((0, 1, 2))
    union = (truth + p).sum((0, 1, 2)) - intersection
    return ((intersection + SMOOTH) / (union + SMOOTH)).mean()


def categorical_crossentropy(truth, p):
    p = np.clip(p / p.sum(-1, keepdims=True), EPSILON, 1 - EPSILON)
    return -(truth * np.log(p)).mean()


def categorical_focal_loss(truth, p, gamma=2.0, alpha=0.25):
    p = np.clip(p, EPSILON, 1.0 - EPSILON)
    return (-truth * (alpha * (1 - p)**gamma * np.log(p))).mean()


def main():
    random = np.random.default_rng(20261130)
    scores = (random.normal(size=SHAPE) * 2).astype(np.float32).astype(np.float64)
    labels = random.integers(0, C - 1, size=SHAPE[:3])
    with_ignored = np.where(random.random(SHAPE[:3]) < 0.2, 255, labels)
    truth = np.eye(C)[labels]
    p = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    multiclass = {"mode": "multiclass", "ignore_index": 255}
    out = {
        "shape": SHAPE,
        "scores": scores.flatten().tolist(),
        "labels": labels.flatten().tolist(),
        "labels_with_ignored": with_ignored.flatten().tolist(),
        "losses": {
            "dice:smp": smp(DiceLoss(**multiclass), scores, with_ignored),
            "jaccard:smp": smp(JaccardLoss(**multiclass), scores, with_ignored),
            "tversky:smp": smp(TverskyLoss(**multiclass), scores, with_ignored),
            "focal:smp": smp(FocalLoss(**multiclass), scores, with_ignored),
            "lovasz:smp": smp(LovaszLoss(**multiclass), scores, with_ignored, torch.float32),
            "dice:keras": {"value": 1 - f_score(truth, p)},
            "jaccard:keras": {"value": 1 - iou_score(truth, p)},
            "ce:keras": {"value": categorical_crossentropy(truth, p)},
            "focal:keras": {"value": categorical_focal_loss(truth, p)},
            "total:keras": {"value": 1 - f_score(truth, p) + categorical_focal_loss(truth, p)},
        },
    }
    path = pathlib.Path(__file__).parent / "losses.json"
    path.write_text(json.dumps(out, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
