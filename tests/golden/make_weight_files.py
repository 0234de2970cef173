#!/usr/bin/env python3
"""Writes tests/golden/weights/: small files as PyTorch, Keras, safetensors and NumPy write them.

tests/models/weights_golden_test.cpp knows the values: element i of a tensor made by ramp(first) is
first + i / 4. Run with PyTorch, h5py and safetensors installed; the project does not need them:
    python3 tests/golden/make_weight_files.py
"""

import argparse
import collections
import pathlib
import pickle
import shutil
import warnings

import h5py
import numpy as np
import safetensors.torch
import torch

FOLDER = pathlib.Path(__file__).parent / "weights"


def ramp(first, *shape):
    count = int(np.prod(shape))
    return torch.arange(count, dtype=torch.float32).reshape(shape) / 4 + first


def conv_state():
    """What every PyTorch file below holds at its heart."""
    return collections.OrderedDict([
        ("conv.weight", ramp(1, 2, 3, 2, 2)),
        ("conv.bias", ramp(-2, 2)),
        ("bn.running_var", ramp(0.5, 2)),
        ("bn.num_batches_tracked", torch.tensor(7)),
    ])


def save(name, value, **options):
    torch.save(value, FOLDER / name, **options)


def save_legacy(name, value):
    save(name, value, _use_new_zipfile_serialization=False)


def torch_files():
    module = torch.nn.Sequential(collections.OrderedDict(
        conv=torch.nn.Conv2d(3, 2, 2), bn=torch.nn.BatchNorm2d(2)))
    module.load_state_dict({**module.state_dict(), **conv_state()})
    save("zip.pth", module.state_dict())
    save_legacy("legacy.pth", module.state_dict())
    for protocol in (3, 4, 5):
        save(f"protocol{protocol}.pth", conv_state(), pickle_protocol=protocol)
    save("parameters.pth", dict(module.named_parameters()))

    base = ramp(0, 4, 6)
    views = {
        "base": base,
        "transposed": base.t(),
        "columns": base[:, 1:4],
        "every_second": base.reshape(-1)[1::2],
        "permuted": ramp(3, 2, 3, 4).permute(2, 0, 1),
        "channels_last": ramp(0, 2, 3, 2, 2).to(memory_format=torch.channels_last),
        "expanded": ramp(5, 3, 1).expand(3, 4),
        "scalar": torch.tensor(0.25),
        "empty": torch.zeros(0, 3),
    }
    save("views.pth", views)
    save_legacy("views_legacy.pth", views)

    types_of_numbers = {
        "float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64,
        "int64": torch.int64, "int32": torch.int32, "int16": torch.int16, "int8": torch.int8,
        "uint8": torch.uint8, "uint16": torch.uint16}
    numbers = {name: ramp(0, 9).mul(4).to(dtype) for name, dtype in types_of_numbers.items()}
    numbers["bool"] = torch.tensor([True, False, True])
    numbers["halves"] = torch.tensor([1.5, -0.25, 65504, 6e-8], dtype=torch.float16)
    save("types.pth", numbers)
    safetensors.torch.save_file(numbers, FOLDER / "types.safetensors")

    prefixed = {"module." + key: value for key, value in conv_state().items()}
    optimizer = torch.optim.AdamW(module.parameters())
    module(ramp(0, 1, 3, 4, 4)).sum().backward()
    optimizer.step()
    save("checkpoint.pth", {
        "epoch": 12, "arch": "resnet34", "best_acc1": torch.tensor(0.5), "state_dict": prefixed,
        "optimizer": optimizer.state_dict(), "args": argparse.Namespace(lr=0.1, layers=[1, 2]),
        "loss": np.float64(0.25), "history": np.zeros(3)})
    save("lightning.ckpt", {
        "epoch": 3, "global_step": 90, "pytorch-lightning_version": "2.4.0",
        "state_dict": {"model." + key: value for key, value in conv_state().items()},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 4}}}},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.7)}},
        "optimizer_states": [optimizer.state_dict()], "lr_schedulers": [],
        "hyper_parameters": {"lr": 1e-3}})
    save("one_inside.pth", {"generator": conv_state(), "step": 5})
    save("two_inside.pth", {"generator": conv_state(), "critic": conv_state()})
    save("no_tensors.pth", {"epoch": 12, "lr": [0.1, 0.01]})
    save("list.pth", list(conv_state().values()))
    save("module.pth", module)
    save("quantised.pth", {"w": torch.quantize_per_tensor(ramp(0, 4), 0.1, 0, torch.qint8)})
    save("complex.pth", {"w": torch.zeros(2, dtype=torch.complex64)})
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), FOLDER / "script.pt")


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def evil_files():
    import os
    import subprocess

    save("evil_system.pth", {"w": Calls(os.system, "echo ran")})
    save_legacy("evil_eval.pth", {"w": Calls(eval, "print('ran')")})
    save("evil_popen.pth", {"w": Calls(subprocess.Popen, ["sh"])})
    (FOLDER / "evil_plain.pth").write_bytes(pickle.dumps(Calls(os.system, "echo ran")))


