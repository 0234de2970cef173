"""Weight files as torchvision, timm, smp and Keras write them, and lists of their tensors.

Every tensor has the rule's values for its canonical name, so that a network which loads such a file
by name, and has the rule's values elsewhere, must give the golden's logits.
"""

import efficientnet_lite_pytorch
import efficientnet_pytorch
import h5py
import numpy as np
import safetensors.torch
import timm
import torch
import torchvision
from torch import nn

import networks_rule as rule
from networks_registry import NETWORKS, SMP_ENCODERS, TIMM_ENCODERS

# Of a classifier: a segmentation network has no such tensors.
CLASSIFIER = ("fc.", "_fc.", "classifier.")
KERAS_KINDS = {
    "bias": "bias",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def tensors_of(module):
    """name -> shape, in the order of the module."""
    return {
        name: tuple(values.shape)
        for name, values in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def canonical(name):
    return name if name.startswith(CLASSIFIER) else "encoder." + name


def by_order(module, reference):
    """name -> canonical name, for a port that keeps the order of efficientnet_pytorch's tensors."""
    tensors, expected = tensors_of(module), tensors_of(reference)
    assert list(tensors.values()) == list(expected.values())
    return dict(zip(tensors, map(canonical, expected)))


def fill(module, names=None, gain=1.0):
    """The state dict with the rule's values in float32."""
    state = module.state_dict()
    names = names or {name: canonical(name) for name in state}
    for name, values in state.items():
        if not name.endswith("num_batches_tracked"):
            values.copy_(torch.from_numpy(rule.tensor(names[name], tuple(values.shape), gain)))
    return state


def keras_tensors(module, prefix, gain=1.0):
    """(layer, kind, values) of a twin's part as Keras stores it, layer by layer."""
    for layer_name, layer in module.named_modules():
        for name, values in [*layer.named_parameters(recurse=False),
                             *layer.named_buffers(recurse=False)]:
            if name == "num_batches_tracked":
                continue
            kind = KERAS_KINDS.get(name, "kernel")
            array = rule.tensor(f"{prefix}{layer_name}.{name}", tuple(values.shape), gain)
            if isinstance(layer, nn.BatchNorm2d):
                kind = {"weight": "gamma", "bias": "beta"}.get(name, kind)
            elif name == "weight" and layer.groups > 1:
                kind, array = "depthwise_kernel", array.transpose(2, 3, 0, 1)
            elif name == "weight":
                array = array.transpose(2, 3, 1, 0)
            yield layer_name, kind, np.ascontiguousarray(array)


def write_keras(path, module, prefix, gain):
    """As Model.save_weights writes, with some layers that have no weights."""
    layers = {"data": {}}
    for layer, kind, values in keras_tensors(module, prefix, gain):
        if "conv" in layer and layer not in layers:
            layers[f"zero_padding2d_{len(layers)}"] = {}
        layers.setdefault(layer, {})[kind] = values
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.2.4"
        for layer, weights in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{kind}:0".encode() for kind in weights]
            for kind, values in weights.items():
                group.create_dataset(f"{layer}/{kind}:0", data=values)


def write_files(folder):
    folder.mkdir(parents=True, exist_ok=True)
    models = torchvision.models
    efficientnet = efficientnet_pytorch.EfficientNet.from_name("efficientnet-b0")

    gain = NETWORKS["resnet34_unet"].weight_gain
    torch.save(fill(models.resnet34(), gain=gain), folder / "torchvision_resnet34.pth")
    torch.save(fill(models.vgg16()), folder / "torchvision_vgg16_legacy.pth",
               _use_new_zipfile_serialization=False)
    port = models.efficientnet_b0()
    torch.save(fill(port, by_order(port, efficientnet)), folder / "torchvision_efficientnet_b0.pth")
    port = timm.create_model("tf_efficientnet_b0")
    safetensors.torch.save_file(fill(port, by_order(port, efficientnet)),
                                folder / "timm_efficientnet_b0.safetensors", {"format": "pt"})
    unet = NETWORKS["resnet34_unet"].build()
    torch.save(fill(unet, {name: name for name in unet.state_dict()}, gain),
               folder / "smp_resnet34_unet.pth")
    keras = NETWORKS["keras_resnet34_unet"]
    write_keras(folder / "keras_resnet34.h5", keras.build().encoder, "encoder.", keras.weight_gain)


def write_names(folder):
    """One list for each network of each tool: "name<TAB>shape". Those of one EfficientNet agree
    line by line."""
    folder.mkdir(exist_ok=True)

    def write(name, rows):
        text = "".join(f"{row}\t{'x'.join(map(str, shape))}\n" for row, shape in rows)
        (folder / f"{name}.txt").write_text(text)

    def write_module(name, module):
        write(name, tensors_of(module).items())

    def write_smp_unet(encoder):
        write_module(f"smp_{encoder}_unet", NETWORKS[f"{encoder}_unet"].build())

    for encoder in ("mobilenet_v3_large", "mobilenet_v3_small"):
        write_module(f"torchvision_{encoder}", getattr(torchvision.models, encoder)())
    encoders = ("resnet18", "resnet34", "resnet50", "vgg16", "vgg16_bn", "mobilenet_v2",
                "efficientnet_b0", "efficientnet_b3")
    for encoder in encoders:
        write_module(f"torchvision_{encoder}", getattr(torchvision.models, encoder)())
        write_smp_unet(encoder)
    # timm's Cadene networks have his names, and a classifier of another one.
    for port in (*TIMM_ENCODERS.values(), "legacy_xception", "inception_v4", "inception_resnet_v2"):
        write_module(f"timm_{port}", timm.create_model(port))
    for encoder in (*TIMM_ENCODERS, *SMP_ENCODERS, "xception"):
        write_smp_unet(encoder)
    for encoder in ("se_resnet50", "tu_seresnet50"):
        write_smp_unet(encoder)
    for name in ("legacy_seresnet50", "seresnet50"):
        write_module(f"timm_{name}", timm.create_model(name))
    for number in ("b0", "b3", "lite0"):
        package = efficientnet_lite_pytorch if number == "lite0" else efficientnet_pytorch
        reference = package.EfficientNet.from_name(f"efficientnet-{number}")
        port = timm.create_model(f"tf_efficientnet_{number}")
        by_order(port, reference)
        write_module(f"timm_tf_efficientnet_{number}", port)
        write_module(f"efficientnet_pytorch_{number}", reference)

    for network in ("keras_resnet34_unet", "keras_efficientnet_b0_unet"):
        unet = NETWORKS[network].build()
        rows = []
        for part in ("encoder", "decoder", "head"):
            tensors = keras_tensors(getattr(unet, part), part + ".")
            rows += [(f"{layer}/{kind}", values.shape) for layer, kind, values in tensors]
        write(network, rows)
