#!/usr/bin/env python3
"""Writes unet_mini.json: what PyTorch computes for UNet-mini, in double precision.

Weights, images and labels come from a hash that tests/models/unet_mini_golden_test.cpp computes
too, so that the file holds results only. Run with PyTorch installed; the project does not need it:
    python3 tests/golden/make_unet_mini_golden.py
"""

import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

CLASSES, N, H, W = 8, 2, 16, 24
IGNORE = 255
SAMPLES = 64  # gradient entries kept of each parameter
STEPS = 10

CONVS = [  # name, in, out, kernel; in the order of the engine's parameters
    ("down1.conv1", 3, 32, 3), ("down1.conv2", 32, 32, 3),
    ("down2.conv1", 32, 64, 3), ("down2.conv2", 64, 64, 3),
    ("bottom.conv1", 64, 128, 3), ("bottom.conv2", 128, 128, 3),
    ("up2.conv1", 192, 64, 3), ("up2.conv2", 64, 64, 3),
    ("up1.conv1", 96, 32, 3), ("up1.conv2", 32, 32, 3),
    ("head", 32, CLASSES, 1),
]


def hashed(stream, count):
    """lowbias32 of index + stream * golden ratio, for index in [0, count)."""
    x = np.arange(count, dtype=np.uint32) + np.uint32(stream * 0x9E3779B9 & 0xFFFFFFFF)
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def uniform(stream, shape, limit):
    """Uniform float32 numbers in [-limit, limit)."""
    unit = (hashed(stream, int(np.prod(shape))) >> np.uint32(8)).astype(np.float32)
    unit = unit * np.float32(2.0**-23) - np.float32(1)
    return (unit * np.float32(limit)).reshape(shape)


def make_parameters():
    parameters = {}
    for name, c_in, c_out, k in CONVS:
        shape = (c_out, c_in, k, k)
        limit = np.sqrt(6.0 / (c_in * k * k))
        for suffix, values in (
            ("weight", uniform(len(parameters), shape, limit)),
            ("bias", uniform(len(parameters) + 1, (c_out,), 0.1)),
        ):
            tensor = torch.tensor(values, dtype=torch.float64, requires_grad=True)
            parameters[f"{name}.{suffix}"] = tensor
    return parameters


def make_batch():
    images = (hashed(1000, N * H * W * 3) >> np.uint32(24)).reshape(N, H, W, 3)
    mean = np.array([0.485, 0.456, 0.406], np.float32).astype(np.float64)
    std = np.array([0.229, 0.224, 0.225], np.float32).astype(np.float64)
    x = (images.astype(np.float64) / 255 - mean) / std
    tiles = (hashed(1001, N * (H // 4) * (W // 4)) % np.uint32(CLASSES + 1)).astype(np.int64)
    tiles[tiles == CLASSES] = IGNORE
    labels = tiles.reshape(N, H // 4, W // 4).repeat(4, axis=1).repeat(4, axis=2)
    return torch.tensor(x).permute(0, 3, 1, 2), torch.tensor(labels)


def network(p, x):
    def conv(name, v):
        weight = p[name + ".weight"]
        return F.conv2d(v, weight, p[name + ".bias"], padding=weight.shape[2] // 2)

    def block(name, v):
        return F.relu(conv(name + ".conv2", F.relu(conv(name + ".conv1", v))))

    def up(v, skip):
        return torch.cat([F.interpolate(v, scale_factor=2, mode="nearest"), skip], dim=1)

    c1 = block("down1", x)
    c2 = block("down2", F.max_pool2d(c1, 2))
    c3 = block("bottom", F.max_pool2d(c2, 2))
    u1 = block("up1", up(block("up2", up(c3, c2)), c1))
    return conv("head", u1)


def losses(logits, labels):
    """Cross-entropy, and Dice with smooth = 1 over the classes present (kernels/loss.h)."""
    ce = F.cross_entropy(logits, labels, ignore_index=IGNORE)
    valid = (labels != IGNORE).unsqueeze(1)
    p = logits.softmax(1) * valid
    g = F.one_hot(labels.clamp(max=CLASSES - 1), CLASSES).permute(0, 3, 1, 2) * valid
    sums = (0, 2, 3)
    predicted, labelled = p.sum(sums), g.sum(sums)
    dice = 1 - (2 * (p * g).sum(sums) + 1) / (predicted + labelled + 1)
    return ce, dice[labelled > 0].mean()


def step_once(x, labels, dice_weight):
    parameters = make_parameters()
    logits = network(parameters, x)
    ce, dice = losses(logits, labels)
    total = ce + dice_weight * dice
    total.backward()
    gradients = {}
    for name, tensor in parameters.items():
        flat = tensor.grad.flatten()
        count = min(SAMPLES, flat.numel())
        picks = [k * flat.numel() // count for k in range(count)]
        gradients[name] = {
            "norm": flat.norm().item(),
            "samples": [rounded(flat[i].item()) for i in picks],
        }
    values = {"total": total.item(), "ce": ce.item(), "dice": dice.item()}
    return logits, {"loss": values, "gradients": gradients}


def train(x, labels, make_optimizer):
    parameters = make_parameters()
    weights = [t for name, t in parameters.items() if name.endswith("weight")]
    biases = [t for name, t in parameters.items() if name.endswith("bias")]
    optimizer = make_optimizer([{"params": weights, "weight_decay": 0.01},
                                {"params": biases, "weight_decay": 0.0}])
    history = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        ce, dice = losses(network(parameters, x), labels)
        total = ce + dice
        total.backward()
        optimizer.step()
        history.append(total.item())
    return history


def rounded(value):
    return float(f"{value:.9g}")


def main():
    x, labels = make_batch()
    logits, ce = step_once(x, labels, 0.0)
    _, ce_dice = step_once(x, labels, 1.0)
    result = {
        "logits": [rounded(v) for v in logits.permute(0, 2, 3, 1).flatten().tolist()],
        "ce": ce,
        "ce_dice": ce_dice,
        "adamw": train(x, labels, lambda groups: torch.optim.AdamW(groups, lr=1e-3)),
        "sgd": train(x, labels,
                     lambda groups: torch.optim.SGD(groups, lr=5e-4, momentum=0.9, nesterov=True)),
    }
    path = pathlib.Path(__file__).with_name("unet_mini.json")
    path.write_text(json.dumps(result, indent=0, separators=(",", ":")).replace(",\n", ", ") + "\n")


if __name__ == "__main__":
    main()
