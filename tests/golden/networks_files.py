"""Weight files as torchvision, timm, smp and Keras write them, and lists of their tensors.

Every tensor has the rule's values for its canonical name, so that a network which loads such a file
by name, and has the rule's values elsewhere, must give the golden's logits.
"""

import collections
import re

import efficientnet_lite_pytorch
import efficientnet_pytorch
import h5py
import numpy as np
import safetensors.torch
import timm
import torch
import torch.fx
import torchvision
from torch import nn

import networks_rule as rule
from networks_registry import NETWORKS, SMP_ENCODERS, TIMM_ENCODERS, smp_unet

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


class LayerTracer(torch.fx.Tracer):
    """Sees a twin as the graph of its layers."""

    def is_leaf_module(self, module, name):
        return not list(module.children())


def saved_order(unet):
    """The layers of a twin in the order in which Keras saves them: those farther from the output
    first; of those equally far the ones that a walk from the output to the inputs meets first."""
    nodes = list(LayerTracer().trace(unet).nodes)
    distance = dict.fromkeys(nodes, 0)
    for node in reversed(nodes):
        for source in node.all_input_nodes:
            distance[source] = max(distance[source], distance[node] + 1)
    met, walk = {}, [nodes[-1]]
    while walk:
        node = walk.pop()
        if node not in met:
            met[node] = len(met)
            walk += reversed(node.all_input_nodes)
    nodes.sort(key=lambda node: (-distance[node], met[node]))
    layers = [node.target for node in nodes if node.op == "call_module"]
    return {name: unet.get_submodule(name) for name in layers}


def automatic_names(unet):
    """Keras' names of the encoder's layers that the library leaves unnamed: each kind is numbered in
    the order in which the layers are made."""
    names, numbers = {}, collections.Counter()
    named = getattr(unet.encoder, "KERAS_NAMES", ".*")
    for name, layer in unet.encoder.named_children():
        if isinstance(layer, nn.BatchNorm2d):
            base = "batch_normalization"
        elif isinstance(layer, nn.Conv2d):
            base = "conv2d" if layer.groups == 1 else "depthwise_conv2d"
        else:
            continue
        if not re.fullmatch(named, name):
            numbers[base] += 1
            names[f"encoder.{name}"] = f"{base}_{numbers[base]}"
    return names


def keras_tensors(unet, parts=("encoder", "decoder", "head")):
    """(Keras' layer, kind, Keras' shape, canonical name, axes of PyTorch's) of a twin's tensors."""
    automatic = automatic_names(unet)
    for path, layer in saved_order(unet).items():
        part, name = path.split(".", 1)
        if part not in parts:
            continue
        for kind, values in [*layer.named_parameters(recurse=False),
                             *layer.named_buffers(recurse=False)]:
            if kind == "num_batches_tracked":
                continue
            keras_kind, axes = KERAS_KINDS.get(kind, "kernel"), (0,)
            if isinstance(layer, nn.BatchNorm2d):
                keras_kind = {"weight": "gamma", "bias": "beta"}.get(kind, keras_kind)
            elif kind == "weight" and layer.groups > 1:
                keras_kind, axes = "depthwise_kernel", (2, 3, 0, 1)
            elif kind == "weight":
                axes = (2, 3, 1, 0)
            shape = tuple(values.shape[axis] for axis in axes)
            yield automatic.get(path, name), keras_kind, shape, f"{path}.{kind}", axes


def write_keras(path, unet, gain, parts=("encoder", "decoder", "head"), rename=None):
    """As Model.save_weights writes, with some layers that have no weights. `rename` gives layers
    names that other versions have."""
    layers = {"data": {}}
    for layer, kind, shape, name, axes in keras_tensors(unet, parts):
        layer = (rename or {}).get(layer, layer)
        if "conv" in layer and layer not in layers:
            layers[f"zero_padding2d_{len(layers)}"] = {}
        own_shape = tuple(shape[axes.index(axis)] for axis in range(len(axes)))
        values = rule.tensor(name, own_shape, gain).transpose(axes)
        layers.setdefault(layer, {})[kind] = np.ascontiguousarray(values)
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

    def write_keras_of(name, file, parts, rename=None):
        network = NETWORKS[f"keras_{name}_unet"]
        write_keras(folder / file, network.build(), network.weight_gain, parts, rename)

    encoder, whole = ("encoder",), ("encoder", "decoder", "head")
    write_keras_of("resnet34", "keras_resnet34.h5", encoder)
    write_keras_of("vgg16", "keras_vgg16_unet.h5", whole)
    write_keras_of("mobilenet", "keras_mobilenet.h5", encoder)
    write_keras_of("mobilenetv2", "keras_mobilenetv2_unet.h5", whole)
    write_keras_of("densenet121", "keras_densenet121.h5", encoder)
    write_keras_of("densenet121", "keras_densenet121_legacy_unet.h5", whole,
                   {"conv1_conv": "conv1/conv", "conv1_bn": "conv1/bn"})
    write_keras_of("seresnet50", "keras_seresnet50.h5", encoder)
    write_keras_of("inceptionv3", "keras_inceptionv3.h5", encoder)
    write_keras_of("inceptionv3", "keras_inceptionv3_unet.h5", whole)
    write_keras_of("inceptionresnetv2", "keras_inceptionresnetv2_unet.h5", whole)


