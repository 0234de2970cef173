// Every handwritten CUDA kernel, and cuDNN's convolutions, at sizes that fill a large GPU: batch 8
// of 1024x512 (less where memory is short), bf16 and fp32, random data. A time is the median over
// replays of a captured graph by CUDA events, the calls going in turns through more memory than the
// L2 cache holds.
//
// Counters: us, bytes (the floor that the kernel's source states), GBps, roof_GBps (a
// device-to-device copy that moves as many bytes in this run) and roof_share, their ratio;
// elementwise tells kernels that have no excuse. For convolutions TFLOPs.
//
//   bench_cuda_ops [--benchmark_filter=REGEX] [--benchmark_out=FILE --benchmark_out_format=json]

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "bench/cuda_convolutions.h"
#include "bench/cuda_timing.h"
#include "bench/op_cases.h"
#include "kernels/backend_version.h"
#include "kernels/cuda/conv_epilogue.h"

namespace macadam::bench {
namespace {

/// The kernels around cuDNN's convolutions, which no class of Ops offers.
std::vector<OpCase> epilogue_cases(const Extents& extents, DType dtype, Stream& stream) {
  const Shape shape{extents.batch, extents.height / 2, extents.width / 2, 64};
  return {{"epilogue_add_bias_relu", true, [=, &stream](Workbench& w) {
             const Tensor y = w.random(shape, dtype);
             const Tensor bias = w.random({1, 1, 1, shape.c}, dtype);
             return Call{[=, &stream] { cuda::add_bias(stream, y, bias.data, Activation::relu); },
                         2 * y.bytes()};
           }}};
}

/// One measurement: the benchmark's only iteration.
double measure(benchmark::State& state, Stream& stream, const std::vector<Call>& calls) {
  double seconds = 0;
  for (auto _ : state) {
    seconds = median_seconds(stream, calls);
    state.SetIterationTime(seconds);
  }
  state.counters["us"] = 1e6 * seconds;
  return seconds;
}

void time_copy(benchmark::State& state, CopyRoof& roof, size_t bytes) {
  for (auto _ : state) {
    state.SetIterationTime(static_cast<double>(bytes) / roof.bytes_per_second(bytes));
  }
  state.counters["bytes"] = static_cast<double>(bytes);
  state.counters["GBps"] = 1e-9 * roof.bytes_per_second(bytes);
}

void time_op(benchmark::State& state, DeviceContext& context, CopyRoof& roof, const OpCase& op) {
  Workbench bench(context);
  const std::vector<Call> calls = in_turns(bench, op.make);
  const double seconds = measure(state, context.stream, calls);
  const auto bytes = static_cast<double>(calls[0].bytes);
  const double rate = bytes / seconds, most = roof.bytes_per_second(calls[0].bytes);
  state.counters["bytes"] = bytes;
  state.counters["GBps"] = 1e-9 * rate;
  state.counters["roof_GBps"] = 1e-9 * most;
  state.counters["roof_share"] = rate / most;
  state.counters["elementwise"] = op.elementwise ? 1 : 0;
}

void time_convolution(benchmark::State& state, DeviceContext& context,
                      const ConvolutionCase& convolution) {
  Workbench bench(context);
  // One set of tensors: finding the plans is slow, and this is bound by arithmetic.
  const std::vector<Call> calls{convolution.make(bench)};
  state.counters["TFLOPs"] = 1e-12 * convolution.flops / measure(state, context.stream, calls);
}

template <typename... Arguments>
void add(const std::string& name, Arguments&&... arguments) {
  benchmark::RegisterBenchmark(name.c_str(), std::forward<Arguments>(arguments)...)
      ->UseManualTime()
      ->Iterations(1)
      ->Unit(benchmark::kMicrosecond);
}

void run() {
  const DeviceInfo device = device_info(parse_device("cuda"));
  DeviceContext context(device.device);
  CopyRoof roof(context);
  const size_t gibibytes = device.memory_bytes >> 30;
  const Extents extents{.batch = static_cast<int>(std::clamp<size_t>(gibibytes / 4, 1, 8)),
                        .height = 512,
                        .width = 1024,
                        .parameters = 23'749'256};  // VGG16-UNet
  benchmark::AddCustomContext("device", device.name);
  benchmark::AddCustomContext("library", backend_version(device.device));
  benchmark::AddCustomContext("batch", fmt::format("{}", extents.batch));

  for (size_t bytes = size_t{1} << 20; bytes <= size_t{1} << 30; bytes *= 4) {
    add(fmt::format("copy/{}MiB", bytes >> 20),
        [&roof, bytes](benchmark::State& state) { time_copy(state, roof, bytes); });
  }
  for (const DType dtype : {DType::bf16, DType::f32}) {
    std::vector<OpCase> cases = op_cases(extents, dtype);
    for (OpCase& op : epilogue_cases(extents, dtype, context.stream))
      cases.push_back(std::move(op));
    for (const OpCase& op : cases) {
      add(fmt::format("{}/{}", op.name, name_of(dtype)),
          [&, op](benchmark::State& state) { time_op(state, context, roof, op); });
    }
  }
  for (const ConvolutionCase& convolution : convolution_cases(extents, DType::bf16)) {
    add(convolution.name, [&, convolution](benchmark::State& state) {
      time_convolution(state, context, convolution);
    });
  }
  benchmark::RunSpecifiedBenchmarks();
}

}  // namespace
}  // namespace macadam::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  try {
    macadam::bench::run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_cuda_ops: error: %s\n", error.what());
    return 1;
  }
  benchmark::Shutdown();
  return 0;
}
