#include "engine/step_profile.h"

#include <algorithm>
#include <chrono>

namespace macadam {

namespace {

/// Steps before the first that counts: libraries load code, memory is touched for the first time.
constexpr int64_t kWarmUp = 3;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Of the op that copies tensors, on two tensors that no cache holds.
double measure_copy_rate(Stream& stream, Ops& ops) {
  constexpr Shape kShape{1, 64, 1024, 1024};
  const Buffer from(stream.device(), static_cast<size_t>(kShape.elements()) * 4);
  const Buffer to(stream.device(), from.bytes());
  zero_bytes(stream, from.data(), from.bytes());
  const Tensor x(from.data(), kShape, DType::f32, stream.device());
  const Tensor y(to.data(), kShape, DType::f32, stream.device());
  ops.elementwise->copy(x, y, false);
  Timeline timeline(stream);
  timeline.mark();
  for (int i = 0; i < 5; ++i) {
    ops.elementwise->copy(x, y, false);
    timeline.mark();
  }
  const std::vector<double> marks = timeline.milliseconds();
  std::vector<double> times;
  for (size_t i = 1; i < marks.size(); ++i) times.push_back(marks[i] - marks[i - 1]);
  return 2 * static_cast<double>(from.bytes()) / (1e-3 * median(times));
}

}  // namespace

StepProfile profile_steps(TrainingStep& step, BatchSource& source, int64_t steps, float lr,
                          Stream& stream, Ops& ops) {
  require(steps > 0, "at least one step");
  StepProfile profile;
  profile.steps = steps;
  profile.copy_rate = measure_copy_rate(stream, ops);
  const std::vector<StepCall> calls = step.calls();
  std::vector<std::vector<double>> times(calls.size());
  std::vector<double> marks;
  Timeline timeline(stream);
  double waited = 0;
  std::chrono::steady_clock::time_point begin;
  for (int64_t i = 0, batch = 0, epoch = 0; i < kWarmUp + steps; ++i, ++batch) {
    if (batch == 0 || batch == source.batches()) {
      if (batch > 0) ++epoch;
      source.start(epoch, batch = 0);
    }
    if (i == kWarmUp) begin = std::chrono::steady_clock::now();
    const double waited_before = source.stats().wait_seconds;
    const Batch& next = source.next();
    const double wait = source.stats().wait_seconds - waited_before;
    step.run_marked(next, static_cast<uint64_t>(i), lr, timeline);
    if (i < kWarmUp) continue;
    waited += wait;
    marks = timeline.milliseconds();
    require(marks.size() == calls.size() + 1, "a mark after every call");
    for (size_t c = 0; c < calls.size(); ++c) times[c].push_back(marks[c + 1] - marks[c]);
  }
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - begin;
  profile.data_wait_share = waited / wall.count();
  for (size_t c = 0; c < calls.size(); ++c) {
    profile.calls.push_back({calls[c], marks[c], median(times[c])});
    profile.step_milliseconds += profile.calls.back().milliseconds;
  }
  return profile;
}

}  // namespace macadam