def keras_group(group, layers):
    group.attrs["layer_names"] = np.array([name.encode() for name in layers])
    for name, weights in layers.items():
        layer = group.create_group(name)
        layer.attrs["weight_names"] = [key.encode() for key in weights]
        for key, value in weights.items():
            layer.create_dataset(key, data=value.numpy() if isinstance(value, torch.Tensor) else value)


def keras_layers():
    return {
        "input_1": {},
        "conv": {"conv/kernel:0": ramp(1, 2, 2, 3, 2), "conv/bias:0": ramp(-2, 2)},
        "bn": {"bn/gamma:0": ramp(1, 2), "bn/beta:0": ramp(2, 2),
               "bn/moving_mean:0": ramp(3, 2), "bn/moving_variance:0": ramp(4, 2)},
        "dw": {"dw/depthwise_kernel:0": ramp(0, 2, 2, 2, 1)},
    }


def keras_files():
    def new(name):
        return h5py.File(FOLDER / name, "w", libver="earliest")

    with new("keras2.h5") as file:
        keras_group(file, keras_layers())
    with new("keras2_model.h5") as file:
        file.attrs["keras_version"] = b"2.4.0"
        file.create_group("optimizer_weights")
        keras_group(file.create_group("model_weights"), keras_layers())
    with new("keras1.h5") as file:
        keras_group(file, {
            "block1_conv1": {"block1_conv1_W_1:0": ramp(1, 2, 2, 3, 2),
                             "block1_conv1_b_1:0": ramp(-2, 2)},
            "block1_pool": {},
            "bn2a_branch2a": {
                "bn2a_branch2a_gamma_1:0": ramp(1, 2), "bn2a_branch2a_beta_1:0": ramp(2, 2),
                "bn2a_branch2a_running_mean_1:0": ramp(3, 2),
                "bn2a_branch2a_running_std_1:0": ramp(4, 2)}})
    with new("keras3.h5") as file:  # Keras 3's names in the legacy format, as texts of any length
        keras_group(file, {"conv": {"conv/kernel": ramp(1, 2, 2, 3, 2), "conv/bias": ramp(-2, 2)}})
        file.attrs["layer_names"] = ["conv"]
        file["conv"].attrs["weight_names"] = ["conv/kernel", "conv/bias"]
    with new("keras_nested.h5") as file:
        keras_group(file, {
            "encoder": {"block1_conv1/kernel:0": ramp(1, 1, 1, 3, 2),
                        "block1_conv1/bias:0": ramp(-2, 2),
                        "stage/block1_bn/gamma:0": ramp(1, 2)},
            "conv2d_7": {"conv2d_7_1/kernel:0": ramp(0, 1, 1, 2, 1), "conv2d_7_1/bias:0": ramp(3, 1)}})
    with new("keras_chunked.h5") as file:
        keras_group(file, keras_layers())
        del file.attrs["layer_names"]
        file.attrs["layer_names0"] = np.array([b"input_1", b"conv"])
        file.attrs["layer_names1"] = np.array([b"bn", b"dw"])
    with new("keras_types.h5") as file:
        keras_group(file, {"dense": {"dense/kernel:0": ramp(0, 2, 3).numpy().astype(">f8"),
                                     "dense/bias:0": ramp(1, 3).numpy().astype("<f2")}})
    with new("not_keras.h5") as file:
        file.create_dataset("measurements", data=np.zeros(3))
    with new("keras_links.h5") as file:  # weights that lie in other files
        keras_group(file, {"conv": {"conv/kernel:0": ramp(1, 2)}})
        del file["conv/conv/kernel:0"]
        file["conv/conv/kernel:0"] = h5py.ExternalLink("keras2.h5", "/conv/conv/bias:0")
    with new("keras_external.h5") as file:
        keras_group(file, {"conv": {"conv/kernel:0": ramp(1, 2)}})
        del file["conv/conv/kernel:0"]
        file.create_dataset("conv/conv/kernel:0", (2,), "<f4", external=[("zip.pth", 0, 8)])


def keras_vgg16_file():
    """keras-applications' VGG16 without its top, in the layout of its file (Keras 1). Kernels but
    the first hold one number, which HDF5 keeps as a fill value: full size in a few kilobytes."""
    with h5py.File(FOLDER / "keras_vgg16.h5", "w", libver="earliest") as file:
        layers, kernels, inputs = {"input_1": {}}, {}, 3
        for block, (convs, channels) in enumerate(
                ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), start=1):
            for conv in range(1, convs + 1):
                name = f"block{block}_conv{conv}"
                layers[name] = {f"{name}_W_1:0": np.zeros(0, np.float32),
                                f"{name}_b_1:0": ramp(len(kernels), channels)}
                kernels[name] = (3, 3, inputs, channels)
                inputs = channels
            layers[f"block{block}_pool"] = {}
        keras_group(file, layers)
        for number, (name, shape) in enumerate(kernels.items()):
            del file[f"{name}/{name}_W_1:0"]
            kernel = file[name].create_dataset(f"{name}_W_1:0", shape, "<f4", fillvalue=number / 8)
            if number == 0:
                kernel[...] = ramp(0, *shape)


