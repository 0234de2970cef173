#!/usr/bin/env python3
"""Makes augment/pixel_*.npy: what OpenCV and Albumentations 1.3.1 make of pixels, to check
kernels/scalar/pixel_ops.h and clahe.h against.

Run it with a Python that has both; nothing else needs one:  python make_pixel_op_goldens.py
A file is a sequence of arrays, each as numpy.save writes it, in the order of the `save` call below.
"""


import albumentations.augmentations.functional as F
import cv2
import numpy as np

from augment_files import save

random = np.random.RandomState(20240229)


def pixels(count):
    """A column of random colours: half of them from the whole cube, a quarter of them nearly grey,
    a quarter with components of 0 and 255."""
    wide = random.randint(0, 256, (count // 2, 3))
    gray = random.randint(0, 256, (count // 4, 1)) + random.randint(-3, 4, (count // 4, 3))
    corners = random.choice([0, 1, 127, 128, 254, 255], (count // 4, 3))
    column = np.concatenate([wide, gray, corners])
    return np.clip(column, 0, 255).astype(np.uint8).reshape(-1, 1, 3)


def hsv():
    image = pixels(256)
    shifts = [(0, 0, 0), (20, 30, 20), (-20, -30, -20), (90, 0, 0), (-180, 5, -3), (179, -255, 255)]
    save("pixel_hsv", image, np.array(shifts), np.stack([F._shift_hsv_uint8(image, *s) for s in shifts]))


def saturation():
    image = pixels(256)
    factors = np.array([0.0, 0.5, 0.8, 1.125, 1.2, 2.0], np.float32)
    made = [F.adjust_saturation_torchvision(image, float(f)) for f in factors]
    save("pixel_saturation", image, factors, np.stack(made))


def shadow():
    image = pixels(512)
    everywhere = [np.array([[[0, 0], [0, 511], [1, 511], [1, 0]]], np.int32)]
    save("pixel_shadow", image, F.add_shadow(image, everywhere))


def polygons():
    """Images of 30 x 40 pixels, filled where a polygon or its outline is."""
    shapes, masks = [], []
    for count in (3, 4, 5, 5, 6):
        shape = np.stack([random.randint(0, 40, count), random.randint(0, 30, count)], 1)
        mask = np.zeros((30, 40), np.uint8)
        cv2.fillPoly(mask, [shape.astype(np.int32)], 1)
        shapes.append(shape)
        masks.append(mask)
    save("pixel_polygons", np.array([len(s) for s in shapes]), np.concatenate(shapes), np.stack(masks))


def noise():
    values = random.randint(0, 256, (512, 1, 1)).astype(np.uint8)
    added = random.normal(0, 30, values.shape).astype(np.float32)
    save("pixel_noise", values, added, F.gauss_noise(values, added))


def lab():
    """L, and the colour that another L gives."""
    image = pixels(512)
    converted = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    changed = converted.copy()
    lightness = converted[..., 0].astype(int) + random.randint(-40, 41, converted.shape[:2])
    changed[..., 0] = np.clip(lightness, 0, 255)
    save("pixel_lab", image, converted[..., 0], changed[..., 0],
         cv2.cvtColor(changed, cv2.COLOR_LAB2RGB))


def clahe(name, height, width, tiles_y, tiles_x, limit):
    """Of a plane that is smooth, and noisy in a corner."""
    y, x = np.mgrid[0:height, 0:width]
    plane = 90 + 60 * np.sin(y / 9) * np.cos(x / 7) + 20 * (x > y) * random.randn(height, width)
    plane = np.clip(plane, 0, 255).astype(np.uint8)
    made = cv2.createCLAHE(clipLimit=limit, tileGridSize=(tiles_x, tiles_y)).apply(plane)
    save(f"pixel_clahe_{name}", np.array([tiles_y, tiles_x]), np.array([limit], np.float32), plane, made)


if __name__ == "__main__":
    hsv()
    saturation()
    shadow()
    polygons()
    noise()
    lab()
    clahe("whole", 32, 48, 4, 4, 2.0)
    clahe("odd", 37, 45, 8, 8, 4.0)
    clahe("one_axis", 32, 45, 4, 8, 1.5)
    clahe("unlimited", 30, 40, 2, 3, 0.0)
