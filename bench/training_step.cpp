// How long one training step takes, and how much of it is convolution: UNet-mini (or any network
// of the registry) on random data in host memory, nothing loaded from disk. Prints one JSON object
// a measurement. Steps are queued one behind the other as in training: a time is that of a chain of
// them and one wait at its end, divided by their number.
//
//   bench_training_step [--network NAME] [--batch N] [--size WxH] [--classes N] [--precision P]
//                       [--device D] [--pad-channels BOOL] [--inputs N] [--seconds S]
//                       [--on-request]

#include "engine/train/training_step.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <optional>
#include <vector>

#include "app/command_line.h"
#include "base/to_size.h"
#include "bench/measuring.h"
#include "engine/plan/precision.h"
#include "kernels/backend_version.h"
#include "models/network.h"

namespace {

using namespace macadam;
using bench::Clock, bench::seconds_since;

constexpr double kChainSeconds = 0.25;  // beside which one wait for the device is nothing
constexpr int kLongestChain = 200;

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
  void backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw,
                        void* workspace) override {
    timed([&] { inner_->backward_weights(x, dy, dw, workspace); });
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
  std::optional<bool> pad_channels;
  std::optional<int> inputs;
  double seconds = 15;
  bool on_request = false;
};

/// A network in training on one batch.
class Training {
 public:
  explicit Training(const Options& options)
      : options_(options),
        size_(parse_size(options.size, "--size")),
        device_(device_info(parse_device(options.device))),
        dtype_(resolve_precision(options.precision, device_)),
        context_(device_.device),
        graph_(build_network({options.network, options.classes, {}},
                             {options.batch, size_.second, size_.first, 3})),
        parameters_(graph_.parameters(), context_.stream, true),
        step_(make_step()) {
    const Shape images{options.batch, size_.second, size_.first, 3};
    const Shape labels{images.n, images.h, images.w, 1};
    images_ = Buffer::host_for(device_.device, to_size(images.elements()));
    labels_ = Buffer::host_for(device_.device, to_size(labels.elements()));
    bench::fill_random({images_.data(), images_.bytes()}, 256, 1);
    bench::fill_random({labels_.data(), labels_.bytes()}, static_cast<unsigned>(options.classes),
                       2);
    batch_.n = options.batch;
    batch_.images = Tensor(images_.data(), images, DType::u8);
    batch_.labels = Tensor(labels_.data(), labels, DType::u8);

    chain_seconds(2 * step_.plan().inputs());  // on CUDA, every input's second step is captured
    const double once = chain_seconds(1);
    chain_ = std::clamp(static_cast<int>(kChainSeconds / once), 1, kLongestChain);
  }

  void measure() {
    std::vector<double> times, shares;
    const Clock::time_point begin = Clock::now();
    while (times.size() < 3 || seconds_since(begin) < options_.seconds) {
      conv_seconds_ = 0;
      const double seconds = chain_seconds(chain_);
      times.push_back(seconds / chain_);
      shares.push_back(1 - conv_seconds_ / seconds);
    }
    std::sort(times.begin(), times.end());
    std::sort(shares.begin(), shares.end());
    print(times, shares);
  }

 private:
  TrainingStep make_step() {
    // On CUDA it would tell nothing, and hide from the plan what cuDNN can fuse.
    if (!device_.device.is_cuda()) {
      std::unique_ptr<ConvOps>& conv = context_.ops.conv;
      conv = std::make_unique<TimedConvOps>(std::move(conv), conv_seconds_);
    }
    parameters_.initialize(1);
    TrainingStepOptions options;
    options.dtype = dtype_;
    options.seed = 1;
    options.pad_channels = options_.pad_channels;
    options.inputs = options_.inputs;
    return {graph_, parameters_, context_, options};
  }

  double chain_seconds(int steps) {
    const Clock::time_point start = Clock::now();
    for (int i = 0; i < steps; ++i) step_.run(batch_, number_++, 1e-3f);
    step_.finish();
    return seconds_since(start);
  }

  void print(std::span<const double> times, std::span<const double> shares) {
    const PlanMemory& memory = step_.plan().memory();
    const double median = bench::percentile(times, 0.5);
    // A step computes each convolution three times: forward and two gradients.
    const double flops = 3 * 2 * static_cast<double>(graph_.macs());
    size_t parameter_bytes = parameters_.bytes();
    for (const Parameters& moments : step_.optimizer().moments()) {
      parameter_bytes += moments.bytes();
    }
    fmt::print(
        R"({{"program":"macadam","network":"{}","batch":{},"size":[{},{}],"precision":"{}",)"
        R"("device":"{}","library":"{}","steps":{},"milliseconds":{:.4f},"milliseconds_min":{:.4f},)"
        R"("images_per_second":{:.3f},"flops":{:.6e},"tflops":{:.4f},)"
        R"("share_outside_convolution":{},"memory_mib":{:.1f},"arena_mib":{:.1f},)"
        R"("arena_over_peak":{:.3f}}})"
        "\n",
        options_.network, options_.batch, size_.second, size_.first, precision_name(dtype_),
        device_.name, backend_version(device_.device), times.size() * to_size(chain_), 1e3 * median,
        1e3 * times[0], options_.batch / median, flops, 1e-12 * flops / median,
        device_.device.is_cuda() ? "null" : fmt::format("{:.3f}", bench::percentile(shares, 0.5)),
        static_cast<double>(memory.arena + memory.packed + parameter_bytes) / 1048576.0,
        static_cast<double>(memory.arena) / 1048576.0,
        static_cast<double>(memory.arena) / static_cast<double>(memory.peak));
  }

  const Options options_;
  const std::pair<int, int> size_;  // width, height
  const DeviceInfo device_;
  const DType dtype_;
  double conv_seconds_ = 0;
  DeviceContext context_;
  const Graph graph_;
  Parameters parameters_;
  TrainingStep step_;
  Buffer images_, labels_;
  Batch batch_;
  uint64_t number_ = 0;
  int chain_ = 1;
};

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
  app.add_option("--pad-channels", options.pad_channels,
                 "Whether the plan stores channels in multiples of 8; by default it decides");
  app.add_option("--inputs", options.inputs,
                 "Of the plan: batches are prepared in one while another is read")
      ->check(CLI::Range(1, 8));
  app.add_option("--seconds", options.seconds, "Of timed steps")->capture_default_str();
  app.add_flag("--on-request", options.on_request, "Measure at each line of standard input");
  CLI11_PARSE(app, argc, argv);
  try {
    Training training(options);
    bench::run_measurements(options.on_request, [&] { training.measure(); });
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_training_step: error: %s\n", error.what());
    return 1;
  }
  return 0;
}
