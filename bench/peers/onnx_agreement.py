"""An exported network in ONNX Runtime against Macadam itself, on real photos.

  python3 bench/peers/onnx_agreement.py build/release/macadam MODEL.safetensors PHOTOS [--count N]

Exports the model, lets `macadam predict --logits --precision fp32` and ONNX Runtime score the same
photos at their own size, and prints the largest difference of a score and how many pixels have
another class. Needs onnxruntime, numpy and Pillow.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    options = parser.parse_args()
    photos = sorted(options.photos.glob("*.png"))[:options.count]

    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder, "model.onnx")
        subprocess.run([options.program, "convert", options.model, exported], check=True)
        subprocess.run([options.program, "predict", options.model, *photos, "-o", folder,
                        "--logits", "--precision", "fp32", "--device", "cpu"],
                       check=True, capture_output=True)
        session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
        facts = session.get_modelmeta().custom_metadata_map
        mean, std = (np.float32(json.loads(facts[key])) for key in ("mean", "std"))
        scale = np.float32(float(facts["range"]) / 255)

        worst, largest, other, pixels, ties = 0.0, 0.0, 0, 0, 0
        for photo in photos:
            image = np.asarray(Image.open(photo).convert("RGB"), np.float32)
            if json.loads(facts["bgr"]):
                image = image[..., ::-1]
            x = ((image * scale - mean) / std).transpose(2, 0, 1)[None]
            (y,) = session.run(None, {"image": np.ascontiguousarray(x)})
            y = y[0].transpose(1, 2, 0)
            expected = np.load(Path(folder, f"{photo.stem}_logits.npy"))
            worst = max(worst, float(np.abs(y - expected).max()))
            largest = max(largest, float(np.abs(expected).max()))
            differs = y.argmax(-1) != expected.argmax(-1)
            scores = np.sort(expected[differs], -1)
            other += int(differs.sum())
            ties += int((scores[:, -1] - scores[:, -2] < 1e-4).sum())
            pixels += differs.size
    print(f"{len(photos)} photos, {pixels} pixels: scores differ by at most {worst:.2e} (largest "
          f"score {largest:.1f}), {other} pixels have another class, {ties} of them ties within 1e-4")


if __name__ == "__main__":
    main()
