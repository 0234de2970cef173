#!/usr/bin/env python3
"""Writes networks/*.json and names/*.txt: what PyTorch computes for each network, in float64.

Weights and images follow a rule (networks_rule.py), so that a file holds results only. It needs
torch, torchvision, segmentation_models_pytorch, timm, efficientnet_pytorch,
efficientnet_lite_pytorch, h5py and safetensors; the project does not.

    make_network_goldens.py [PATTERN]     goldens of the networks whose names match (default: all)
    make_network_goldens.py --names       lists of the parameter names of other tools
    make_network_goldens.py --files DIR   weight files as other tools write them, of full size
    make_network_goldens.py --strict FILE NETWORK
                                          loads a safetensors file with strict=True and prints how
                                          far its logits are from the golden
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F

import networks_rule as rule
from networks_registry import CLASSES, NETWORKS, select

FOLDER = pathlib.Path(__file__).parent / "networks"
SAMPLES = 96  # logits kept of each case
GRADIENT_SAMPLES = 4  # gradient entries kept of each parameter
ROUNDING = 1e-12  # the norm of a gradient that is none
GRADIENT_NETWORKS = ("vgg16_unet", "resnet34_unet", "mobilenet_v3_small_unet", "xception_unet",
                     "inception_resnet_v2_unet", "se_resnet50_unet", "ddrnet23_slim",
                     "densenet121_unet", "pidnet_s", "fast_scnn", "swiftnet_rn18", "gcnet_s",
                     "inception_v4_unet", "keras_mobilenetv2_unet", "keras_densenet121_unet",
                     "keras_seresnet50_unet", "keras_inceptionv3_unet")
DISTURBED = 16  # float32 runs whose weights differ by their rounding
AUXILIARY = 0.4  # weight of the loss of an auxiliary head


def rounded(value):
    """Nine significant digits: more than float32 holds."""
    return float(f"{float(value):.9g}")


def with_rule_weights(network, build=None, norm_shift=0.0):
    """The network in float64 with the weights of the rule."""
    module = (build or network.build)()
    state = module.state_dict()
    names = network.reference().state_dict() if network.reference else state
    with torch.no_grad():
        for name, values in zip(names, state.values(), strict=True):
            assert values.shape == names[name].shape, name
            if not name.endswith("num_batches_tracked"):
                shape = tuple(values.shape)
                of_norm = name.removesuffix("bias") + "running_mean" in names
                shift = norm_shift if of_norm else 0.0
                values.copy_(torch.from_numpy(
                    rule.tensor(name, shape, network.weight_gain, shift)))
    return module.double()


def compute_logits(module, batch, height, width):
    """The logits in NHWC order, flat."""
    image = torch.from_numpy(rule.image(batch, height, width)).double()
    with torch.no_grad():
        y = module.eval()(image)
    if y.dim() == 4:
        assert y.shape[2:] == image.shape[2:], y.shape
        y = y.permute(0, 2, 3, 1)
    return y.numpy().ravel()


def make_golden(network):
    module = with_rule_weights(network)
    cases = []
    for height, width in network.sizes:
        y = compute_logits(module, 1, height, width)
        cases.append({
            "height": height,
            "width": width,
            "batch": 1,
            "max_abs": rounded(np.abs(y).max()),
            "mean": rounded(y.mean()),
            "samples": [rounded(v) for v in y[rule.sample_indices("samples", SAMPLES, y.size)]],
        })
    running = ("running_mean", "running_var")
    return {
        "network": network.name,
        "options": network.options,
        "classes": network.classes,
        "weight_gain": network.weight_gain,
        "parameters": sum(p.numel() for p in module.parameters()),
        "buffers": sum(b.numel() for n, b in module.named_buffers() if n.endswith(running)),
        "cases": cases,
    }


def gradients_of(network, dtype, batch, height, width, seed=None):
    """The loss (mean cross-entropy over the valid pixels, with the batch's own statistics; that of
    an auxiliary head too) and the gradient of each parameter, flat. With a seed the weights are
    disturbed by less than float32 rounds."""
    module = with_rule_weights(network, network.with_auxiliary, network.norm_shift)
    module = module.train().to(dtype)
    if seed is not None:
        source = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in module.parameters():
                noise = torch.rand(p.shape, generator=source, dtype=torch.float64) * 2 - 1
                p.mul_(1 + noise.to(dtype) * 2**-23)
    image = torch.from_numpy(rule.image(batch, height, width)).to(dtype)
    labels = torch.from_numpy(rule.labels(batch, height, width, CLASSES))
    scores = module(image)
    scores, auxiliary = scores if network.with_auxiliary else (scores, None)
    loss = F.cross_entropy(scores, labels, ignore_index=255)
    if auxiliary is not None:
        loss = loss + AUXILIARY * F.cross_entropy(auxiliary, labels, ignore_index=255)
    loss.backward()
    gradients = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
    return loss.item(), {n: g.double().numpy().ravel() for n, g in gradients.items()}


def make_gradient_golden(network):
    """In float64. Where a ReLU or a pooling decides otherwise in float32 the gradient jumps: how
    far float32 gradients lie from these is a property of the network, and a matter of chance, of
    the order in which a kernel sums. The largest error among runs whose weights differ by their
    rounding is kept as "fp32_rms", in units of a parameter's typical gradient. A shift that all its
    readers normalise away has no gradient: what is computed is rounding, and the norm kept 0."""
    batch, height, width = network.gradient_batch
    loss, exact = gradients_of(network, torch.float64, batch, height, width)
    gradients, places = {}, {}
    for name, flat in exact.items():
        norm = np.linalg.norm(flat)
        if norm < ROUNDING:
            gradients[name] = {"norm": 0, "samples": []}
            continue
        places[name] = rule.sample_indices("gradient:" + name, GRADIENT_SAMPLES, flat.size)
        samples = [rounded(v) for v in flat[places[name]]]
        gradients[name] = {"norm": rounded(norm), "samples": samples}

    def rms_of(seed):
        _, single = gradients_of(network, torch.float32, batch, height, width, seed)
        errors = [(single[name][at] - exact[name][at]) * np.sqrt(exact[name].size)
                  / np.linalg.norm(exact[name]) for name, at in places.items()]
        return np.sqrt(np.mean(np.square(np.concatenate(errors))))

    auxiliary = {"auxiliary": str(AUXILIARY)} if network.with_auxiliary else {}
    return {
        "network": network.name,
        "options": network.options | auxiliary,
        "classes": network.classes,
        "weight_gain": network.weight_gain,
        "norm_shift": network.norm_shift,
        "batch": batch,
        "height": height,
        "width": width,
        "loss": rounded(loss),
        "fp32_rms": rounded(max(map(rms_of, (None, *range(DISTURBED))))),
        "gradients": gradients,
    }


def write(name, golden):
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(golden) + "\n")
    summary = {k: v for k, v in golden.items() if k not in ("cases", "gradients")}
    summary["max_abs"] = [case["max_abs"] for case in golden.get("cases", [])]
    print(name, summary, flush=True)


def check_strictly(file, name):
    """Loads a file that another program wrote, and compares its logits with the golden's."""
    import safetensors.torch

    module = NETWORKS[name].build()
    module.load_state_dict(safetensors.torch.load_file(file), strict=True)
    module.double()
    for case in json.loads((FOLDER / f"{name}.json").read_text())["cases"]:
        y = compute_logits(module, case["batch"], case["height"], case["width"])
        error = y[rule.sample_indices("samples", SAMPLES, y.size)] - np.array(case["samples"])
        relative = np.abs(error).max() / case["max_abs"]
        print(f"{name} {case['height']}x{case['width']}: largest error {relative:.3g} of max_abs")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", help="regular expression for names of goldens")
    parser.add_argument("--names", action="store_true")
    parser.add_argument("--files", metavar="DIR", type=pathlib.Path)
    parser.add_argument("--strict", nargs=2, metavar=("FILE", "NETWORK"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    if arguments.strict:
        check_strictly(*arguments.strict)
    elif arguments.names or arguments.files:
        import networks_files

        if arguments.names:
            networks_files.write_names(FOLDER.parent / "names")
        if arguments.files:
            networks_files.write_files(arguments.files)
    else:
        pattern = arguments.pattern or ".*"
        for name, network in select(pattern).items():
            write(name, make_golden(network))
        for name in GRADIENT_NETWORKS:
            if select(pattern).get(name) or arguments.pattern == f"{name}_gradients":
                write(f"{name}_gradients", make_gradient_golden(NETWORKS[name]))


if __name__ == "__main__":
    sys.exit(main())
