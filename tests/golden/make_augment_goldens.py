#!/usr/bin/env python3
"""Makes augment/*.npy, but for pixel_*.npy: what Albumentations 1.3.1 and OpenCV make of a small
picture, its parameters given, to check augmentation programs against.

Run it with a Python that has both; nothing else needs one:  python make_augment_goldens.py
A file is a sequence of arrays, each as numpy.save writes it, in the order of the `save` call below.
"""


import albumentations.augmentations.functional as F
import albumentations.augmentations.geometric.functional as G
from albumentations.augmentations.blur.functional import blur
import cv2
import numpy as np

from augment_files import save

H, W = 48, 64
random = np.random.RandomState(20240301)


def photo():
    """Slopes, waves and soft edges, no two neighbours more than some 50 levels apart."""
    y, x = np.mgrid[:H, :W].astype(np.float64)
    channels = []
    for c in range(3):
        slope = 40 + 1.5 * x + (1 + c) * y
        waves = 18 * np.sin(0.55 * x + 0.3 * c) * np.cos(0.41 * y - 0.5 * c)
        edge = 40 * np.tanh((x - 20 - 5 * c - 0.4 * y) / 1.2) - 30 * np.tanh((y - 30 + c) / 1.1)
        channels.append(slope + waves + edge + random.uniform(-4, 4, (H, W)))
    return np.clip(np.stack(channels, axis=2), 0, 255).astype(np.uint8)


def classes():
    """Regions of 11 classes and of 255, some of them one pixel thin."""
    labels = np.zeros((H, W), np.uint8)
    for i in range(40):
        y, x = random.randint(0, H), random.randint(0, W)
        labels[y:y + random.randint(1, 16), x:x + random.randint(1, 20)] = 255 if i % 12 == 11 else i % 11
    return labels


IMAGE, LABELS = photo(), classes()


def away_from_halves(map_x, map_y):
    """Where the nearest pixel is plain: no position within 1/32 pixel of the middle of two."""
    plain = np.ones((H, W), bool)
    for positions in (map_x, map_y):
        plain &= np.abs(positions - np.floor(positions) - 0.5) > 1 / 32
    return plain.astype(np.uint8)


def tables():
    every_byte = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(256, 1, 3)
    changes = [(1.2, 0.0), (0.8, 0.0), (1.0, 0.2), (1.0, -0.13), (1.137, -0.171), (0.823, 0.19)]
    save("brightness_contrast", np.array(changes), np.stack(
        [F.brightness_contrast_adjust(every_byte, float(np.float32(a)), float(np.float32(b)), True)[:, 0]
         for a, b in changes]))
    gammas = np.array([80, 87.5, 100, 117.25, 120], np.float32) / np.float32(100)
    save("gamma", gammas, np.stack([F.gamma_transform(every_byte, float(g))[:, 0] for g in gammas]))
    shifts = np.array([(20, -20, 0), (-7.625, 13.25, 0.5), (-0.25, 19.875, -19.5)], np.float32)
    save("rgb_shift", shifts, np.stack(
        [F.shift_rgb(every_byte, *(float(v) for v in s))[:, 0] for s in shifts]))


def blurs():
    save("blur", np.array([3, 5, 7]), np.stack([blur(IMAGE, k) for k in (3, 5, 7)]))


def affine_positions(matrix):
    """Where warpAffine with the forward matrix reads."""
    inverse = cv2.invertAffineTransform(matrix)
    y, x = np.mgrid[:H, :W].astype(np.float64)
    return tuple(inverse[i, 0] * x + inverse[i, 1] * y + inverse[i, 2] for i in range(2))


def shift_scale_rotates():
    for name, angle, scale, dx, dy, border in (
            ("turned", 37.0, 0.93, 0.05, -0.0625, cv2.BORDER_REFLECT_101),
            ("grown", -8.0, 1.1, -0.0301, 0.02, cv2.BORDER_REFLECT_101),
            ("bordered", 21.0, 0.9, 0.03, 0.06, cv2.BORDER_CONSTANT)):
        fill, label = ((9, 90, 200), 255) if border == cv2.BORDER_CONSTANT else (None, None)
        made = G.shift_scale_rotate(IMAGE, angle, scale, dx, dy, cv2.INTER_LINEAR, border, fill)
        moved = G.shift_scale_rotate(LABELS, angle, scale, dx, dy, cv2.INTER_NEAREST, border, label)
        matrix = cv2.getRotationMatrix2D((W / 2 - 0.5, H / 2 - 0.5), angle, scale)
        matrix[0, 2] += dx * W
        matrix[1, 2] += dy * H
        map_x, map_y = affine_positions(matrix)
        if border == cv2.BORDER_CONSTANT:
            # OpenCV blends the border in over the last pixel; here the image ends with its pixels'
            # squares. What lies further inside or outside agrees.
            clear = [(v >= 0) & (v <= n - 1) | (v <= -1) | (v >= n) for v, n in
                     ((map_x, W), (map_y, H))]
            colours = (clear[0] & clear[1]).astype(np.uint8)
        else:
            colours = np.ones((H, W), np.uint8)
        save(f"warp_{name}", np.array([angle, scale, dx, dy]), made, colours, moved,
             away_from_halves(map_x, map_y))


