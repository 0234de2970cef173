#include "app/loader_options.h"

namespace macadam {

LoaderOptions loader_options(const Config& config, Device device, bool training) {
  LoaderOptions options;
  options.height = config.height;
  options.width = config.width;
  options.batch = config.batch;
  options.threads = config.loader_threads;
  options.seed = config.seed;
  options.shuffle = training;
  if (training) {
    options.augmentation = std::make_shared<const Augmentation>(
        config.augment, ImageSize{config.height, config.width});
  }
  options.drop_last = training;
  options.cache_bytes = static_cast<size_t>(config.loader_cache) << 20;
  options.reduced_decoding = config.reduced_decoding;
  options.device = device;
  return options;
}

}  // namespace macadam
