#pragma once
// How long calls take, beside each other.

#include <functional>
#include <span>
#include <vector>

namespace macadam {

/// Milliseconds of each call, the median of `rounds` rounds in which all are called in turns, after
/// three to warm up: what slows the machine for a while slows all of them. Requires a round.
std::vector<double> time_in_turns(std::span<const std::function<void()>> calls, int rounds);

}  // namespace macadam
