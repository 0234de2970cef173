"""What int8 would cost in mean IoU: an exported network in fp32 and quantised, on labelled photos.

  python3 bench/peers/int8_loss.py build/release/macadam MODEL.safetensors DATA [--calibration N]
                                   [--method minmax|entropy|percentile]

Exports the model at its own size, calibrates on N photos spread over DATA/train, quantises every
layer as cuDNN would run it (int8 weights, symmetric, one scale an output channel; int8 activations,
symmetric, one scale a tensor, taken behind the activation function; int32 sums) and scores both
networks on DATA/val against DATA/valannot (CamVid in SegNet layout; ids from the number of classes
on are void). Photos are resized bilinearly, labels by nearest neighbour. Prints one JSON object.
Needs onnxruntime, onnx, numpy and Pillow.
"""

import argparse
import json
import logging
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image


class Network:
    """An exported network and how photos become its input."""

    def __init__(self, file, facts=None):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(file), options,
                                                    providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0]
        self.facts = facts or self.session.get_modelmeta().custom_metadata_map
        self.classes = len(json.loads(self.facts["class_names"]))
        self.height, self.width = self.input.shape[2:]

    def feed(self, photo):
        image = Image.open(photo).convert("RGB").resize((self.width, self.height), Image.BILINEAR)
        pixels = np.asarray(image, np.float32)
        if json.loads(self.facts["bgr"]):
            pixels = pixels[..., ::-1]
        mean, std = (np.float32(json.loads(self.facts[key])) for key in ("mean", "std"))
        scaled = (pixels * np.float32(float(self.facts["range"]) / 255) - mean) / std
        return {self.input.name: np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])}

    def score(self, photos, labels):
        """(mean IoU of the classes that occur, accuracy of the labelled pixels)."""
        counts = np.zeros((self.classes, self.classes), np.int64)
        for photo, label in zip(photos, labels):
            image = Image.open(label).resize((self.width, self.height), Image.NEAREST)
            truth = np.asarray(image).astype(np.int64)
            found = self.session.run(None, self.feed(photo))[0][0].argmax(0)
            valid = truth < self.classes
            cells = truth[valid] * self.classes + found[valid]
            counts += np.bincount(cells, minlength=counts.size).reshape(counts.shape)
        hits = np.diag(counts)
        union = counts.sum(0) + counts.sum(1) - hits
        present = counts.sum(1) > 0
        return float((hits[present] / union[present]).mean()), float(hits.sum() / counts.sum())


class Photos(quantization.CalibrationDataReader):
    def __init__(self, network, photos):
        self.feeds = (network.feed(photo) for photo in photos)

    def get_next(self):
        return next(self.feeds, None)


def quantise(exported, network, photos, options):
    prepared, quantised = (exported.with_name(f"{name}.onnx") for name in ("prepared", "int8"))
    quant_pre_process(str(exported), str(prepared))
    quantization.quantize_static(
        str(prepared), str(quantised), Photos(network, photos),
        quant_format=quantization.QuantFormat.QDQ, per_channel=True,
        activation_type=quantization.QuantType.QInt8, weight_type=quantization.QuantType.QInt8,
        calibrate_method={"minmax": quantization.CalibrationMethod.MinMax,
                          "entropy": quantization.CalibrationMethod.Entropy,
                          "percentile": quantization.CalibrationMethod.Percentile}[options.method],
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True})
    return Network(quantised, network.facts)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--calibration", type=int, default=32, metavar="N")
    parser.add_argument("--method", choices=("minmax", "entropy", "percentile"), default="minmax")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    train = sorted((options.data / "train").glob("*.png"))
    photos = sorted((options.data / "val").glob("*.png"))
    labels = [options.data / "valannot" / photo.name for photo in photos]
    if not train or not photos:
        parser.error(f"{options.data}: no photos in train and val")
    chosen = train[::max(1, len(train) // options.calibration)][:options.calibration]

    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder, "model.onnx")
        subprocess.run([options.program, "convert", options.model, exported, "--static"],
                       check=True, stdout=subprocess.DEVNULL)
        network = Network(exported)
        scores = {"fp32": network.score(photos, labels),
                  "int8": quantise(exported, network, chosen, options).score(photos, labels)}
    network_name = json.loads(network.facts["macadam"])["network"]
    print(json.dumps({
        "network": network_name, "size": [network.height, network.width], "photos": len(photos),
        "calibrated_on": len(chosen), "method": options.method,
        "onnxruntime": onnxruntime.__version__,
        **{name: {"miou": miou, "accuracy": accuracy} for name, (miou, accuracy) in scores.items()},
        "miou_loss": scores["fp32"][0] - scores["int8"][0]}))


if __name__ == "__main__":
    main()
