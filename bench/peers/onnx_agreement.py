"""An exported network in ONNX Runtime against Macadam itself, on real photos.

  python3 bench/peers/onnx_agreement.py build/release/macadam MODEL.safetensors PHOTOS [--count N]

Exports the model, lets `macadam predict --logits --precision fp32` and ONNX Runtime score the same
photos at their own size, and prints the largest difference of a score and how many pixels have
another class. Needs onnxruntime, numpy and Pillow.
"""

import argparse
import dataclasses
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

TIE = 1e-5  # two scores of a pixel this close, as a share of the largest score, are a tie


@dataclasses.dataclass
class Agreement:
    largest: float = 0.0  # |score|
    difference: float = 0.0  # the largest of a score
    pixels: int = 0
    other_class: int = 0  # pixels
    ties: int = 0  # of those


def compare(program, model, photos):
    """Scores the photos with the program and with ONNX Runtime."""
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder, "model.onnx")
        subprocess.run([program, "convert", model, exported], check=True,
                       stdout=subprocess.DEVNULL)
        subprocess.run([program, "predict", model, *photos, "-o", folder, "--logits",
                        "--precision", "fp32", "--device", "cpu"], check=True, capture_output=True)
        session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
        facts = session.get_modelmeta().custom_metadata_map
        mean, std = (np.float32(json.loads(facts[key])) for key in ("mean", "std"))
        scale = np.float32(float(facts["range"]) / 255)

        result, margins = Agreement(), []
        for photo in photos:
            image = np.asarray(Image.open(photo).convert("RGB"), np.float32)
            if json.loads(facts["bgr"]):
                image = image[..., ::-1]
            x = ((image * scale - mean) / std).transpose(2, 0, 1)[None]
            (y,) = session.run(None, {"image": np.ascontiguousarray(x)})
            y = y[0].transpose(1, 2, 0)
            expected = np.load(Path(folder, "logits", f"{photo.stem}.npy"))
            assert y.shape == expected.shape and np.isfinite(expected).all()
            result.difference = max(result.difference, float(np.abs(y - expected).max()))
            result.largest = max(result.largest, float(np.abs(expected).max()))
            differs = y.argmax(-1) != expected.argmax(-1)
            best = np.sort(expected[differs], -1)
            margins.append(best[:, -1] - best[:, -2])
            result.other_class += int(differs.sum())
            result.pixels += differs.size
        result.ties = int((np.concatenate(margins) < TIE * result.largest).sum())
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    options = parser.parse_args()
    photos = sorted(options.photos.glob("*.png"))[:options.count]
    found = compare(options.program, options.model, photos)
    print(f"{len(photos)} photos, {found.pixels} pixels: scores differ by at most "
          f"{found.difference:.2e} (largest score {found.largest:.1f}), {found.other_class} pixels "
          f"have another class, {found.ties} of them ties within {TIE:.0e} of the largest score")


if __name__ == "__main__":
    main()
