// How long one image takes: from the network's input in device memory to one class a pixel there,
// the device waited for after each, as a request is served. On CUDA a captured graph. Prints one
// JSON object a measurement. With --replicas how many images a second so many classify on one set
// of weights: from bytes in host memory to a mask there, each replica kept busy by a thread of its
// own.
//
//   bench_inference [--network NAME] [--size WxH] [--classes N] [--precision P] [--device D]
//                   [--seconds S] [--on-request] [--replicas R] [--batch N]

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "app/command_line.h"
#include "base/to_size.h"
#include "bench/measuring.h"
#include "engine/graph/rewrite.h"
#include "engine/infer/classifier.h"
#include "engine/input/batch_upload.h"
#include "engine/plan/plan.h"
#include "engine/plan/precision.h"
#include "engine/plan/replay.h"
#include "kernels/backend_version.h"
#include "models/network.h"

namespace {

using namespace macadam;
using bench::Clock, bench::seconds_since;

struct Options {
  std::string network = "unet_mini", size = "2048x1024", precision = "auto", device = "auto";
  int classes = 8;
  double seconds = 5;
  bool on_request = false;
  int replicas = 0, batch = 1;  // 0: no replicas
};

PlanOptions plan_options(DType dtype) {
  PlanOptions options;
  options.dtype = dtype;
  return options;
}

/// A network in use on one image, up to the choice of the classes.
class Inference {
 public:
  explicit Inference(const Options& options)
      : options_(options),
        size_(parse_size(options.size, "--size")),
        device_(device_info(parse_device(options.device))),
        dtype_(resolve_precision(options.precision, device_)),
        context_(device_.device),
        graph_(build_network({options.network, options.classes, {}},
                             {1, size_.second, size_.first, 3})),
        parameters_(graph_.parameters(), context_.stream, false),
        plan_(without_last_upsampling(graph_), parameters_, context_, plan_options(dtype_)),
        mask_(device_.device, to_size(size_.first) * to_size(size_.second)),
        classes_(mask_.data(), {1, size_.second, size_.first, 1}, DType::u8, device_.device) {
    parameters_.initialize(1);
    plan_.pack_weights();
    fill_input();
    for (int i = 0; i < 3; ++i) run();
  }

  void measure() {
    std::vector<double> times;
    const Clock::time_point begin = Clock::now();
    while (times.size() < 3 || seconds_since(begin) < options_.seconds) {
      const Clock::time_point start = Clock::now();
      run();
      times.push_back(seconds_since(start));
    }
    std::sort(times.begin(), times.end());
    fmt::print(
        R"({{"program":"macadam","network":"{}","size":[{},{}],"precision":"{}","device":"{}",)"
        R"("library":"{}","images":{},"p50_ms":{:.4f},"p95_ms":{:.4f},"min_ms":{:.4f},)"
        R"("memory_mib":{:.1f}}})"
        "\n",
        options_.network, size_.second, size_.first, precision_name(dtype_), device_.name,
        backend_version(device_.device), times.size(), 1e3 * bench::percentile(times, 0.5),
        1e3 * bench::percentile(times, 0.95), 1e3 * times[0],
        static_cast<double>(plan_.memory().arena + plan_.memory().packed + parameters_.bytes()) /
            1048576.0);
  }

 private:
  void fill_input() {
    const Shape shape{1, size_.second, size_.first, 3};
    const Buffer image = Buffer::host_for(device_.device, to_size(shape.elements()));
    bench::fill_random({image.data(), image.bytes()}, 256, 1);
    Batch batch;
    batch.n = 1;
    batch.images = Tensor(image.data(), shape, DType::u8);
    BatchUpload upload(plan_, context_.stream, {});
    upload.run(batch);
    context_.stream.synchronize();
  }

  void run() {
    replay_.run(context_.stream, [this] {
      plan_.forward();
      const Tensor& scores = plan_.output();
      if (scores.shape.h == classes_.shape.h && scores.shape.w == classes_.shape.w) {
        context_.ops.confusion->argmax(scores, classes_, {});
      } else {
        context_.ops.upsample->bilinear_argmax(scores, classes_, {});
      }
    });
    context_.stream.synchronize();
  }

  const Options options_;
  const std::pair<int, int> size_;  // width, height
  const DeviceInfo device_;
  const DType dtype_;
  DeviceContext context_;
  const Graph graph_;
  Parameters parameters_;
  Plan plan_;
  Buffer mask_;
  const Tensor classes_;
  Replay replay_;
};

/// Classifiers on streams of their own, in use by one thread each.
class Throughput {
 public:
  explicit Throughput(const Options& options)
      : options_(options),
        size_(parse_size(options.size, "--size")),
        device_(device_info(parse_device(options.device))),
        dtype_(resolve_precision(options.precision, device_)),
        stream_(device_.device),
        shape_{options.batch, size_.second, size_.first, 3},
        graph_(build_network({options.network, options.classes, {}}, shape_)),
        parameters_(graph_.parameters(), stream_, false),
        weights_(parameters_, dtype_, device_.device) {
    parameters_.initialize(1);
    photo_.resize(to_size(shape_.h) * to_size(shape_.w) * 3);
    bench::fill_random(std::as_writable_bytes(std::span(photo_)), 256, 1);
    for (int i = 0; i < options.replicas; ++i) {
      auto& replica = replicas_.emplace_back(
          std::make_unique<Replica>(graph_, parameters_, weights_, device_.device, dtype_));
      replica->classifier.warm_up();
    }
  }

