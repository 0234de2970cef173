#pragma once
// When what requests have freed goes back to the system.

#include <chrono>
#include <cstdint>

namespace macadam {

/// While requests come, freed memory stays with the process: the next needs it again. When none has
/// come for kQuiet it is due to go back, once.
class IdleMemory {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds kQuiet{5};

  /// Whether memory is due. `begun`: requests so far; `working`: those without an answer. To be
  /// asked several times a second.
  bool due(uint64_t begun, int working, Clock::time_point now) {
    if (begun != begun_ || working > 0) {
      begun_ = begun;
      last_ = now;
      kept_ = true;
      return false;
    }
    if (!kept_ || now - last_ < kQuiet) return false;
    kept_ = false;
    return true;
  }

 private:
  uint64_t begun_ = 0;
  Clock::time_point last_{};
  bool kept_ = false;
};

}  // namespace macadam
