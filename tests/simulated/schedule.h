#pragma once
// When a simulated device runs what was queued. A GPU may run the work of different streams in any
// order that events do not forbid, at any time before the host waits for it: code is right when all
// schedules give one result.

#include <cstdint>
#include <string>
#include <vector>

namespace macadam::simulated {

struct Schedule {
  enum class Order : uint8_t {
    at_once,       // when it is queued: the device is never behind the host
    late,          // what the host waits for, when it waits for it, and nothing else
    others_first,  // then too, but what other streams may do runs before it
    random,        // streams of different speeds, ahead of the host or behind it, by `seed`
  };
  Order order = Order::late;
  uint32_t seed = 0;

  std::string name() const;
};

/// The three extremes, then `count` - 3 random ones. Requires count >= 3.
std::vector<Schedule> schedules(int count = 12);

/// While it lives, the simulated device works by this schedule; before and after, by `late`. All
/// work that was queued before either moment is done then. One at a time.
class Scheduled {
 public:
  explicit Scheduled(const Schedule& schedule);
  Scheduled(const Scheduled&) = delete;
  Scheduled& operator=(const Scheduled&) = delete;
  ~Scheduled();
};

}  // namespace macadam::simulated