  void measure() {
    std::vector<std::vector<double>> times(to_size(options_.replicas));
    std::vector<std::exception_ptr> failures(times.size());
    std::vector<std::thread> threads;
    const Clock::time_point begin = Clock::now();
    for (size_t i = 0; i < times.size(); ++i) {
      threads.emplace_back([&, i] {
        try {
          times[i] = run_from(begin, replicas_[i]->classifier);
        } catch (...) {
          failures[i] = std::current_exception();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    const double seconds = seconds_since(begin);
    for (const std::exception_ptr& failure : failures) {
      if (failure) std::rethrow_exception(failure);
    }

    std::vector<double> all;
    for (const auto& of_one : times) all.insert(all.end(), of_one.begin(), of_one.end());
    std::sort(all.begin(), all.end());
    std::set<const Buffer*> memory, packed;
    for (const auto& replica : replicas_) {
      replica->classifier.add_memory(memory);
      for (const auto& one : replica->classifier.plan().weights().memory())
        packed.insert(one.get());
    }
    fmt::print(
        R"({{"program":"macadam","network":"{}","size":[{},{}],"precision":"{}","device":"{}",)"
        R"("library":"{}","replicas":{},"batch":{},"images_per_second":{:.2f},)"
        R"("p50_ms":{:.4f},"p95_ms":{:.4f},"memory_mib":{:.1f},"packed_mib":{:.1f}}})"
        "\n",
        options_.network, size_.second, size_.first, precision_name(dtype_), device_.name,
        backend_version(device_.device), options_.replicas, options_.batch,
        static_cast<double>(all.size()) * options_.batch / seconds,
        1e3 * bench::percentile(all, 0.5), 1e3 * bench::percentile(all, 0.95),
        static_cast<double>(bytes_of(memory)) / 1048576.0,
        static_cast<double>(bytes_of(packed)) / 1048576.0);
  }

 private:
  struct Replica {
    Replica(const Graph& graph, Parameters& parameters, PackedWeights& weights, Device device,
            DType dtype)
        : context(device),
          classifier(graph, parameters, weights, context, {dtype, {}, false, nullptr}) {}
    DeviceContext context;
    Classifier classifier;
  };

  /// Seconds that each batch took, for the time asked for.
  std::vector<double> run_from(Clock::time_point begin, Classifier& classifier) {
    std::vector<std::vector<uint8_t>> masks(to_size(shape_.n),
                                            std::vector<uint8_t>(photo_.size() / 3));
    std::vector<InferenceImage> images;
    images.reserve(masks.size());
    for (auto& mask : masks) images.push_back({photo_, mask});
    std::vector<double> times;
    while (times.size() < 3 || seconds_since(begin) < options_.seconds) {
      const Clock::time_point start = Clock::now();
      classifier.run(images);
      times.push_back(seconds_since(start));
    }
    return times;
  }

  const Options options_;
  const std::pair<int, int> size_;  // width, height
  const DeviceInfo device_;
  const DType dtype_;
  Stream stream_;
  const Shape shape_;
  const Graph graph_;
  Parameters parameters_;
  PackedWeights weights_;
  std::vector<std::unique_ptr<Replica>> replicas_;
  std::vector<uint8_t> photo_;
};

template <typename Program>
void measure_with(const Options& options) {
  Program program(options);
  bench::run_measurements(options.on_request, [&] { program.measure(); });
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Times inference.");
  Options options;
  app.add_option("--network", options.network)->capture_default_str();
  app.add_option("--size", options.size, "Width x height")->capture_default_str();
  app.add_option("--classes", options.classes)->capture_default_str();
  app.add_option("--precision", options.precision)->capture_default_str();
  app.add_option("--device", options.device)->capture_default_str();
  app.add_option("--seconds", options.seconds, "Of timed images")->capture_default_str();
  app.add_flag("--on-request", options.on_request, "Measure at each line of standard input");
  auto* replicas = app.add_option("--replicas", options.replicas, "Throughput of so many at once")
                       ->check(CLI::Range(1, 1024));
  app.add_option("--batch", options.batch, "Images at once, of each replica")
      ->check(CLI::Range(1, 1024))
      ->needs(replicas)
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    options.replicas > 0 ? measure_with<Throughput>(options) : measure_with<Inference>(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_inference: error: %s\n", error.what());
    return 1;
  }
  return 0;
}
