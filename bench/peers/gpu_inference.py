"""Latency of one image on a GPU: Macadam against PyTorch and, where they are installed, ONNX
Runtime and TensorRT, in turns, in one run.

  python3 bench/peers/gpu_inference.py build/release -o FOLDER [--networks NAME...]
                                       [--precisions P...] [--size WxH] [--device cpu]

From the network's input in device memory to one class a pixel there, the device waited for after
each image. PyTorch: batch norms folded, weights of the precision, channels_last, cudnn.benchmark;
eager, eager in a CUDA graph, torch.compile, and torch.compile with CUDA graphs. First both must
compute the same scores from the same weights. FOLDER gets inference_NETWORK_PRECISION.json; an
interrupted run goes on where it was. Runs under a Python with PyTorch and NumPy.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch.fx.experimental import optimization

import torch_networks
from side_by_side import (CLASSES, DTYPES, Program, Results, alternate, execute, machine,
                          median_of, parser_of, same_scores, set_up, size_of, synchronize)


class Peer:
    """Something that classifies the pixels of one image, by calling `run`."""

    def __init__(self, options, run):
        self.device, self.seconds, self.run = options.device, options.seconds, run
        for _ in range(5 if self.device == "cuda" else 1):
            run()
        synchronize(self.device)

    def measure(self):
        times, begin = [], time.perf_counter()
        while len(times) < 3 or time.perf_counter() - begin < self.seconds:
            start = time.perf_counter()
            self.run()
            synchronize(self.device)
            times.append(1e3 * (time.perf_counter() - start))
        times.sort()
        return {"p50_ms": statistics.median(times), "p95_ms": times[int(0.95 * (len(times) - 1))]}


def torch_peers(options, name, precision):
    """name -> a function that makes the callable."""
    model = optimization.fuse(torch_networks.make(name, CLASSES).eval())
    model = model.to(options.device, DTYPES[precision], memory_format=torch.channels_last)
    width, height = options.size
    x = torch.randn(1, 3, height, width, device=options.device, dtype=DTYPES[precision])
    x = x.to(memory_format=torch.channels_last)

    def classify(image):
        return model(image).argmax(1).to(torch.uint8)

    def eager():
        return lambda: classify(x)

    def captured():
        torch.cuda.synchronize()  # the other stream reads x
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(3):
                classify(x)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            kept = classify(x)
        return lambda: (graph.replay(), kept)

    def compiled(**how):
        torch._dynamo.reset()  # pylint: disable=protected-access
        function = torch.compile(classify, dynamic=False, **how)
        return lambda: function(x)

    peers = {"eager": eager}
    if options.device == "cuda":
        peers["CUDA graph"] = captured
    if not options.no_compile:
        peers["compile"] = compiled
        if options.device == "cuda":
            peers["compile, CUDA graphs"] = lambda: compiled(mode="reduce-overhead")
    return peers


def export(options, name, folder):
    """An ONNX file of the network that ends in the choice of the class."""
    width, height = options.size
    weights, model, exported = (folder / f for f in ("w.pth", "m.safetensors", "m.onnx"))
    torch.save(torch_networks.make(name, CLASSES).state_dict(), weights)
    program = options.programs / "macadam"
    execute(program, "convert", weights, model, "--network", name, "--size", f"{width}x{height}")
    execute(program, "convert", model, exported, "--static", "--argmax")
    return exported


def onnxruntime_peer(options, file):
    import onnxruntime  # pylint: disable=import-outside-toplevel
    provider = ("CUDAExecutionProvider", {"use_tf32": "0"}) if options.device == "cuda" else (
        "CPUExecutionProvider", {})
    if provider[0] not in onnxruntime.get_available_providers():
        raise ImportError("onnxruntime without CUDA")
    session = onnxruntime.InferenceSession(str(file), providers=[provider])
    binding = session.io_binding()
    entry = session.get_inputs()[0]
    x = torch.randn(entry.shape, device=options.device)
    binding.bind_input(entry.name, options.device, 0, "float32", tuple(x.shape), x.data_ptr())
    for result in session.get_outputs():
        binding.bind_output(result.name, options.device)
    return lambda kept=x: session.run_with_iobinding(binding)


def tensorrt_peer(precision, file):
    import tensorrt  # pylint: disable=import-outside-toplevel,import-error
    logger = tensorrt.Logger(tensorrt.Logger.WARNING)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)
    reader = tensorrt.OnnxParser(network, logger)
    if not reader.parse(file.read_bytes()):
        raise RuntimeError(str(reader.get_error(0)))
    config = builder.create_builder_config()
    config.clear_flag(tensorrt.BuilderFlag.TF32)
    if precision != "fp32":
        config.set_flag(getattr(tensorrt.BuilderFlag, precision.upper()))
    runtime = tensorrt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(builder.build_serialized_network(network, config))
    context = engine.create_execution_context()
    dtypes = {tensorrt.float32: torch.float32, tensorrt.int64: torch.int64,
              tensorrt.int32: torch.int32, tensorrt.uint8: torch.uint8}
    tensors = []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        tensors.append(torch.ones(tuple(engine.get_tensor_shape(name)), device="cuda",
                                  dtype=dtypes[engine.get_tensor_dtype(name)]))
        context.set_tensor_address(name, tensors[-1].data_ptr())
    stream = torch.cuda.Stream()
    return lambda kept=(engine, tensors): context.execute_async_v3(stream.cuda_stream)


def compare(options, name, precision):
    width, height = options.size
    failures = {}
    with (tempfile.TemporaryDirectory() as scratch, torch.inference_mode(),
          Program(options.programs / "bench_inference", network=name, size=f"{width}x{height}",
                  classes=CLASSES, precision=precision, device=options.device,
                  seconds=options.seconds) as macadam):
        macadam.wait_until_ready()
        makers = torch_peers(options, name, precision)
        if precision == "fp32":
            makers["ONNX Runtime"] = lambda: onnxruntime_peer(
                options, export(options, name, Path(scratch)))
        if options.device == "cuda":
            makers["TensorRT"] = lambda: tensorrt_peer(
                precision, export(options, name, Path(scratch)))
        sides = {"macadam": macadam.measure}
        for peer, make in makers.items():
            try:
                sides[peer] = Peer(options, make()).measure
            except ImportError:
                failures[peer] = "not installed"
            except Exception as error:  # pylint: disable=broad-exception-caught
                failures[peer] = f"{type(error).__name__}: {error}"[:500]
        found = alternate(options.rounds, sides)

    ours = found["macadam"]
    result = {"network": name, "precision": precision, "size": [height, width],
              **machine(options.device), "library": ours[0]["library"], "failures": failures,
              "sides": {side: {key: median_of(rounds, key) for key in ("p50_ms", "p95_ms")}
                        for side, rounds in found.items()}}
    best = min((side for side in found if side != "macadam"),
               key=lambda side: result["sides"][side]["p50_ms"])
    ratios = [m["p50_ms"] / o["p50_ms"] for m, o in zip(found[best], ours)]
    result["best_peer"] = best
    result["ratio"] = {"median": statistics.median(ratios), "rounds": ratios}
    return result


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--precisions", nargs="+", choices=list(DTYPES),
                        help="default: all of them, fp16 on a GPU alone")
    parser.add_argument("--size", type=size_of, default=(2048, 1024), help="width x height")
    options = parser.parse_args()
    set_up(options)
    results = Results(options)

    default = ["bf16", "fp16", "fp32"] if options.device == "cuda" else ["bf16", "fp32"]
    for precision in options.precisions or default:
        for name in options.networks:
            if not results.get(f"scores_{name}", lambda n=name: same_scores(options, n)):
                continue
            result = results.get(f"inference_{name}_{precision}",
                                 lambda n=name, p=precision: compare(options, n, p))
            if options.device == "cuda":
                torch.cuda.empty_cache()
            if not result:
                continue
            print(f"{name}, {precision}: " + "; ".join(
                f"{side} {m['p50_ms']:.3f} ms (p95 {m['p95_ms']:.3f})"
                for side, m in result["sides"].items())
                + f"; {result['ratio']['median']:.2f}x {result['best_peer']}"
                + "".join(f"; {peer}: {text}" for peer, text in result["failures"].items()),
                flush=True)
    sys.exit(results.failed)


if __name__ == "__main__":
    main()
