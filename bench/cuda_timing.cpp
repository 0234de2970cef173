#include "bench/cuda_timing.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/cuda/stopwatch.h"

namespace macadam::bench {

namespace {

constexpr double kReplaySeconds = 2e-3;  // long beside the launch of a graph
constexpr int kReplays = 21, kMostRounds = 64;
constexpr size_t kMostSets = 256;

CapturedGraph capture(Stream& stream, const std::vector<Call>& calls, int rounds) {
  return CapturedGraph::record(stream, [&] {
    for (int i = 0; i < rounds; ++i) {
      for (const Call& call : calls) call.run();
    }
  });
}

double seconds_of(Stream& stream, cuda::Stopwatch& watch, CapturedGraph& graph) {
  watch.start();
  graph.launch(stream);
  return 1e-3 * static_cast<double>(watch.stop());
}

}  // namespace

std::vector<Call> in_turns(Workbench& bench, const std::function<Call(Workbench&)>& make) {
  std::vector<Call> calls;
  const size_t before = bench.bytes();
  while (calls.size() < 2 || (calls.size() < kMostSets && bench.bytes() - before < kFootprint)) {
    calls.push_back(make(bench));
  }
  return calls;
}

double median_seconds(Stream& stream, const std::vector<Call>& calls) {
  for (const Call& call : calls) call.run();  // libraries load code at the first run
  stream.synchronize();

  cuda::Stopwatch watch(stream);
  CapturedGraph graph = capture(stream, calls, 1);
  graph.launch(stream);
  const double once = seconds_of(stream, watch, graph);
  const int rounds = std::clamp(static_cast<int>(kReplaySeconds / once), 1, kMostRounds);
  if (rounds > 1) {
    graph = capture(stream, calls, rounds);
    graph.launch(stream);
  }
  std::vector<double> times(kReplays);
  for (double& time : times) time = seconds_of(stream, watch, graph);
  std::nth_element(times.begin(), times.begin() + kReplays / 2, times.end());
  return times[kReplays / 2] / static_cast<double>(rounds) / static_cast<double>(calls.size());
}

size_t CopyRoof::measured_bytes(size_t bytes) {
  const size_t above = std::bit_ceil(std::max<size_t>(bytes, 4096));
  return bytes < above / 4 * 3 ? above / 2 : above;
}

double CopyRoof::bytes_per_second(size_t bytes) {
  const size_t moved = measured_bytes(bytes);
  double& result = measured_[moved];
  if (result == 0) {
    Workbench bench(context_);
    const Shape shape{1, 1, 1, static_cast<int>(moved / 2 / size_of(DType::f32))};
    const std::vector<Call> calls = in_turns(bench, [&](Workbench& w) {
      const Tensor x = w.random(shape, DType::f32), y = w.random(shape, DType::f32);
      return Call{[=, this] { copy_bytes(context_.stream, y.data, x.data, x.bytes()); },
                  2 * x.bytes()};
    });
    result = static_cast<double>(moved) / median_seconds(context_.stream, calls);
  }
  return result;
}

}  // namespace macadam::bench
