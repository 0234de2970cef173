#pragma once
// What the programs that print one JSON object a measurement share.

#include <algorithm>
#include <chrono>
#include <iostream>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace macadam::bench {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The value below which `share` of `sorted` lies. Requires at least one.
inline double percentile(std::span<const double> sorted, double share) {
  const auto last = static_cast<double>(sorted.size() - 1);
  return sorted[static_cast<size_t>(share * last + 0.5)];
}

/// Random bytes below `limit`.
inline void fill_random(std::span<std::byte> bytes, unsigned limit, unsigned seed) {
  std::mt19937 random(seed);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() % limit);
}

/// Calls `measure` once or, with `on_request`, once for each line of standard input until its end:
/// a caller can take turns between this program and another, both of them ready.
template <typename Measure>
void run_measurements(bool on_request, const Measure& measure) {
  if (!on_request) return measure();
  std::cout << "ready" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    measure();
    std::cout.flush();
  }
}

}  // namespace macadam::bench
