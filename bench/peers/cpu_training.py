"""A training step on the CPU: Macadam against PyTorch, in turns, in one run.

  python3 bench/peers/cpu_training.py build/release/bench_training_step [--network NAME]
                                      [--rounds N] [-o FILE.md]

Both take random data that is in memory already, AdamW and cross-entropy, bf16 (PyTorch: autocast,
channels_last), and all cores. The figure is the median over rounds of the ratio within a round.
Runs under the Python that has PyTorch; networks that torch_networks.py lacks are those of
segmentation_models_pytorch there.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import torch
from torch.nn import functional as F

import torch_networks


def torch_model(options):
    if options.network in torch_networks.NETWORKS:
        return torch_networks.NETWORKS[options.network](options.classes)
    import segmentation_models_pytorch as smp  # pylint: disable=import-outside-toplevel
    encoder = options.network.removesuffix("_unet")
    if encoder.startswith("efficientnet"):
        encoder = encoder.replace("_", "-")
    return smp.Unet(encoder, encoder_weights=None, classes=options.classes)


def torch_milliseconds(options, compiled):
    torch.manual_seed(1)
    model = torch_model(options).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    shape = (options.batch, 3, options.height, options.width)
    image = torch.randn(shape).to(memory_format=torch.channels_last)
    label = torch.randint(options.classes, (shape[0], *shape[2:]))
    forward = torch.compile(model) if compiled else model

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16"):
            loss = F.cross_entropy(forward(image), label)
        loss.backward()
        optimizer.step()

    for _ in range(3):
        step()
    times, begin = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < options.seconds:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def macadam(options):
    command = [options.program, "--network", options.network, "--batch", str(options.batch), "--size",
               f"{options.width}x{options.height}", "--classes", str(options.classes),
               "--precision", options.precision, "--device", "cpu", "--seconds",
               str(options.seconds)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--network", default="unet_mini")
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--classes", type=int, default=8)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="also torch.compile")
    parser.add_argument("-o", "--output", help="append a Markdown table to this file")
    options = parser.parse_args()

    torch.set_num_threads(os.cpu_count())
    peers = {"PyTorch eager": False}
    if options.compile:
        peers["torch.compile"] = True
    ratios = {name: [] for name in peers}
    ours = []
    for number in range(options.rounds):
        ours.append(macadam(options))
        for name, compiled in peers.items():
            other = torch_milliseconds(options, compiled)
            ratios[name].append(other / ours[-1]["milliseconds"])
            print(f"round {number + 1}: macadam {ours[-1]['milliseconds']:.0f} ms, "
                  f"{name} {other:.0f} ms, ratio {ratios[name][-1]:.2f}", file=sys.stderr)

    outside = statistics.median(o["share_outside_convolution"] for o in ours)
    lines = [f"{options.network}, {options.precision}, batch {options.batch} of "
             f"{options.width}x{options.height}, {os.cpu_count()} cores ({ours[0]['device']}), "
             f"{ours[0]['library']}, PyTorch {torch.__version__}; "
             f"{100 * outside:.0f}% of Macadam's step is outside convolution.", "",
             "| against | speed of Macadam (median of rounds) | rounds |", "|---|--:|---|"]
    for name, values in ratios.items():
        lines.append(f"| {name} | {statistics.median(values):.2f}x | "
                     + ", ".join(f"{v:.2f}" for v in values) + " |")
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if options.output:
        with open(options.output, "a", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
