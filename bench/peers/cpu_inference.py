"""One photo on the CPU: Macadam against OpenVINO and torch.compile, in turns, in one run.

  python3 bench/peers/cpu_inference.py BUILD [--networks NAME ...] [--sizes WxH ...] [--rounds N]
                                       [--precision bf16|fp32] [--torch] [-o FILE.md]

BUILD holds macadam and bench_inference. All sides take the network's input and give one class a
pixel: OpenVINO the file that `macadam convert --argmax` wrote, hint latency, PyTorch the goldens'
module (tests/golden/networks_registry.py) in channels_last, compiled, with autocast in bf16. All
use --threads threads. The figure is the median over rounds of the ratio within a round: above 1
Macadam is faster. unet_mini is that of torch_networks.py. Needs openvino and numpy, with --torch what the goldens need.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import openvino

from onnx_networks import make_model

NETWORKS = ["unet_mini", "mobilenet_v3_large_unet", "ddrnet23_slim"]


def median_ms(call, seconds):
    times, begin = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


class Macadam:
    name = "macadam"

    def __init__(self, options, network, size, _):
        self.command = [options.build / "bench_inference", "--network", network, "--size", size,
                        "--precision", options.precision, "--device", "cpu",
                        "--seconds", str(options.seconds)]
        self.environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}

    def measure(self):
        done = subprocess.run(self.command, env=self.environment, check=True, capture_output=True)
        return json.loads(done.stdout)["p50_ms"]


class OpenVino:
    name = "openvino"

    def __init__(self, options, network, size, folder):
        build = options.build / "macadam"
        model = make_model(build, network, size, folder)
        subprocess.run([build, "convert", model, folder / "model.onnx", "--argmax"], check=True,
                       stdout=subprocess.DEVNULL)
        width, height = map(int, size.split("x"))
        graph = openvino.Core().read_model(folder / "model.onnx")
        graph.reshape([1, 3, height, width])
        precision = {"bf16": "bf16", "fp32": "f32"}[options.precision]
        compiled = openvino.Core().compile_model(
            graph, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision,
                           "INFERENCE_NUM_THREADS": options.threads})
        self.request, self.seconds = compiled.create_infer_request(), options.seconds
        image = np.random.default_rng(1).standard_normal((1, 3, height, width), np.float32)
        self.request.set_input_tensor(openvino.Tensor(image))
        for _ in range(3):
            self.request.infer()

    def measure(self):
        return median_ms(self.request.infer, self.seconds)


class TorchCompile:
    name = "torch.compile"

    def __init__(self, options, network, size, _):
        import sys  # pylint: disable=import-outside-toplevel
        sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "golden"))
        import torch  # pylint: disable=import-outside-toplevel
        import torch_networks  # pylint: disable=import-outside-toplevel
        from networks_registry import NETWORKS as goldens  # pylint: disable=import-outside-toplevel
        torch.set_num_threads(options.threads)
        width, height = map(int, size.split("x"))
        twin = torch_networks.NETWORKS.get(network)
        module = twin(8) if twin else goldens[network].build()
        module = module.eval().to(memory_format=torch.channels_last)
        image = torch.randn(1, 3, height, width).to(memory_format=torch.channels_last)
        forward = torch.compile(lambda x: module(x).argmax(1))

        def call():
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16,
                                                        enabled=options.precision == "bf16"):
                forward(image)

        self.call, self.seconds = call, options.seconds
        for _ in range(3):
            call()

    def measure(self):
        return median_ms(self.call, self.seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--sizes", nargs="+", default=["1024x512", "2048x1024"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1, help="of each side in each round")
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--torch", action="store_true", help="torch.compile too, which takes minutes")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()

    kinds = [Macadam, OpenVino] + ([TorchCompile] if options.torch else [])
    peers = [kind.name for kind in kinds[1:]]
    lines = ["| network | size | " + " | ".join(f"{peer} / macadam" for peer in peers) + " | lowest to "
             "highest |", "|---|---|" + "--:|" * (len(peers) + 1)]
    print("\n".join(lines), flush=True)
    for network in options.networks:
        for size in options.sizes:
            with tempfile.TemporaryDirectory() as folder:
                sides = [kind(options, network, size, Path(folder)) for kind in kinds]
                rounds = [{side.name: side.measure() for side in sides}
                          for _ in range(options.rounds)]
            ratios = {peer: [r[peer] / r["macadam"] for r in rounds] for peer in peers}
            cells = [f"{statistics.median(ratios[peer]):.2f}" for peer in peers]
            spread = ", ".join(f"{min(ratios[p]):.2f} to {max(ratios[p]):.2f}" for p in peers)
            lines.append(f"| {network} | {size} | {' | '.join(cells)} | {spread} |")
            print(lines[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
