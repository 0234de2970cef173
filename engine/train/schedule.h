#pragma once
// The learning rate as a function of the step alone: nothing to save, nothing to resume.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "base/error.h"

namespace macadam {

enum class ScheduleKind : uint8_t { constant, cosine, poly, one_cycle, step };

struct Schedule {
  ScheduleKind kind = ScheduleKind::cosine;
  double lr = 1e-3;          // the peak, reached at step `warmup_steps`
  double min_lr = 0;         // where cosine, poly and one_cycle end
  int64_t warmup_steps = 0;  // at most total_steps
  int64_t total_steps = 1;
  double power = 0.9;      // of poly
  double factor = 0.1;     // of step: what the rate is multiplied by
  int64_t step_steps = 1;  // of step: how often, in optimiser steps; positive
};

/// Where one_cycle begins, as a share of the peak.
inline constexpr double kOneCycleStart = 1.0 / 25;

/// The learning rate of step `step` (from 0):
///   warm-up   lr * (step + 1) / (warmup_steps + 1) while step < warmup_steps
///   constant  lr
///   cosine    min_lr + (lr - min_lr) * (1 + cos(pi * t)) / 2      (Loshchilov and Hutter, 2017)
///   poly      min_lr + (lr - min_lr) * (1 - t)^power               (Chen et al., 2017)
///   one_cycle as cosine, behind a warm-up that rises as a half cosine from lr / 25
///             (Smith and Topin, 2018, in the form of PyTorch's OneCycleLR; momentum stays)
///   step      lr * factor^floor(step / step_steps)                 (PyTorch's StepLR)
/// with t = (step - warmup_steps) / (total_steps - warmup_steps), at most 1.
/// Requires 0 <= warmup_steps <= total_steps and step >= 0.
inline double learning_rate(const Schedule& schedule, int64_t step) {
  require(step >= 0 && schedule.warmup_steps >= 0 && schedule.warmup_steps <= schedule.total_steps,
          "0 <= step and 0 <= warm-up steps <= total steps");
  const auto half_cosine = [](double from, double to, double t) {
    return to + (from - to) * (1 + std::cos(std::numbers::pi * t)) / 2;
  };
  if (step < schedule.warmup_steps) {
    const auto done = static_cast<double>(step), all = static_cast<double>(schedule.warmup_steps);
    return schedule.kind == ScheduleKind::one_cycle
               ? half_cosine(kOneCycleStart * schedule.lr, schedule.lr, done / all)
               : schedule.lr * (done + 1) / (all + 1);
  }
  const int64_t decay_steps = std::max<int64_t>(schedule.total_steps - schedule.warmup_steps, 1);
  const double t = std::min(
      1.0, static_cast<double>(step - schedule.warmup_steps) / static_cast<double>(decay_steps));
  const double range = schedule.lr - schedule.min_lr;
  switch (schedule.kind) {
    case ScheduleKind::constant: return schedule.lr;
    case ScheduleKind::cosine:
    case ScheduleKind::one_cycle: return half_cosine(schedule.lr, schedule.min_lr, t);
    case ScheduleKind::poly: return schedule.min_lr + range * std::pow(1 - t, schedule.power);
    case ScheduleKind::step: {
      const int64_t times = step / schedule.step_steps;
      return schedule.lr * std::pow(schedule.factor, static_cast<double>(times));
    }
  }
  throw std::logic_error("requirement violated: a known schedule");
}

}  // namespace macadam
