#pragma once
// A trained network that looks at the batches of a training step too, and to whose scores those of
// the network in training are drawn (kernels/distill.h).

#include "engine/plan/plan.h"
#include "kernels/augment.h"
#include "kernels/distill.h"

namespace macadam {

struct TeacherOptions {
  Graph graph;  // for the batch of the network in training, with as many classes
  Parameters* parameters = nullptr;
  Normalization normalization;
  DistillDesc distill;  // its weight and temperature
};

class Teacher {
 public:
  /// `student`: the plan in training, made with keeps_scores and `student_options`. The parameters
  /// and `context` outlive it.
  Teacher(const TeacherOptions& options, const Plan& student, const PlanOptions& student_options,
          DeviceContext& context);

  /// After the loss of `student`, which may be another plan of the same shapes: scores its batch,
  /// which is in the input in use, and adds to its gradient. The first `images` count; this and
  /// `value`, what the teacher adds to the loss, lie in device memory. With a timeline, marks it
  /// after every call of calls().
  void teach(const Plan& student, const uint64_t* images, float* value, Timeline* timeline);
  /// Of teach().
  std::vector<PlanCall> calls() const;

  Plan& plan() { return plan_; }
  const PlanMemory& memory() const { return plan_.memory(); }

 private:
  DeviceContext& context_;
  DistillDesc distill_;
  Plan plan_;
  Buffer workspace_;
};

}  // namespace macadam
