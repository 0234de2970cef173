"""The rule that gives every weight, image and label of the network goldens.

A number depends on a name and an index alone (FNV-1a of the name, splitmix64 of the index), so the
tests compute the same numbers in C++ and no weight file is needed.
"""

import numpy as np

CHUNK = 1 << 22  # numbers made at once: bounds the memory of a large tensor


def fnv1a(name):
    """A 64-bit FNV-1a hash of a name's UTF-8 bytes (the offset is not the usual one)."""
    h = 1469598103934665603
    for byte in name.encode():
        h = (h ^ byte) * 1099511628211 % (1 << 64)
    return h


def bits(name, count, first=0):
    """64 random bits for each index in [first, first + count)."""
    index = np.arange(first + 1, first + count + 1, dtype=np.uint64)
    z = np.uint64(fnv1a(name)) + index * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(name, count, scale, offset=0.0):
    """offset + scale * v as float32, where v is uniform in [-1, 1)."""
    values = np.empty(count, np.float32)
    for first in range(0, count, CHUNK):
        n = min(CHUNK, count - first)
        v = 2 * ((bits(name, n, first) >> np.uint64(40)).astype(np.float64) * 2.0**-24) - 1
        values[first : first + n] = offset + scale * v
    return values


def tensor(name, shape, gain=1.0, shift=0.0):
    """The values of the parameter with this canonical name and PyTorch shape.

    `gain` scales convolution weights. Below 1 it keeps deep networks well conditioned: without the
    statistics of a trained network, rounding errors would grow from layer to layer. `shift` is
    added to a bias.
    """
    if name.endswith(".running_var"):
        scale, offset = 0.2, 1.0
    elif name.endswith(".running_mean"):
        scale, offset = 0.1, 0.0
    elif name.endswith(".bias"):
        scale, offset = 0.1, shift
    elif len(shape) == 1:
        scale, offset = 0.1, 1.0
    else:
        scale, offset = gain * np.sqrt(6.0 / np.prod(shape[1:])), 0.0
    return uniform(name, int(np.prod(shape)), scale, offset).reshape(shape)


def image(batch, height, width):
    """Images {N, 3, H, W}, numbered in NHWC order."""
    values = uniform("input", batch * height * width * 3, 2.0)
    return values.reshape(batch, height, width, 3).transpose(0, 3, 1, 2)


def labels(batch, height, width, classes):
    """Labels {N, H, W}: every 17th pixel is 255, which the loss ignores."""
    count = batch * height * width
    values = ((bits("labels", count) >> np.uint64(40)) % np.uint64(classes)).astype(np.int64)
    values[::17] = 255
    return values.reshape(batch, height, width)


def sample_indices(name, count, elements):
    """Which elements of a tensor a golden keeps."""
    return (bits(name, count) % np.uint64(elements)).astype(np.int64)
