#pragma once
// What the tests on the simulated device share.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "block_emulator.h"
#include "kernels/device.h"
#include "tests/simulated/schedule.h"

namespace macadam::simulated {

constexpr Device kGpu{DeviceKind::cuda, 0};

/// Queues a function in the place of a kernel.
inline void launch(Stream& stream, std::function<void()> kernel) {
  static_cast<emulator::Queue*>(stream.native())->push(std::move(kernel));
}

/// The different results that `body` has under many schedules, in the order of schedules().
template <typename Body>
auto results_of(const Body& body, int count = 12) {
  std::vector<decltype(body())> found;
  for (const Schedule& schedule : schedules(count)) {
    const Scheduled scheduled(schedule);
    auto result = body();
    if (std::find(found.begin(), found.end(), result) == found.end()) {
      found.push_back(std::move(result));
    }
  }
  return found;
}

/// Runs `check` under many schedules.
inline void under_schedules(const std::function<void()>& check, int count = 12) {
  for (const Schedule& schedule : schedules(count)) {
    SCOPED_TRACE(schedule.name());
    const Scheduled scheduled(schedule);
    check();
  }
}

}  // namespace macadam::simulated
