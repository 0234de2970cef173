#pragma once
// Where the time of a training step goes, call by call.

#include <vector>

#include "engine/input/batch_source.h"
#include "engine/train/training_step.h"

namespace macadam {

struct ProfiledCall {
  StepCall step;
  double begin = 0;         // milliseconds from the step's beginning, in the last step measured
  double milliseconds = 0;  // median of the measured steps
  double floor = 0;         // milliseconds: its bytes or its arithmetic at the device's rates
  int64_t launches = 0;     // of kernels and copies on the device; libraries' calls count once
};

struct StepProfile {
  std::vector<ProfiledCall> calls;  // in the order in which they run
  int64_t steps = 0;                // measured
  double step_milliseconds = 0;     // sum of the calls' medians
  int64_t step_launches = 0;        // sum of the calls'
  double data_wait_share = 0;       // of the wall time of the measured steps
  double copy_rate = 0;             // bytes per second, read and written, of a large copy
  double matrix_rate = 0;           // FLOPs per second of a large matrix product
  DType dtype = DType::f32;         // of the activations, and of that product
  Device device;
};

/// Trains `steps` steps from the beginning of the source's first epoch, and some before them that
/// are not measured, one after the other and not captured: the device is idle between steps, never
/// within one. Changes the parameters. Requires steps > 0 and a source of at least one batch.
StepProfile profile_steps(TrainingStep& step, BatchSource& source, int64_t steps, float lr,
                          DeviceContext& context);

}  // namespace macadam
