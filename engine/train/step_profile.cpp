#include "engine/train/step_profile.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <random>

#include "base/to_size.h"

namespace macadam {

namespace {

/// Steps before the first that counts: libraries load code, memory is touched for the first time.
constexpr int64_t kWarmUp = 3;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Of `run` at its fastest: what else the machine does is no limit of the device.
template <typename Run>
double least_seconds(Stream& stream, const Run& run) {
  constexpr int kRuns = 10;
  run();
  Timeline timeline(stream);
  timeline.mark();
  for (int i = 0; i < kRuns; ++i) {
    run();
    timeline.mark();
  }
  const std::vector<double> marks = timeline.milliseconds();
  double least = marks[1];
  for (size_t i = 1; i < marks.size(); ++i) least = std::min(least, marks[i] - marks[i - 1]);
  return 1e-3 * least;
}

/// fp32 values, normally distributed: memory of zeros is compressed on its way, and a product of
/// zeros takes less power. They repeat after a million.
Buffer random_values(Stream& stream, int64_t count) {
  std::vector<float> values(size_t{1} << 20);
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::generate(values.begin(), values.end(), [&] { return normal(random); });
  Buffer buffer(stream.device(), to_size(count) * sizeof(float));
  size_t filled = std::min(values.size() * sizeof(float), buffer.bytes());
  copy_bytes(stream, buffer.data(), values.data(), filled);
  while (filled < buffer.bytes()) {
    const size_t more = std::min(filled, buffer.bytes() - filled);
    copy_bytes(stream, buffer.data() + filled, buffer.data(), more);
    filled += more;
  }
  stream.synchronize();
  return buffer;
}

/// Of the op that copies tensors, on two tensors that no cache holds.
double measure_copy_rate(DeviceContext& context) {
  Stream& stream = context.stream;
  constexpr Shape kShape{1, 64, 1024, 1024};
  const Buffer from = random_values(stream, kShape.elements());
  const Buffer to(stream.device(), from.bytes());
  const Tensor x(from.data(), kShape, DType::f32, stream.device());
  const Tensor y(to.data(), kShape, DType::f32, stream.device());
  const double seconds = least_seconds(stream, [&] { context.ops.elementwise->copy(x, y, false); });
  return 2 * static_cast<double>(from.bytes()) / seconds;
}

/// Of a 1x1 convolution large enough to fill the device: the product of pixels x C and C x C.
double measure_matrix_rate(DeviceContext& context, DType dtype) {
  Stream& stream = context.stream;
  const Device device = stream.device();
  const Shape shape = device.is_cuda() ? Shape{1, 64, 128, 4096} : Shape{1, 32, 64, 512};
  const ConvDesc desc{.input = shape,
                      .out_channels = shape.c,
                      .kernel_h = 1,
                      .kernel_w = 1,
                      .padding = {},
                      .dtype = dtype};
  const Buffer values = random_values(stream, shape.elements());
  const Buffer input(device, to_size(shape.elements()) * size_of(dtype));
  const Buffer output(device, input.bytes());
  const Tensor x(input.data(), shape, dtype, device), y(output.data(), shape, dtype, device);
  context.ops.elementwise->copy(Tensor(values.data(), shape, DType::f32, device), x, false);
  const std::unique_ptr<Convolution> product = context.ops.conv->make(desc);
  const Buffer packed(device, product->packed_bytes());
  const Buffer workspace(device, product->workspace_bytes());
  product->pack(Tensor(values.data(), desc.weights(), DType::f32, device), {}, packed.data());
  const double seconds =
      least_seconds(stream, [&] { product->forward(x, packed.data(), y, workspace.data()); });
  return 2 * static_cast<double>(desc.macs()) / seconds;
}

}  // namespace

StepProfile profile_steps(TrainingStep& step, BatchSource& source, int64_t steps, float lr,
                          DeviceContext& context) {
  require(steps > 0, "at least one step");
  StepProfile profile;
  profile.steps = steps;
  profile.device = context.device();
  profile.dtype = step.plan().output().dtype;
  profile.copy_rate = measure_copy_rate(context);
  profile.matrix_rate = measure_matrix_rate(context, profile.dtype);
  const std::vector<StepCall> calls = step.calls();
  std::vector<std::vector<double>> times(calls.size());
  std::vector<double> marks;
  std::vector<int64_t> launches;
  Timeline timeline(context.stream);
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
    launches = timeline.launches();
    require(marks.size() == calls.size() + 1, "a mark after every call");
    for (size_t c = 0; c < calls.size(); ++c) times[c].push_back(marks[c + 1] - marks[c]);
  }
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - begin;
  profile.data_wait_share = waited / wall.count();
  for (size_t c = 0; c < calls.size(); ++c) {
    const PlanCall& call = calls[c].call;
    const double floor = std::max(static_cast<double>(call.bytes) / profile.copy_rate,
                                  static_cast<double>(call.flops) / profile.matrix_rate);
    profile.calls.push_back({calls[c], marks[c], median(times[c]), 1e3 * floor, launches[c + 1]});
    profile.step_launches += launches[c + 1];
    profile.step_milliseconds += profile.calls.back().milliseconds;
  }
  return profile;
}

}  // namespace macadam
