// Channel-wise distillation on the CPU: two passes over the scores, one for the sums of each chunk
// of an image's pixels and one for the gradient. Both take blocks of pixels class by class.

#include "kernels/scalar/distill.h"

#include <algorithm>
#include <memory>

#include "base/round_up.h"
#include "base/to_size.h"
#include "kernels/cpu/class_major.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/scalar/exp_log.h"

namespace macadam::cpu {

namespace {

using scalar::ChannelSoftmax;
using scalar::ChannelSums;

/// A block of pixels of both networks, over the temperature.
struct ScoreBlock {
  alignas(64) ClassRow student[kMaxLossClasses];
  alignas(64) ClassRow teacher[kMaxLossClasses];

  /// Places behind `pixels` get the lowest score, which adds nothing to a sum.
  template <typename T>
  void load(const Tensor& from, int64_t pixel, int pixels, float inverse_temperature,
            ClassRow* rows) {
    to_class_major(at<const T>(from, pixel), from.pixel_stride, pixels, from.shape.c, rows);
    for (int c = 0; c < from.shape.c; ++c) {
      float* const row = rows[c];
#pragma omp simd
      for (int p = 0; p < kBlockPixels; ++p) row[p] *= inverse_temperature;
      std::fill(row + pixels, row + kBlockPixels, scalar::kLowestScore);
    }
  }
};

float largest(const float* row) {
  float most = row[0];
#pragma omp simd reduction(max : most)
  for (int p = 0; p < kBlockPixels; ++p) most = row[p] > most ? row[p] : most;
  return most;
}

/// Of one class of a block.
ChannelSums sums_of(const float* student, const float* teacher) {
  const float student_max = largest(student), teacher_max = largest(teacher);
  float student_sum = 0, teacher_sum = 0, cross = 0;
#pragma omp simd reduction(+ : student_sum, teacher_sum, cross)
  for (int p = 0; p < kBlockPixels; ++p) {
    const float e = scalar::exp_inline(teacher[p] - teacher_max);
    student_sum += scalar::exp_inline(student[p] - student_max);
    teacher_sum += e;
    cross += e * (teacher[p] - student[p]);
  }
  return {student_max, student_sum, teacher_max, teacher_sum, cross};
}

/// How a call is cut: chunks of the pixels of each image, which depend on the shape alone.
struct Problem {
  explicit Problem(const Shape& shape)
      : images(shape.n),
        pixels(int64_t{shape.h} * shape.w),
        chunk(round_up(sum_chunk(pixels), kBlockPixels)),
        chunks(ceil_div(pixels, chunk)),
        classes(shape.c) {}

  int64_t images;
  int64_t pixels;  // of an image
  int64_t chunk, chunks;
  int classes;

  /// Calls body(chunk of all, image, first pixel, pixels) for blocks, a chunk's in order, chunks in
  /// parallel.
  template <typename Body>
  void for_blocks(int64_t count, const Body& body) const {
    parallel_items(count * chunks, chunk * classes, [&](int64_t k) {
      const int64_t image = k / chunks, begin = k % chunks * chunk;
      const int64_t end = std::min(pixels, begin + chunk);
      for (int64_t p = begin; p < end; p += kBlockPixels) {
        body(k, image, image * pixels + p,
             static_cast<int>(std::min<int64_t>(kBlockPixels, end - p)));
      }
    });
  }
};

class CpuDistillOps final : public DistillOps {
 public:
  size_t workspace_bytes(Shape scores) const override {
    const Problem problem(scores);
    return to_size(problem.images * problem.classes) *
           (to_size(problem.chunks) * sizeof(ChannelSums) + sizeof(ChannelSoftmax));
  }

  void run(const DistillDesc& desc, const Tensor& student, const Tensor& teacher,
           const Tensor& d_student, float* value, void* workspace) override {
    check_distill(desc, student, teacher, d_student);
    const Problem problem(student.shape);
    auto* const sums = static_cast<ChannelSums*>(workspace);
    auto* const softmax =
        reinterpret_cast<ChannelSoftmax*>(sums + problem.images * problem.chunks * problem.classes);
    const auto images = static_cast<int64_t>(
        desc.images == nullptr ? to_size(problem.images)
                               : std::min<uint64_t>(*desc.images, to_size(problem.images)));
    const float inverse_temperature = 1 / desc.temperature;
    visit_cpu(student.dtype, [&](auto type) {
      using T = decltype(type);
      std::fill_n(sums, images * problem.chunks * problem.classes, scalar::no_pixels());
      problem.for_blocks(images, [&](int64_t chunk, int64_t, int64_t pixel, int pixels) {
        ScoreBlock block;
        block.load<T>(student, pixel, pixels, inverse_temperature, block.student);
        block.load<T>(teacher, pixel, pixels, inverse_temperature, block.teacher);
        ChannelSums* const of_chunk = sums + chunk * problem.classes;
        for (int c = 0; c < problem.classes; ++c) {
          of_chunk[c] = joined(of_chunk[c], sums_of(block.student[c], block.teacher[c]));
        }
      });
      *value = finish(desc, problem, images, sums, softmax);
      if (d_student.data == nullptr) return;
      problem.for_blocks(images, [&](int64_t, int64_t image, int64_t pixel, int pixels) {
        ScoreBlock block;
        block.load<T>(student, pixel, pixels, inverse_temperature, block.student);
        block.load<T>(teacher, pixel, pixels, inverse_temperature, block.teacher);
        alignas(64) ClassRow gradient[kMaxLossClasses];
        T* const target = at<T>(d_student, pixel);
        to_class_major(target, d_student.pixel_stride, pixels, problem.classes, gradient);
        for (int c = 0; c < problem.classes; ++c) {
          const ChannelSoftmax& of = softmax[image * problem.classes + c];
          const float *s = block.student[c], *t = block.teacher[c];
          float* const row = gradient[c];
#pragma omp simd
          for (int p = 0; p < kBlockPixels; ++p) {
            row[p] += scalar::exp_inline(s[p] - of.student_max) * of.student_factor -
                      scalar::exp_inline(t[p] - of.teacher_max) * of.teacher_factor;
          }
        }
        from_class_major(gradient, pixels, problem.classes, target, d_student.pixel_stride);
      });
    });
  }

 private:
  /// The value, and what the gradient needs.
  static float finish(const DistillDesc& desc, const Problem& problem, int64_t images,
                      const ChannelSums* sums, ChannelSoftmax* softmax) {
    const double temperature = desc.temperature;
    const double mean =
        double{desc.weight} * temperature / static_cast<double>(images * problem.classes);
    const double scale = desc.gradient_scale == nullptr ? 1 : *desc.gradient_scale;
    double divergence = 0;
    for (int64_t image = 0; image < images; ++image) {
      for (int c = 0; c < problem.classes; ++c) {
        const ChannelSums* const first = sums + image * problem.chunks * problem.classes + c;
        const scalar::ChannelTotals totals =
            scalar::total_of(static_cast<int>(problem.chunks),
                             [&](int k) { return first[int64_t{k} * problem.classes]; });
        divergence += totals.divergence();
        softmax[image * problem.classes + c] = scalar::softmax_of(totals, mean * scale);
      }
    }
    return images == 0 ? 0 : static_cast<float>(mean * temperature * divergence);
  }
};

}  // namespace

std::unique_ptr<DistillOps> make_distill_ops() { return std::make_unique<CpuDistillOps>(); }

}  // namespace macadam::cpu
