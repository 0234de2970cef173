#include "engine/input/device_cache.h"

#include <algorithm>

#include "base/error.h"
#include "base/to_size.h"

namespace macadam {

DeviceCache::DeviceCache(Device device, size_t bytes, int samples, int height, int width)
    : pixels_(to_size(height) * to_size(width)),
      bytes_(4 * pixels_),
      capacity_(static_cast<int>(std::min(bytes / bytes_, to_size(samples)))),
      memory_(device, to_size(capacity_) * bytes_),
      held_(std::make_unique<std::atomic<bool>[]>(to_size(capacity_))) {}

bool DeviceCache::holds(int sample) const {
  return has_room_for(sample) && held_[to_size(sample)].load();
}

void DeviceCache::store(Stream& stream, int sample, const std::byte* image,
                        const std::byte* labels) {
  require(has_room_for(sample), "the cache has room for the sample");
  copy_bytes(stream, entry(sample), image, 3 * pixels_);
  copy_bytes(stream, entry(sample) + 3 * pixels_, labels, pixels_);
  held_[to_size(sample)].store(true);
}

void DeviceCache::copy_to(Stream& stream, int sample, std::byte* image, std::byte* labels) {
  require(holds(sample), "the cache holds the sample");
  copy_bytes(stream, image, entry(sample), 3 * pixels_);
  copy_bytes(stream, labels, entry(sample) + 3 * pixels_, pixels_);
}

}  // namespace macadam
