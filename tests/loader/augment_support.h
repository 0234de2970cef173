#pragma once
// What the tests of augmentation share: lists as a configuration would give them, programs as they
// are carried out, and statistics.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/augment_program.h"
#include "kernels/scalar/warp.h"
#include "loader/augment/list.h"
#include "tests/kernels/npy.h"

namespace macadam::testing {

using Items = ParameterTable;

inline ParameterValue value(bool v) { return {v}; }
inline ParameterValue value(int v) { return {int64_t{v}}; }
inline ParameterValue value(double v) { return {v}; }
inline ParameterValue value(const char* v) { return {std::string(v)}; }
inline ParameterValue list(ParameterList items) { return {std::move(items)}; }
template <class T>
ParameterValue pair(T low, T high) {
  return list({value(low), value(high)});
}

/// {name = NAME, ...}
inline ParameterValue entry(const char* name, Items items = {}) {
  items.push_back({"name", value(name)});
  return {std::move(items)};
}

constexpr ImageSize kSize{48, 64};

inline AugmentList parse(ParameterList entries, ImageSize size = kSize) {
  return parse_augmentation(list(std::move(entries)), "first.toml:3", size);
}

/// A program as AugmentBuilder wrote it.
class Program {
 public:
  explicit Program(const AugmentBuilder& builder) : bytes_(builder.bytes()) {
    builder.write(bytes_);
    std::memcpy(&header, bytes_.data(), sizeof header);
  }

  AugmentHeader header;

  const std::vector<std::byte>& bytes() const { return bytes_; }
  int ops() const { return header.stage[header.stages - 1u].last; }

  template <class T>
  std::vector<T> data(uint32_t offset, size_t count) const {
    std::vector<T> values(count);
    std::memcpy(values.data(), bytes_.data() + offset, count * sizeof(T));
    return values;
  }

  /// Where an output pixel comes from.
  scalar::Source source(int y, int x, ImageSize size) const {
    return scalar::source_of(header, bytes_.data(), y, x, size.height, size.width);
  }

 private:
  std::vector<std::byte> bytes_;
};

/// The program that a transform writes for the drawn values.
template <class T>
Program program_of(const T& transform, const typename T::Drawn& drawn, ImageSize size = kSize) {
  AugmentBuilder builder(size.height, size.width);
  transform.write(drawn, builder);
  return Program(builder);
}

/// Expects values to follow a continuous law (Kolmogorov, Smirnov). The threshold is passed by one
/// in 10^5 sets of values of the right law; draws are fixed, so that a test passes always or never.
inline void expect_law(std::vector<double> values, const std::function<double(double)>& law) {
  std::ranges::sort(values);
  const auto n = static_cast<double>(values.size());
  double distance = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double expected = law(values[i]), rank = static_cast<double>(i);
    distance = std::max({distance, expected - rank / n, (rank + 1) / n - expected});
  }
  EXPECT_LT(distance, 2.5 / std::sqrt(n));
}

inline void expect_uniform(const std::vector<double>& values, double low, double high) {
  expect_law(values, [&](double v) { return std::clamp((v - low) / (high - low), 0.0, 1.0); });
}

/// Expects counts in proportion to `weights` (chi-squared, far beyond its mean).
inline void expect_shares(const std::vector<int>& counts, const std::vector<double>& weights) {
  ASSERT_EQ(counts.size(), weights.size());
  double total = 0, sum = 0, statistic = 0;
  for (const double weight : weights) sum += weight;
  for (const int count : counts) total += count;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double expected = total * weights[i] / sum;
    if (expected == 0) {
      EXPECT_EQ(counts[i], 0);
    } else {
      statistic += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
  }
  const auto freedom = static_cast<double>(counts.size() - 1);
  EXPECT_LT(statistic, freedom + 5 * std::sqrt(2 * freedom) + 10);
}

}  // namespace macadam::testing
