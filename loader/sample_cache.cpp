#include "loader/sample_cache.h"

#include <utility>

#include "base/to_size.h"

namespace macadam {

const DecodedSample* SampleCache::find(int sample) const {
  const DecodedSample& entry = entries_[to_size(sample)];
  return entry.photo.pixels.empty() ? nullptr : &entry;
}

const DecodedSample* SampleCache::keep(int index, DecodedSample& sample) {
  const size_t bytes = sample.bytes();
  if (used_.fetch_add(bytes) + bytes > capacity_) {
    used_.fetch_sub(bytes);
    return nullptr;
  }
  DecodedSample& entry = entries_[to_size(index)];
  entry = std::move(sample);
  return &entry;
}

}  // namespace macadam
