// The CPU's memory-bound ops at the sizes of UNet-mini (bf16, batch 4 of 512x256), against the copy
// roof of the same run: copy_roof moves bytes with memcpy on the same threads. bytes_per_second
// counts what an op must read and write, so that a ratio to the roof is a ratio of efficiency.

#include <benchmark/benchmark.h>

#include <cstring>

#include "base/to_size.h"
#include "bench/op_cases.h"

namespace macadam::bench {
namespace {

constexpr Extents kExtents{.batch = 4, .height = 256, .width = 512, .parameters = 471784};

void copy_roof(benchmark::State& state) {
  DeviceContext context;
  Workbench bench(context);
  const Shape shape{kExtents.batch, kExtents.height, kExtents.width, 32};
  const Tensor x = bench.random(shape, DType::bf16), y = bench.random(shape, DType::bf16);
  const auto* from = static_cast<const std::byte*>(x.data);
  auto* to = static_cast<std::byte*>(y.data);
  constexpr int64_t kPieces = 8;
  const auto piece = static_cast<int64_t>(x.bytes()) / kPieces;
  for (auto _ : state) {
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < kPieces; ++k) {
      std::memcpy(to + k * piece, from + k * piece, to_size(piece));
    }
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(2 * x.bytes()));
}

void run(benchmark::State& state, const OpCase& op) {
  DeviceContext context;
  Workbench bench(context);
  const Call call = op.make(bench);
  for (auto _ : state) call.run();
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(call.bytes));
}

}  // namespace
}  // namespace macadam::bench

int main(int argc, char** argv) {
  using namespace macadam::bench;
  benchmark::RegisterBenchmark("copy_roof", copy_roof)->UseRealTime();
  for (const OpCase& op : op_cases(kExtents, macadam::DType::bf16)) {
    benchmark::RegisterBenchmark(op.name.c_str(), run, op)->UseRealTime();
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
