#pragma once
// The learning rate as a function of the step alone: nothing to save, nothing to resume.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "base/error.h"

namespace macadam {

enum class ScheduleKind : uint8_t { constant, cosine, poly };

struct Schedule {
  ScheduleKind kind = ScheduleKind::cosine;
  double lr = 1e-3;          // the peak, reached at step `warmup_steps`
  double min_lr = 0;         // where cosine and poly end; unused by constant
  int64_t warmup_steps = 0;  // at most total_steps
  int64_t total_steps = 1;
};

/// The learning rate of step `step` (from 0):
///   warm-up   lr * (step + 1) / (warmup_steps + 1) while step < warmup_steps
///   constant  lr
///   cosine    min_lr + (lr - min_lr) * (1 + cos(pi * t)) / 2      (Loshchilov and Hutter, 2017)
///   poly      min_lr + (lr - min_lr) * (1 - t)^0.9                 (Chen et al., 2017)
/// with t = (step - warmup_steps) / (total_steps - warmup_steps), at most 1.
/// Requires 0 <= warmup_steps <= total_steps and step >= 0.
inline double learning_rate(const Schedule& schedule, int64_t step) {
  require(step >= 0 && schedule.warmup_steps >= 0 && schedule.warmup_steps <= schedule.total_steps,
          "0 <= step and 0 <= warm-up steps <= total steps");
  if (step < schedule.warmup_steps) {
    return schedule.lr * static_cast<double>(step + 1) /
           static_cast<double>(schedule.warmup_steps + 1);
  }
  const int64_t decay_steps = std::max<int64_t>(schedule.total_steps - schedule.warmup_steps, 1);
  const double t = std::min(
      1.0, static_cast<double>(step - schedule.warmup_steps) / static_cast<double>(decay_steps));
  const double range = schedule.lr - schedule.min_lr;
  switch (schedule.kind) {
    case ScheduleKind::constant: return schedule.lr;
    case ScheduleKind::cosine:
      return schedule.min_lr + range * (1 + std::cos(std::numbers::pi * t)) / 2;
    case ScheduleKind::poly: return schedule.min_lr + range * std::pow(1 - t, 0.9);
  }
  throw std::logic_error("requirement violated: a known schedule");
}

}  // namespace macadam