def mmsegmentation(backbone, head):
    """A network of mmsegmentation (which needs mmcv and mmengine)."""
    module = nn.Module()
    module.backbone, module.decode_head = backbone, head
    return module


def write_mmsegmentation_names(write_module):
    from mmseg.models.backbones import DDRNet, PIDNet
    from mmseg.models.decode_heads import DDRHead, PIDHead

    write_module("mmsegmentation_ddrnet23_slim",
                 mmsegmentation(DDRNet(3, 32), DDRHead(128, 64, num_classes=8)))
    pidnet = mmsegmentation(PIDNet(3, 32, num_stem_blocks=2, num_branch_blocks=3),
                            PIDHead(128, 128, num_classes=8))
    # Trained elsewhere than the authors', and therefore not loaded.
    for part in ("p_head", "d_head", "p_cls_seg", "d_cls_seg"):
        delattr(pidnet.decode_head, part)
    write_module("mmsegmentation_pidnet_s", pidnet)


def write_names(folder):
    """One list for each network of each tool: "name<TAB>shape", and for Keras "<TAB>our name". Those
    of one EfficientNet agree line by line."""
    folder.mkdir(exist_ok=True)

    def write(name, rows):
        lines = ["\t".join([row, "x".join(map(str, shape)), *own]) for row, shape, *own in rows]
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))

    def write_module(name, module):
        write(name, tensors_of(module).items())

    def write_smp_unet(encoder):
        write_module(f"smp_{encoder}_unet", NETWORKS[f"{encoder}_unet"].build())

    for encoder in ("mobilenet_v3_large", "mobilenet_v3_small"):
        write_module(f"torchvision_{encoder}", getattr(torchvision.models, encoder)())
    encoders = ("resnet18", "resnet34", "resnet50", "resnet101", "resnext50_32x4d",
                "vgg16", "vgg16_bn", "mobilenet_v2", "efficientnet_b0", "efficientnet_b3",
                "densenet121")
    for encoder in encoders:
        write_module(f"torchvision_{encoder}", getattr(torchvision.models, encoder)())
        write_smp_unet(encoder)
    # timm's Cadene networks have his names, and a classifier of another one.
    for port in (*TIMM_ENCODERS.values(), "legacy_xception", "inception_v4", "inception_resnet_v2"):
        write_module(f"timm_{port}", timm.create_model(port))
    for encoder in (*TIMM_ENCODERS, *SMP_ENCODERS, "xception"):
        write_smp_unet(encoder)
    for encoder in ("se_resnet50", "tu_seresnet50", "se_resnext50_32x4d", "tu_densenet121"):
        write_smp_unet(encoder)
    write_module("smp_tu_resnext50_32x4d_unet", smp_unet("tu-resnext50_32x4d")())
    for name in ("legacy_seresnet50", "seresnet50", "legacy_seresnext50_32x4d",
                 "seresnext50_32x4d", "resnext50_32x4d", "densenet121"):
        write_module(f"timm_{name}", timm.create_model(name))
    # The names in the files that torchvision offers, which it renames when it loads them.
    dotted = [(re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name), shape)
              for name, shape in tensors_of(torchvision.models.densenet121()).items()]
    write("torchvision_densenet121_file", dotted)
    for number in ("b0", "b3", "lite0", "lite2"):
        package = efficientnet_lite_pytorch if "lite" in number else efficientnet_pytorch
        reference = package.EfficientNet.from_name(f"efficientnet-{number}")
        port = timm.create_model(f"tf_efficientnet_{number}")
        by_order(port, reference)
        write_module(f"timm_tf_efficientnet_{number}", port)
        write_module(f"efficientnet_pytorch_{number}", reference)

    for name in ("ddrnet23_slim", "ddrnet39", "pidnet_s", "fast_scnn", "gcnet_s"):
        write_module(f"authors_{name}", NETWORKS[name].with_auxiliary())
    write_module("authors_swiftnet_rn18", NETWORKS["swiftnet_rn18"].build())
    try:
        write_mmsegmentation_names(write_module)
    except ImportError as error:
        print(f"left as they were: the names of mmsegmentation ({error})")

    for backbone in ("resnet34", "efficientnet_b0", "vgg16", "mobilenet", "mobilenetv2",
                     "densenet121", "seresnet50", "inceptionv3", "inceptionresnetv2"):
        network = f"keras_{backbone}_unet"
        write(network, [(f"{layer}/{kind}", shape, name) for layer, kind, shape, name, _
                        in keras_tensors(NETWORKS[network].build())])