def keras3_files():
    """The layout of Keras 3's model.save_weights("NAME.weights.h5")."""

    def layer(file, path, own_name, *variables):
        group = file.require_group(f"/{path}").create_group("vars")
        if own_name:
            group.attrs["name"] = own_name
        for i, value in enumerate(variables):
            group.create_dataset(str(i), data=np.asarray(value))

    norm = [ramp(first, 2) for first in (1, 2, 3, 4)]
    with h5py.File(FOLDER / "keras3.weights.h5", "w", libver="earliest") as file:
        layer(file, "layers/input_layer", "input_layer")
        layer(file, "layers/conv2d", "block1_conv1", ramp(1, 2, 2, 3, 2), ramp(-2, 2))
        layer(file, "layers/conv2d_10", "head", ramp(0, 1, 1, 2, 1), ramp(3, 1))
        layer(file, "layers/conv2d_2", "conv2d_2", ramp(0, 1, 1, 2, 2))
        layer(file, "layers/batch_normalization", "bn", *norm)
        layer(file, "layers/batch_normalization_1", "bn_data", *norm[1:])
        layer(file, "layers/depthwise_conv2d", "dw", ramp(0, 2, 2, 2, 1))
        layer(file, "layers/dropout", "dropout")
        layer(file, "layers/dropout/seed_generator", "seed_generator", np.array([7, 9], np.uint32))
        layer(file, "layers/normalization", "scaling", ramp(0, 3), ramp(1, 3), np.int32(0))
        layer(file, "layers/sequential", "sequential")
        layer(file, "layers/sequential/layers/separable_conv2d", "sep",
              ramp(0, 2, 2, 2, 1), ramp(1, 1, 1, 2, 2), ramp(2, 2))
        layer(file, "layers/sequential/layers/dense", "dense", ramp(0, 2, 3), ramp(1, 3))
        layer(file, "loss_tracker", "mean", np.float32(0.5), np.float32(2))
        layer(file, "optimizer", "adam", np.int64(3), np.float32(1e-3), ramp(0, 2, 2), ramp(0, 2))
        layer(file, "", "functional")
    with h5py.File(FOLDER / "keras3_unnamed.weights.h5", "w", libver="earliest") as file:
        layer(file, "_layer_checkpoint_dependencies/conv2d_1", None, ramp(5, 1, 1, 2, 2))
        layer(file, "_layer_checkpoint_dependencies/conv2d", None, ramp(1, 2, 2, 3, 2), ramp(-2, 2))
        layer(file, "stem", None, ramp(0, 1, 1, 2, 1))
        file["stem"].attrs["name"] = "conv2d_7"
        layer(file, "", None)
    with h5py.File(FOLDER / "keras3_unknown.weights.h5", "w", libver="earliest") as file:
        layer(file, "layers/mixture", "mixture", ramp(0, 2), ramp(1, 2), ramp(2, 2))


def numpy_files():
    folder = FOLDER / "numpy"
    (folder / "bn").mkdir(parents=True)
    np.save(folder / "conv.weight.npy", ramp(1, 2, 3, 2, 2).numpy())
    np.save(folder / "fortran.npy", np.asfortranarray(ramp(0, 3, 4).numpy()))
    np.save(folder / "half.npy", ramp(0, 5).numpy().astype("<f2"))
    np.save(folder / "double.npy", ramp(0, 5).numpy().astype("<f8"))
    np.save(folder / "int64.npy", np.arange(-2, 3))
    np.save(folder / "scalar.npy", np.float32(0.25))
    np.save(folder / "bn" / "gamma.npy", ramp(1, 2).numpy())
    (folder / "README.txt").write_text("Not an array.\n")
    np.savez(FOLDER / "arrays.npz", **{"conv.weight": ramp(1, 2, 3, 2, 2).numpy(),
                                       "bn/gamma": ramp(1, 2).numpy()})
    np.savez_compressed(FOLDER / "compressed.npz", w=np.zeros(100, np.float32))


def main():
    warnings.simplefilter("ignore")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    torch_files()
    evil_files()
    keras_files()
    keras_vgg16_file()
    keras3_files()
    numpy_files()
    safetensors.torch.save_file(
        {"model." + key: value for key, value in conv_state().items()},
        FOLDER / "prefixed.safetensors")


if __name__ == "__main__":
    main()
