#include "loader/loader_source.h"

namespace macadam {

void LoaderSource::start(int64_t epoch, int64_t first) {
  lease_.release();
  loader_.start(epoch, first);
}

const Batch& LoaderSource::next() {
  lease_.release();
  lease_ = loader_.next();
  require(static_cast<bool>(lease_), "a batch is left in the epoch");
  return *lease_;
}

std::string LoaderSource::sample_name(int sample) const {
  const auto& samples = loader_.dataset().samples;
  const auto index = static_cast<size_t>(sample);
  return sample >= 0 && index < samples.size() ? samples[index].image.string() : "padding";
}

}  // namespace macadam
