"""Files of augment/: sequences of arrays, each as numpy.save writes it."""

import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent / "augment"


def save(name, *arrays):
    """Real numbers as float32, whole ones as bytes or int32."""
    with open(FOLDER / f"{name}.npy", "wb") as file:
        for array in arrays:
            array = np.ascontiguousarray(array)
            if array.dtype == np.float64:
                array = array.astype("<f4")
            elif array.dtype not in (np.uint8, np.float32):
                array = array.astype("<i4")
            np.save(file, array)
