"""Training steps on a GPU: Macadam against PyTorch, in turns, in one run.

  python3 bench/peers/gpu_training.py build/release -o FOLDER [--networks NAME...]
                                      [--batches N...] [--size WxH] [--device cpu]

PyTorch: eager and torch.compile, bf16 autocast, channels_last, cudnn.benchmark, fused AdamW. Both
sides take the mean cross-entropy of random labels, and queue steps without waiting for any.
PyTorch's batch lies normalised in device memory, which is its best case; Macadam uploads and
normalises its own in every step. First both must compute the same scores from the same weights.

A ratio is that of a round, in which each side measures once; the figure is the median over rounds.
FOLDER gets matrix_rate.json, scores_NETWORK.json and training_NETWORK_bBATCH.json; an interrupted
run goes on where it was. Runs under a Python with PyTorch and NumPy.
"""

import statistics
import sys
import time

import torch
from torch.nn import functional as F

import torch_networks
from side_by_side import (CLASSES, Program, Results, alternate, machine, matrix_rate, median_of,
                          parser_of, same_scores, set_up, size_of, synchronize)

CHAIN_SECONDS = 0.25  # as bench_training_step
LONGEST_CHAIN = 200


class TorchTraining:
    """A network in training on one batch."""

    def __init__(self, options, name, batch, compiled):
        self.device, self.batch, self.seconds = options.device, batch, options.seconds
        width, height = options.size
        before = self.reset_memory()
        model = torch_networks.make(name, CLASSES).to(self.device)
        self.model = model.to(memory_format=torch.channels_last).train()
        self.forward = torch.compile(self.model, dynamic=False) if compiled else self.model
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)
        image = torch.randn(batch, 3, height, width, device=self.device)
        self.image = image.to(memory_format=torch.channels_last)
        self.label = torch.randint(CLASSES, (batch, height, width), device=self.device)
        self.chain_seconds(5 if self.device == "cuda" else 1)
        self.chain = max(1, min(LONGEST_CHAIN, int(CHAIN_SECONDS / self.chain_seconds(1))))
        self.memory = self.peak_memory() - before

    def reset_memory(self):
        if self.device != "cuda":
            return 0
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()

    def peak_memory(self):
        return torch.cuda.max_memory_allocated() if self.device == "cuda" else 0

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device, torch.bfloat16):
            loss = F.cross_entropy(self.forward(self.image), self.label)
        loss.backward()
        self.optimizer.step()

    def chain_seconds(self, steps):
        synchronize(self.device)
        start = time.perf_counter()
        for _ in range(steps):
            self.step()
        synchronize(self.device)
        return time.perf_counter() - start

    def measure(self):
        times, begin = [], time.perf_counter()
        while len(times) < 3 or time.perf_counter() - begin < self.seconds:
            times.append(self.chain_seconds(self.chain) / self.chain)
        return {"milliseconds": 1e3 * statistics.median(times)}


def compare(options, name, batch):
    width, height = options.size
    with Program(options.programs / "bench_training_step", network=name, batch=batch,
                 size=f"{width}x{height}", classes=CLASSES, precision="bf16",
                 device=options.device, seconds=options.seconds) as macadam:
        macadam.wait_until_ready()
        sides, memory, failures = {"macadam": macadam.measure}, {}, {}
        for peer in ("eager",) if options.no_compile else ("eager", "compile"):
            torch._dynamo.reset()  # pylint: disable=protected-access
            try:
                training = TorchTraining(options, name, batch, peer == "compile")
            except Exception as error:  # pylint: disable=broad-exception-caught
                failures[peer] = f"{type(error).__name__}: {error}"[:500]
                continue
            sides[peer], memory[peer] = training.measure, training.memory / 2 ** 20
        found = alternate(options.rounds, sides)

    ours = found.pop("macadam")
    result = {"network": name, "batch": batch, "size": [height, width], **machine(options.device),
              "library": ours[0]["library"], "flops": ours[0]["flops"],
              "sides": {"macadam": {"milliseconds": median_of(ours, "milliseconds"),
                                    "rounds": [m["milliseconds"] for m in ours],
                                    "memory_mib": ours[0]["memory_mib"]}},
              "ratios": {}, "failures": failures}
    for peer, measurements in found.items():
        ratios = [m["milliseconds"] / o["milliseconds"] for m, o in zip(measurements, ours)]
        result["ratios"][peer] = {"median": statistics.median(ratios), "rounds": ratios}
        result["sides"][peer] = {"milliseconds": median_of(measurements, "milliseconds"),
                                 "rounds": [m["milliseconds"] for m in measurements],
                                 "memory_mib": memory[peer]}
    for side in result["sides"].values():
        side["images_per_second"] = 1e3 * batch / side["milliseconds"]
        side["tflops"] = 1e-9 * result["flops"] / side["milliseconds"]
    return result


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--size", type=size_of, default=(1024, 512), help="width x height")
    options = parser.parse_args()
    set_up(options)
    results = Results(options)

    most = results.get("matrix_rate", lambda: matrix_rate(options.device))
    most = most["tflops"] if most else float("nan")
    for batch in options.batches:
        for name in options.networks:
            if not results.get(f"scores_{name}", lambda n=name: same_scores(options, n)):
                continue
            result = results.get(f"training_{name}_b{batch}",
                                 lambda n=name, b=batch: compare(options, n, b))
            if options.device == "cuda":
                torch.cuda.empty_cache()
            if not result:
                continue
            print(f"{name}, batch {batch}: " + "; ".join(
                f"{side} {m['milliseconds']:.2f} ms, {m['images_per_second']:.1f} images/s, "
                f"{m['tflops']:.3g} TFLOP/s ({100 * m['tflops'] / most:.0f} % of a product), "
                f"{m['memory_mib']:.0f} MiB" for side, m in result["sides"].items())
                + "; " + ", ".join(f"{r['median']:.2f}x {peer}"
                                   for peer, r in result["ratios"].items())
                + "".join(f"; {peer} FAILED: {text}"
                          for peer, text in result["failures"].items()), flush=True)
    sys.exit(results.failed)


if __name__ == "__main__":
    main()
