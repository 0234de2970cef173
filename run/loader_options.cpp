#include "run/loader_options.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/to_size.h"

namespace macadam {

LoaderOptions loader_options(const Config& config, Device device, bool training,
                             Observer& observer) {
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
  options.cache_bytes = to_size(config.loader_cache) << 20;
  options.reduced_decoding = config.reduced_decoding;
  if (!config.strict) {
    options.on_fault = [&observer](const std::string& fault) { observer.on_fault(fault); };
  }
  options.device = device;
  return options;
}

std::optional<DeviceCache> make_device_cache(const Config& config, const LoaderOptions& options,
                                             int samples) {
  if (config.device_cache == 0) return std::nullopt;
  if (!options.device.is_cuda()) {
    throw InputError("has no effect on the CPU", "loader.device_cache",
                     "remove it; loader.cache keeps samples in memory");
  }
  if (options.augmentation->windows() || options.augmentation->needs_statistics()) {
    throw InputError("cannot keep samples of which the augmentation sees the whole photo",
                     "loader.device_cache",
                     "remove it, or the crops and what is relative to a photo's mean");
  }
  const size_t bytes = to_size(config.device_cache) << 20;
  const size_t sample = 4 * to_size(options.height) * to_size(options.width);
  if (bytes < sample) {
    throw InputError("has no room for a sample", "loader.device_cache",
                     fmt::format("give it at least {}", (sample >> 20) + 1));
  }
  try {
    return std::make_optional<DeviceCache>(options.device, bytes, samples, options.height,
                                           options.width);
  } catch (const RunError&) {
    throw RunError(fmt::format("the device has no {} MiB to spare", config.device_cache),
                   "loader.device_cache", "lower it");
  }
}

}  // namespace macadam