def grid():
    steps = [list(1 + random.uniform(-0.3, 0.3, 6).astype(np.float32)) for _ in range(2)]
    steps = [[float(s) for s in axis] for axis in steps]
    axes = []
    for n, axis in ((W, steps[0]), (H, steps[1])):  # as in grid_distortion
        ends, positions, step = [0.0], [], n // 5
        for i in range(6):
            start, end = i * step, min(n, (i + 1) * step)
            ends.append(ends[-1] + step * axis[i] if (i + 1) * step <= n else n)
            positions += list(np.linspace(ends[-2], ends[-1], end - start))
        axes.append(np.array(positions))
    save("warp_grid", np.array(steps), G.grid_distortion(IMAGE, 5, *steps, cv2.INTER_LINEAR),
         np.ones((H, W), np.uint8), G.grid_distortion(LABELS, 5, *steps, cv2.INTER_NEAREST),
         away_from_halves(*np.meshgrid(*axes)))


def optical():
    for name, k in (("barrel", 0.047), ("pincushion", -0.05)):
        camera = np.array([[W, 0, W * 0.5], [0, H, H * 0.5], [0, 0, 1]], np.float32)
        maps = cv2.initUndistortRectifyMap(camera, np.array([k, k, 0, 0, 0], np.float32), None,
                                           None, (W, H), cv2.CV_32FC1)
        save(f"warp_{name}", np.array([k]), G.optical_distortion(IMAGE, k, 0, 0, cv2.INTER_LINEAR),
             np.ones((H, W), np.uint8), G.optical_distortion(LABELS, k, 0, 0, cv2.INTER_NEAREST),
             away_from_halves(*maps))


def reflected(positions, n):
    a = np.abs(positions) % (2 * (n - 1))
    return np.where(a > n - 1, 2 * (n - 1) - a, a)


def elastic():
    """An affine map and displacements, in one resampling."""
    spacing, shape = 4, (13, 17)
    nodes = np.stack([cv2.GaussianBlur(random.uniform(-1, 1, shape), (0, 0), 1.5) * 12
                      for _ in range(2)], axis=2).astype(np.float32)
    matrix = np.array([[1.04, 0.11, -3.7], [-0.07, 0.95, 2.9]])  # from output to input
    y, x = np.mgrid[:H, :W].astype(np.float64)
    i, j = (x // spacing).astype(int), (y // spacing).astype(int)
    a, b = x / spacing - i, y / spacing - j
    i1, j1 = np.minimum(i + 1, shape[1] - 1), np.minimum(j + 1, shape[0] - 1)
    moved = []
    for c, v in ((0, x), (1, y)):
        n = nodes[..., c].astype(np.float64)
        upper, lower = n[j, i] * (1 - a) + n[j, i1] * a, n[j1, i] * (1 - a) + n[j1, i1] * a
        moved.append(reflected(v + upper * (1 - b) + lower * b, (W, H)[c]))
    maps = [(m[0] * moved[0] + m[1] * moved[1] + m[2]).astype(np.float32) for m in matrix]
    made, labels = (cv2.remap(image, *maps, mode, borderMode=cv2.BORDER_REFLECT_101)
                    for image, mode in ((IMAGE, cv2.INTER_LINEAR), (LABELS, cv2.INTER_NEAREST)))
    save("warp_elastic", matrix, made, np.ones((H, W), np.uint8), labels, away_from_halves(*maps),
         nodes)


def main():
    cv2.setNumThreads(1)
    save("photo", IMAGE, LABELS)
    tables()
    blurs()
    shift_scale_rotates()
    grid()
    optical()
    elastic()


if __name__ == "__main__":
    main()
