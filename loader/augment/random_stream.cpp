#include "loader/augment/random_stream.h"

#include <numeric>

#include "base/error.h"

namespace macadam {

RandomStream::RandomStream(uint64_t seed, int64_t epoch, int sample, uint32_t purpose)
    : key0_(static_cast<uint32_t>(seed)),
      key1_(static_cast<uint32_t>(seed >> 32)),
      counter_{{0, static_cast<uint32_t>(epoch), static_cast<uint32_t>(sample), purpose}} {}

uint32_t RandomStream::word() {
  if (used_ == 4) {
    block_ = scalar::philox(counter_, key0_, key1_);
    ++counter_.word[0];
    used_ = 0;
  }
  return block_.word[used_++];
}

double RandomStream::uniform() { return word() * 0x1p-32; }

double RandomStream::uniform(double low, double high) { return low + (high - low) * uniform(); }

int RandomStream::integer(int low, int high) {
  require(low <= high, "an integer is drawn from a range");
  const auto count = static_cast<uint64_t>(int64_t{high} - low + 1);
  // The upper half of the product is uniform to within count * 2^-32.
  return static_cast<int>(low + static_cast<int64_t>((word() * count) >> 32));
}

bool RandomStream::chance(double probability) { return uniform() < probability; }

size_t RandomStream::choice(std::span<const double> weights) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  require(sum > 0, "weights have a positive sum");
  double rest = uniform() * sum;
  size_t last = 0;  // of positive weight: what rounding may leave over goes to it
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] <= 0) continue;
    if (rest < weights[i]) return i;
    rest -= weights[i];
    last = i;
  }
  return last;
}

std::array<uint32_t, 2> RandomStream::key() {
  const uint32_t first = word();
  return {first, word()};
}

}  // namespace macadam
