#pragma once
// Scalars that change from step to step. They live in device memory, so that a recorded sequence
// of launches can be replayed without changing any kernel argument.

#include <cstdint>

namespace macadam {

struct StepState {
  uint64_t step = 0;           // counts from 0; keys dropout
  float lr = 0;                // learning rate of this step
  float bias_correction1 = 1;  // 1 - beta1^(step+1), Adam only
  float bias_correction2 = 1;  // 1 - beta2^(step+1), Adam only
};

}  // namespace macadam
