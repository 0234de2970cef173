#include "run/timing.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/to_size.h"

namespace macadam {

namespace {

constexpr int kWarmUp = 3;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

double milliseconds_of(const std::function<void()>& call) {
  const auto begun = std::chrono::steady_clock::now();
  call();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun)
      .count();
}

}  // namespace

std::vector<uint8_t> photo_to_time(int height, int width) {
  std::vector<uint8_t> photo(to_size(height) * to_size(width) * 3);
  for (size_t i = 0; i < photo.size(); ++i) photo[i] = static_cast<uint8_t>(i * 37 >> 3);
  return photo;
}

std::vector<double> time_in_turns(std::span<const std::function<void()>> calls, int rounds) {
  require(rounds > 0, "at least one round");
  std::vector<std::vector<double>> times(calls.size());
  for (int round = -kWarmUp; round < rounds; ++round) {
    for (size_t i = 0; i < calls.size(); ++i) {
      const double time = milliseconds_of(calls[i]);
      if (round >= 0) times[i].push_back(time);
    }
  }
  std::vector<double> medians;
  medians.reserve(times.size());
  for (std::vector<double>& of_call : times) medians.push_back(median(std::move(of_call)));
  return medians;
}

}  // namespace macadam
