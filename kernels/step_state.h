#pragma once
// Scalars that change from step to step. They live in device memory, so that a recorded sequence
// of launches can be replayed without changing any kernel argument.

#include <cstdint>

namespace macadam {

/// Written by the host before each batch.
struct StepState {
  uint64_t step = 0;          // counts batches from 0; keys dropout
  uint64_t update = 0;        // optimiser steps before this one, skipped ones among them
  float lr = 0;               // learning rate of this step
  float gradient_factor = 1;  // 1 / batches whose gradients were summed
  uint64_t images = 0;        // of this batch, from its first; the others are padding
};

/// What is known of the gradients of a step, and the loss scale. Written by OptimOps::examine, so
/// that the host never waits for a norm.
struct GradientState {
  float loss_scale = 1;     // of the next step: the gradient of the loss is multiplied by it
  uint32_t good_steps = 0;  // since the loss scale last changed
  uint32_t skipped = 0;     // steps of the run that made no update
  uint32_t skip = 0;        // 1: this step makes none
  float norm = 0;           // of the gradient, unscaled, before clipping
  float factor = 1;         // on each gradient as it lies in memory
};

}  // namespace macadam
