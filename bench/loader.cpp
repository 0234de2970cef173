// How many samples a second come ready for the network: decoded, augmented, normalised, in batches.
// Takes the data set, size, batch, augmentation and loader of a training configuration; prints one
// JSON object a measurement. The first epoch of the first measurement fills the page cache.
//
//   bench_loader CONFIG [KEY=VALUE…] [--seconds S] [--on-request]

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <vector>

#include "app/memory.h"
#include "base/to_size.h"
#include "bench/measuring.h"
#include "engine/input/batch_upload.h"
#include "engine/plan/precision.h"
#include "run/config.h"
#include "run/label_sets.h"
#include "run/loader_options.h"

namespace {

using namespace macadam;
using bench::Clock, bench::seconds_since;

/// Training batches without end.
class Batches {
 public:
  Batches(const Config& config, const LabelSet& labels)
      : loader_(open_dataset(config.dataset.train, "train"), labels,
                loader_options(config, Device{}, true, observer_)),
        dtype_(resolve_precision(name_of(config.precision), device_info(Device{}))),
        normalization_(config.normalization),
        shape_{config.batch, config.height, config.width, 3},
        x_memory_(Device{}, to_size(shape_.elements()) * 4),
        label_memory_(Device{}, to_size(shape_.pixels())) {
    loader_.start(0);
  }

  /// Samples in it.
  int next() {
    if (served_ == loader_.batches()) {
      loader_.start(++epoch_);
      served_ = 0;
    }
    const Batch& batch = loader_.next();
    ++served_;
    prepare_batch(context_.stream, *context_.ops.augment, batch, normalization_, scratch_,
                  Tensor(x_memory_.data(), shape_, dtype_),
                  Tensor(label_memory_.data(), {shape_.n, shape_.h, shape_.w, 1}, DType::u8));
    return batch.n;
  }
  DType dtype() const { return dtype_; }

 private:
  Observer observer_;
  Loader loader_;
  DType dtype_;
  Normalization normalization_;
  DeviceContext context_;
  Shape shape_;
  Buffer x_memory_, label_memory_, scratch_;
  int64_t epoch_ = 0, served_ = 0;  // batches of the epoch
};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Samples a second, ready for the network"};
  std::string file;
  std::vector<std::string> overrides;
  double seconds = 5;
  bool on_request = false;
  app.add_option("config", file, "TOML file of a training run")->required();
  app.add_option("overrides", overrides, "key=value");
  app.add_option("--seconds", seconds, "Of a measurement");
  app.add_flag("--on-request", on_request, "One measurement a line of standard input");
  CLI11_PARSE(app, argc, argv);
  keep_freed_memory();
  try {
    const Config config = load_config(file, overrides);
    const LabelSet labels = make_label_set(config, config.dataset.train);
    Batches batches(config, labels);
    batches.next();
    bench::run_measurements(on_request, [&] {
      const Clock::time_point start = Clock::now();
      int64_t samples = 0;
      while (seconds_since(start) < seconds) samples += batches.next();
      fmt::print("{{\"samples_per_second\": {:.3f}, \"samples\": {}, \"dtype\": \"{}\"}}\n",
                 static_cast<double>(samples) / seconds_since(start), samples,
                 precision_name(batches.dtype()));
      std::fflush(stdout);
    });
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_loader: {}\n", error.what());
    return 2;
  }
  return 0;
}
