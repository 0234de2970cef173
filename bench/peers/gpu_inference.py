"""Latency of one image on a GPU: Macadam against PyTorch and, where they are installed, ONNX
Runtime and TensorRT, in turns, in one run.

  python3 bench/peers/gpu_inference.py build/release -o FOLDER [--networks NAME...]
                                       [--precisions P...] [--size WxH] [--device cpu]

From the network's input in device memory to one class a pixel there, the device waited for after
each image. PyTorch: batch norms folded, weights of the precision, channels_last, cudnn.benchmark;
eager, eager in a CUDA graph, torch.compile, and torch.compile with CUDA graphs.

First Macadam must compute PyTorch's scores from the same weights, and every peer the classes that
PyTorch gives the timed image in fp32: one that gives too many pixels another class (SAME_CLASSES)
is named as failed and not timed. FOLDER gets inference_NETWORK_PRECISION.json; an interrupted run
goes on where it was. Runs under a Python with PyTorch and NumPy.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch.fx.experimental import optimization

import torch_networks
from side_by_side import (CLASSES, DTYPES, SAME_CLASSES, Program, Results, alternate, execute,
                          machine, median_of, other_classes, parser_of, precisions_of, same_scores,
                          set_up, size_of, synchronize)


class Peer:
    """Something that classifies the pixels of one image, by calling `run`, which returns the tensor
    that the classes are in when the device is done."""

    def __init__(self, options, run):
        self.device, self.seconds, self.run = options.device, options.seconds, run
        for _ in range(5 if self.device == "cuda" else 1):
            run()
        synchronize(self.device)

    def classes(self):
        result = self.run()
        synchronize(self.device)
        return result.squeeze().cpu().numpy()

    def measure(self):
        times, begin = [], time.perf_counter()
        while len(times) < 3 or time.perf_counter() - begin < self.seconds:
            start = time.perf_counter()
            self.run()
            synchronize(self.device)
            times.append(1e3 * (time.perf_counter() - start))
        times.sort()
        return {"p50_ms": statistics.median(times), "p95_ms": times[int(0.95 * (len(times) - 1))]}


def image_of(options):
    """What every peer classifies: NCHW, fp32."""
    width, height = options.size
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(2)).to(
        options.device)


def expected_classes(options, name):
    """Those that PyTorch gives the image in fp32."""
    model = torch_networks.make(name, CLASSES).eval().to(options.device)
    return model(image_of(options)).argmax(1).squeeze().cpu().numpy()


def torch_peers(options, name, precision):
    """name -> a function that makes the callable."""
    model = optimization.fuse(torch_networks.make(name, CLASSES).eval())
    model = model.to(options.device, DTYPES[precision], memory_format=torch.channels_last)
    x = image_of(options).to(DTYPES[precision], memory_format=torch.channels_last)

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
        return lambda: (graph.replay(), kept)[1]

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


def onnxruntime_peer(options, exported):
    import onnxruntime  # pylint: disable=import-outside-toplevel
    provider = ("CUDAExecutionProvider", {"use_tf32": "0"}) if options.device == "cuda" else (
        "CPUExecutionProvider", {})
    if provider[0] not in onnxruntime.get_available_providers():
        raise ImportError("onnxruntime without CUDA")
    session = onnxruntime.InferenceSession(str(exported()), providers=[provider])
    if session.get_providers()[0] != provider[0]:  # it goes on without one that does not load
        raise RuntimeError(f"{provider[0]} does not load")
    binding = session.io_binding()
    entry, (result,) = session.get_inputs()[0], session.get_outputs()
    x = image_of(options)
    classes = torch.zeros(result.shape, device=options.device, dtype=torch.int64)
    binding.bind_input(entry.name, options.device, 0, "float32", tuple(x.shape), x.data_ptr())
    binding.bind_output(result.name, options.device, 0, "int64", tuple(classes.shape),
                        classes.data_ptr())
    synchronize(options.device)  # another stream reads x

    def run(kept=x):
        session.run_with_iobinding(binding)
        return classes
    return run


def tensorrt_peer(options, precision, exported):
    import tensorrt  # pylint: disable=import-outside-toplevel,import-error
    logger = tensorrt.Logger(tensorrt.Logger.WARNING)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)
    reader = tensorrt.OnnxParser(network, logger)
    if not reader.parse(exported().read_bytes()):
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
    tensors = {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        tensor = torch.zeros(tuple(engine.get_tensor_shape(name)), device="cuda",
                             dtype=dtypes[engine.get_tensor_dtype(name)])
        context.set_tensor_address(name, tensor.data_ptr())
        tensors[engine.get_tensor_mode(name)] = tensor
    tensors[tensorrt.TensorIOMode.INPUT].copy_(image_of(options))
    torch.cuda.synchronize()  # another stream reads it
    stream = torch.cuda.Stream()

    def run(kept=(runtime, engine)):
        if not context.execute_async_v3(stream.cuda_stream):
            raise RuntimeError("TensorRT could not run the network")
        return tensors[tensorrt.TensorIOMode.OUTPUT]
    return run


def makers_of(options, name, precision, scratch):
    """name -> a function that makes the callable, of all peers that have the precision. Nothing is
    exported for a peer that is not installed."""
    def exported():
        return export(options, name, scratch)

    makers = torch_peers(options, name, precision)
    if precision == "fp32":
        makers["ONNX Runtime"] = lambda: onnxruntime_peer(options, exported)
    if options.device == "cuda":
        makers["TensorRT"] = lambda: tensorrt_peer(options, precision, exported)
    return makers


def ready_peers(options, precision, makers, expected):
    """Those that give the image the expected classes, what keeps the others from it, and which
    share of the pixels gets another class from each that runs."""
    peers, failures, others = {}, {}, {}
    for name, make in makers.items():
        try:
            peer = Peer(options, make())
            others[name] = other_classes(peer.classes(), expected)
        except ImportError:
            failures[name] = "not installed"
            continue
        except Exception as error:  # pylint: disable=broad-exception-caught
            failures[name] = f"{type(error).__name__}: {error}"[:500]
            continue
        if others[name] <= SAME_CLASSES[precision]:
            peers[name] = peer
        else:
            failures[name] = (f"FAILED: does not compute the same: {100 * others[name]:.3g} % of "
                              "the pixels have another class than PyTorch gives them in fp32 (at "
                              f"most {100 * SAME_CLASSES[precision]:g} %)")
    return peers, failures, others


def compare(options, name, precision):
    width, height = options.size
    with (tempfile.TemporaryDirectory() as scratch, torch.inference_mode(),
          Program(options.programs / "bench_inference", network=name, size=f"{width}x{height}",
                  classes=CLASSES, precision=precision, device=options.device,
                  seconds=options.seconds) as macadam):
        macadam.wait_until_ready()
        peers, failures, others = ready_peers(
            options, precision, makers_of(options, name, precision, Path(scratch)),
            expected_classes(options, name))
        found = alternate(options.rounds, {"macadam": macadam.measure} | {
            peer: side.measure for peer, side in peers.items()})

    ours = found["macadam"]
    result = {"network": name, "precision": precision, "size": [height, width],
              **machine(options.device), "library": ours[0]["library"], "failures": failures,
              "other_classes": others, "other_classes_limit": SAME_CLASSES[precision],
              "sides": {side: {key: median_of(rounds, key) for key in ("p50_ms", "p95_ms")}
                        for side, rounds in found.items()}}
    best = min(peers, key=lambda peer: result["sides"][peer]["p50_ms"], default=None)
    result["best_peer"] = best
    if best is not None:
        ratios = [m["p50_ms"] / o["p50_ms"] for m, o in zip(found[best], ours)]
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

    for precision in options.precisions or precisions_of(options.device):
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
                + (f"; {result['ratio']['median']:.2f}x {result['best_peer']}"
                   if result["best_peer"] else "; no peer")
                + "".join(f"; {peer}: {text}" for peer, text in result["failures"].items()),
                flush=True)
    sys.exit(results.failed)


if __name__ == "__main__":
    main()
