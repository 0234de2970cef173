#include "kernels/distill.h"

#include "base/error.h"

namespace macadam {

void check_distill(const DistillDesc& desc, const Tensor& student, const Tensor& teacher,
                   const Tensor& d_student) {
  require(desc.weight > 0 && desc.temperature > 0,
          "distillation: weight and temperature are positive");
  require(student.shape.c <= kMaxLossClasses, "distillation: at most kMaxLossClasses classes");
  require(teacher.shape == student.shape && teacher.dtype == student.dtype,
          "distillation: scores of one shape and dtype");
  require(d_student.data == nullptr ||
              (d_student.shape == student.shape && d_student.dtype == student.dtype &&
               d_student.data != student.data),
          "distillation: a gradient of the scores' shape and dtype, in other memory");
}

}  // namespace macadam
