#pragma once
// The softmax of a class's scores over the pixels of an image, of student and teacher, from sums
// that are taken part by part, each relative to the largest score so far.

#include <cmath>

#include "kernels/scalar/host_device.h"

namespace macadam::scalar {

/// Below every score.
constexpr float kLowestScore = -3.40282347e38f;

/// Of some pixels, with s and t the scores over the temperature. No default values: a block of
/// threads shares memory of these.
struct ChannelSums {
  float student_max, student;  // the sum of exp(s - student_max)
  float teacher_max, teacher;
  float cross;  // the sum of exp(t - teacher_max) * (t - s)
};

MACADAM_HD ChannelSums no_pixels() { return {kLowestScore, 0, kLowestScore, 0, 0}; }

/// Of the pixels of both.
MACADAM_HD ChannelSums joined(const ChannelSums& a, const ChannelSums& b) {
  ChannelSums all;
  all.student_max = b.student_max > a.student_max ? b.student_max : a.student_max;
  all.teacher_max = b.teacher_max > a.teacher_max ? b.teacher_max : a.teacher_max;
  const float teacher_a = std::exp(a.teacher_max - all.teacher_max);
  const float teacher_b = std::exp(b.teacher_max - all.teacher_max);
  all.student = a.student * std::exp(a.student_max - all.student_max) +
                b.student * std::exp(b.student_max - all.student_max);
  all.teacher = a.teacher * teacher_a + b.teacher * teacher_b;
  all.cross = a.cross * teacher_a + b.cross * teacher_b;
  return all;
}

/// Of all pixels of an image.
struct ChannelTotals {
  float student_max, teacher_max;
  double student, teacher, cross;

  /// KL(softmax(t) || softmax(s)).
  MACADAM_HD double divergence() const {
    return cross / teacher + std::log(student / teacher) +
           (static_cast<double>(student_max) - static_cast<double>(teacher_max));
  }
};

/// part(k), k < parts: the sums of one part of the pixels.
template <typename Part>
MACADAM_HD ChannelTotals total_of(int parts, const Part& part) {
  ChannelTotals all{kLowestScore, kLowestScore, 0, 0, 0};
  for (int k = 0; k < parts; ++k) {
    const ChannelSums sums = part(k);
    all.student_max = sums.student_max > all.student_max ? sums.student_max : all.student_max;
    all.teacher_max = sums.teacher_max > all.teacher_max ? sums.teacher_max : all.teacher_max;
  }
  for (int k = 0; k < parts; ++k) {
    const ChannelSums sums = part(k);
    const auto of_student = static_cast<double>(std::exp(sums.student_max - all.student_max));
    const auto of_teacher = static_cast<double>(std::exp(sums.teacher_max - all.teacher_max));
    all.student += static_cast<double>(sums.student) * of_student;
    all.teacher += static_cast<double>(sums.teacher) * of_teacher;
    all.cross += static_cast<double>(sums.cross) * of_teacher;
  }
  return all;
}

/// What the gradient of a class in an image is made of.
struct ChannelSoftmax {
  float student_max, student_factor;  // exp(s - max) * factor is the softmax times `scale`
  float teacher_max, teacher_factor;
};

MACADAM_HD ChannelSoftmax softmax_of(const ChannelTotals& totals, double scale) {
  return {totals.student_max, static_cast<float>(scale / totals.student), totals.teacher_max,
          static_cast<float>(scale / totals.teacher)};
}

}  // namespace macadam::scalar
