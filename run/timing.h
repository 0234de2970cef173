#pragma once
// How long calls take, beside each other.

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace macadam {

/// Milliseconds of each call, the median of `rounds` rounds in which all are called in turns, after
/// three to warm up: what slows the machine for a while slows all of them. Requires a round.
std::vector<double> time_in_turns(std::span<const std::function<void()>> calls, int rounds);

/// The bytes of an RGB photo to time networks on.
std::vector<uint8_t> photo_to_time(int height, int width);

}  // namespace macadam
