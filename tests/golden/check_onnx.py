#!/usr/bin/env python3
"""Runs an ONNX file in ONNX Runtime and compares it with what macadam computed.

    python3 tests/golden/check_onnx.py NET.onnx IMAGE.npy LOGITS.npy [--tolerance 1e-3]
    python3 tests/golden/check_onnx.py FOLDER

IMAGE: float32 {N, 3, H, W}, normalised. LOGITS: float32 {N, classes, H, W}. A file with the output
"mask" is compared with the largest of the logits. With a folder, every NAME.VARIANT.onnx in it is
compared with each NAME.SIZE.image.npy that it takes and NAME.SIZE.logits.npy; write_onnx_files
(among the tests' programs) writes such a folder. The tolerance is a fraction of the largest logit.
Needs onnx, onnxruntime and numpy.
"""

import argparse
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime


def takes(file, image_file):
    """Whether the network takes images of that size."""
    dims = onnx.load(file).graph.input[0].type.tensor_type.shape.dim
    return all(dim.dim_param or dim.dim_value == extent
               for dim, extent in zip(dims, np.load(image_file, mmap_mode="r").shape))


def check(file, image_file, logits_file, tolerance):
    """Prints one line; whether they agree."""
    onnx.checker.check_model(str(file), full_check=True)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    image, expected = np.load(image_file), np.load(logits_file)
    (output,) = session.get_outputs()
    (got,) = session.run(None, {"image": image})
    title = f"{file.name} {'x'.join(map(str, image.shape))}"
    mask = expected.argmax(axis=1)
    if got.shape != (mask if output.name == "mask" else expected).shape:
        print(f"{title}: {output.name} of shape {got.shape}  WRONG")
        return False
    largest, error, text = np.abs(expected).max(), 0.0, ""
    if output.name == "logits":
        error = np.abs(got - expected).max()
        got = got.argmax(axis=1)
        text = f"max abs error {error:.2e} of {largest:.3g}, "
    agreement = (got == mask).mean()
    good = error <= tolerance * largest and agreement >= 0.999
    print(f"{title}: {text}masks agree on {100 * agreement:.4f} %  {'ok' if good else 'WRONG'}")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("file", type=pathlib.Path, help="an .onnx file, or a folder")
    parser.add_argument("image", nargs="?")
    parser.add_argument("logits", nargs="?")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    options = parser.parse_args()
    if not options.file.is_dir():
        if options.logits is None:
            parser.error("an .onnx file wants IMAGE.npy and LOGITS.npy")
        return 0 if check(options.file, options.image, options.logits, options.tolerance) else 1
    cases = [(file, image, str(image).replace(".image.npy", ".logits.npy"))
             for file in sorted(options.file.glob("*.onnx"))
             for image in sorted(options.file.glob(f"{file.name.split('.')[0]}.*.image.npy"))
             if takes(file, image)]
    agree = [check(*case, options.tolerance) for case in cases]
    print(f"{sum(agree)} of {len(agree)} agree")
    return 0 if agree and all(agree) else 1


if __name__ == "__main__":
    sys.exit(main())
