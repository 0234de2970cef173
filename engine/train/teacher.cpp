#include "engine/train/teacher.h"

namespace macadam {

namespace {

PlanOptions plan_options(const Plan& student, const PlanOptions& of_student) {
  PlanOptions plan;
  plan.mode = Mode::infer;
  plan.dtype = of_student.dtype;
  plan.pad_channels = of_student.pad_channels;
  plan.inputs = student.inputs();
  return plan;
}

DistillDesc distill_desc(const DistillDesc& wanted, const PlanOptions& of_student) {
  DistillDesc distill = wanted;
  distill.gradient_scale = of_student.loss->gradient_scale;
  return distill;
}

}  // namespace

Teacher::Teacher(const TeacherOptions& options, const Plan& student,
                 const PlanOptions& student_options, DeviceContext& context)
    : context_(context),
      distill_(distill_desc(options.distill, student_options)),
      plan_(options.graph, *options.parameters, context, plan_options(student, student_options)),
      workspace_(context.device(), context.ops.distill->workspace_bytes(plan_.output().shape)) {
  require(student_options.keeps_scores, "a student whose scores are kept");
  require(plan_.output().shape == student.output().shape, "a teacher of the student's scores");
  plan_.pack_weights();
}

void Teacher::teach(const Plan& student, const uint64_t* images, float* value, Timeline* timeline) {
  plan_.forward(timeline);
  DistillDesc distill = distill_;
  distill.images = images;
  context_.ops.distill->run(distill, student.output(), plan_.output(), student.output_gradient(),
                            value, workspace_.data());
  if (timeline != nullptr) timeline->mark();
}

std::vector<PlanCall> Teacher::calls() const {
  std::vector<PlanCall> list = plan_.calls(Pass::forward);
  for (PlanCall& call : list) {
    call.layer = -1;  // none of the student's
    call.name.clear();
    call.kind = "teacher's " + call.kind;
  }
  const auto bytes = static_cast<int64_t>(plan_.output().whole().bytes());
  list.push_back({"", "distillation", -1, 0, 6 * bytes});
  return list;
}

}  // namespace macadam
