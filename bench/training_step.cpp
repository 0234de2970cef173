// How long one training step takes, and how much of it is convolution: UNet-mini (or any network
// of the registry) on random data in host memory, nothing loaded from disk. Prints one JSON object.
//
//   bench_training_step [--network NAME] [--batch N] [--size WxH] [--classes N] [--precision P]
//                       [--device D] [--seconds S]

#include "engine/training_step.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>
#include <vector>

#include "app/options.h"
#include "engine/precision.h"
#include "kernels/backend_version.h"
#include "models/network.h"

namespace {

using namespace macadam;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Sums the time inside convolutions (CPU only: elsewhere calls return before the work is done).
class TimedConvolution final : public Convolution {
 public:
  TimedConvolution(std::unique_ptr<Convolution> inner, double& seconds)
      : inner_(std::move(inner)), seconds_(seconds) {}

  size_t workspace_bytes() const override { return inner_->workspace_bytes(); }
  size_t packed_bytes() const override { return inner_->packed_bytes(); }
  std::string implementation() const override { return inner_->implementation(); }
  void pack(const Tensor& weights, const Tensor& bias, void* packed) override {
    timed([&] { inner_->pack(weights, bias, packed); });
  }
  void forward(const Tensor& x, const void* packed, const Tensor& y, void* workspace) override {
    timed([&] { inner_->forward(x, packed, y, workspace); });
  }
  void backward_data(const Tensor& dy, const void* packed, const Tensor& dx,
                     void* workspace) override {
    timed([&] { inner_->backward_data(dy, packed, dx, workspace); });
  }
  void backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw, const Tensor& db,
                        void* workspace) override {
    timed([&] { inner_->backward_weights(x, dy, dw, db, workspace); });
  }

 private:
  template <typename Call>
  void timed(Call call) {
    const Clock::time_point start = Clock::now();
    call();
    seconds_ += seconds_since(start);
  }

  std::unique_ptr<Convolution> inner_;
  double& seconds_;
};

class TimedConvOps final : public ConvOps {
 public:
  TimedConvOps(std::unique_ptr<ConvOps> inner, double& seconds)
      : inner_(std::move(inner)), seconds_(seconds) {}
  std::unique_ptr<Convolution> make(const ConvDesc& desc) override {
    return std::make_unique<TimedConvolution>(inner_->make(desc), seconds_);
  }

 private:
  std::unique_ptr<ConvOps> inner_;
  double& seconds_;
};

struct Options {
  std::string network = "unet_mini", size = "512x256", precision = "auto", device = "auto";
  int batch = 4, classes = 8;
  double seconds = 15;
};

void run(const Options& options) {
  const auto [width, height] = parse_size(options.size, "--size");
  const DeviceInfo device = device_info(parse_device(options.device));
  const DType dtype = resolve_precision(options.precision, device);
  Stream stream(device.device);
  Ops ops = make_ops(stream);
  double conv_seconds = 0;
  ops.conv = std::make_unique<TimedConvOps>(std::move(ops.conv), conv_seconds);

  const Graph graph =
      build_network({options.network, options.classes, {}}, {options.batch, height, width, 3});
  Parameters parameters(graph.parameters(), stream, true);
  parameters.initialise(1);
  TrainingStepOptions step_options;
  step_options.dtype = dtype;
  step_options.seed = 1;
  TrainingStep step(graph, parameters, stream, ops, step_options);

  const Shape images{options.batch, height, width, 3}, labels{options.batch, height, width, 1};
  const Buffer image_bytes =
      Buffer::host_for(device.device, static_cast<size_t>(images.elements()));
  const Buffer label_bytes =
      Buffer::host_for(device.device, static_cast<size_t>(labels.elements()));
  std::mt19937 random(1);
  for (size_t i = 0; i < image_bytes.bytes(); ++i) {
    image_bytes.data()[i] = static_cast<std::byte>(random());
  }
  for (size_t i = 0; i < label_bytes.bytes(); ++i) {
    label_bytes.data()[i] =
        static_cast<std::byte>(random() % static_cast<unsigned>(options.classes));
  }
  Batch batch;
  batch.n = options.batch;
  batch.images = Tensor(image_bytes.data(), images, DType::u8);
  batch.labels = Tensor(label_bytes.data(), labels, DType::u8);

  uint64_t number = 0;
  for (int i = 0; i < 3; ++i) step.run(batch, number++, 1e-3f);
  step.finish();

  std::vector<double> steps, shares;
  const Clock::time_point begin = Clock::now();
  while (steps.size() < 3 || seconds_since(begin) < options.seconds) {
    conv_seconds = 0;
    const Clock::time_point start = Clock::now();
    step.run(batch, number++, 1e-3f);
    step.finish();
    steps.push_back(seconds_since(start));
    shares.push_back(1 - conv_seconds / steps.back());
  }
  std::sort(steps.begin(), steps.end());
  std::sort(shares.begin(), shares.end());
  const PlanMemory& memory = step.plan().memory();
  fmt::print(
      R"({{"program":"macadam","network":"{}","batch":{},"size":[{},{}],"precision":"{}","device":"{}",)"
      R"("library":"{}","steps":{},"milliseconds":{:.2f},"milliseconds_min":{:.2f},)"
      R"("share_outside_convolution":{},"arena_mib":{:.1f},"arena_over_peak":{:.3f}}})"
      "\n",
      options.network, options.batch, height, width, precision_name(dtype), device.name,
      backend_version(device.device), steps.size(), 1e3 * steps[steps.size() / 2], 1e3 * steps[0],
      device.device.is_cuda() ? "null" : fmt::format("{:.3f}", shares[shares.size() / 2]),
      static_cast<double>(memory.arena) / 1048576.0,
      static_cast<double>(memory.arena) / static_cast<double>(memory.peak));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Times one training step.");
  Options options;
  app.add_option("--network", options.network)->capture_default_str();
  app.add_option("--batch", options.batch)->capture_default_str();
  app.add_option("--size", options.size, "Width x height")->capture_default_str();
  app.add_option("--classes", options.classes)->capture_default_str();
  app.add_option("--precision", options.precision)->capture_default_str();
  app.add_option("--device", options.device)->capture_default_str();
  app.add_option("--seconds", options.seconds, "Of timed steps")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_training_step: error: %s\n", error.what());
    return 1;
  }
  return 0;
}
