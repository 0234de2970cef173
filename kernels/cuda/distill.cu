// Channel-wise distillation. Three launches: sums of both networks' scores, chunk by chunk of each
// image, their totals, and the gradient. Floor, in passes over the scores: 2 for the value; with
// the gradient 2 more, and the gradient read and written.

#include <algorithm>

#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/distill.h"
#include "kernels/scalar/distill.h"
#include "kernels/scalar/softmax.h"

namespace macadam::cuda {

namespace {

using scalar::ChannelSoftmax;
using scalar::ChannelSums;

/// Pixels whose scores a thread fetches at once.
constexpr int kTogether = 4;
constexpr int kFinishThreads = kMaxLossClasses;

/// The blocks that share out the pixels of one image in a sum: a function of the shape alone.
int image_chunks(const Shape& shape) {
  return std::clamp(kShareBlocks / shape.n, 1, sum_chunks({1, shape.h, shape.w, shape.c}));
}

/// What all kernels of a call read.
template <typename T>
struct Scores {
  View<const T> student, teacher;
  ColumnLayout layout;  // of one image; the channels may be some more than the classes
  int classes;
  float inverse_temperature;
  const uint64_t* images;  // or null

  __device__ bool counts(unsigned image) const { return images == nullptr || image < *images; }
};

template <int V>
struct ChannelSumsShared {
  ChannelSums value[V][kThreads];
};

/// The sums of a thread's next pixels join those before them.
__device__ __forceinline__ void take(const float (&student)[kTogether],
                                     const float (&teacher)[kTogether], ChannelSums& sums) {
  float student_max = sums.student_max, teacher_max = sums.teacher_max;
#pragma unroll
  for (int k = 0; k < kTogether; ++k) {
    student_max = student[k] > student_max ? student[k] : student_max;
    teacher_max = teacher[k] > teacher_max ? teacher[k] : teacher_max;
  }
  const float shrunk = scalar::exp_below_zero(sums.teacher_max - teacher_max);
  sums.student *= scalar::exp_below_zero(sums.student_max - student_max);
  sums.teacher *= shrunk;
  sums.cross *= shrunk;
  sums.student_max = student_max;
  sums.teacher_max = teacher_max;
#pragma unroll
  for (int k = 0; k < kTogether; ++k) {
    const float e = scalar::exp_below_zero(teacher[k] - teacher_max);
    sums.student += scalar::exp_below_zero(student[k] - student_max);
    sums.teacher += e;
    sums.cross += e * (teacher[k] - student[k]);
  }
}

/// partials: [image][chunk][class]. The blocks of an image take turns at its pixels.
template <typename T, int V>
__global__ void __launch_bounds__(kThreads, 2)
    sums_kernel(Scores<T> scores, ChannelSums* __restrict__ partials) {
  const unsigned image = blockIdx.z;
  if (!scores.counts(image)) return;
  const ColumnLayout& layout = scores.layout;
  const ColumnPlace place(layout, V);
  ChannelSums sums[V];
#pragma unroll
  for (int i = 0; i < V; ++i) sums[i] = scalar::no_pixels();
  if (place.active) {
    const int64_t end = (static_cast<int64_t>(image) + 1) * layout.pixels;
    const int64_t first = end - layout.pixels + static_cast<int64_t>(blockIdx.x) * layout.rows;
    const int64_t step = static_cast<int64_t>(gridDim.x) * layout.rows;
    for (int64_t pixel = first + place.row; pixel < end; pixel += kTogether * step) {
      Chunk<T, V> student[kTogether], teacher[kTogether];
#pragma unroll
      for (int k = 0; k < kTogether; ++k) {
        const int64_t next = pixel + k * step, inside = next < end ? next : pixel;
        student[k] = chunk_at<V>(scores.student.at(inside, place.channel));
        teacher[k] = chunk_at<V>(scores.teacher.at(inside, place.channel));
      }
#pragma unroll
      for (int i = 0; i < V; ++i) {
        float s[kTogether], t[kTogether];
#pragma unroll
        for (int k = 0; k < kTogether; ++k) {
          const bool inside = pixel + k * step < end;
          const float factor = scores.inverse_temperature;
          s[k] = inside ? widen(student[k].lane[i]) * factor : scalar::kLowestScore;
          t[k] = inside ? widen(teacher[k].lane[i]) * factor : scalar::kLowestScore;
        }
        take(s, t, sums[i]);
      }
    }
  }
  auto& all = shared<ChannelSumsShared<V>>().value;
  const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int i = 0; i < V; ++i) all[i][thread] = sums[i];
  for (int height = layout.rows; height > 1;) {
    const int half = (height + 1) / 2;
    __syncthreads();
    if (place.row + half < height) {
#pragma unroll
      for (int i = 0; i < V; ++i) {
        all[i][thread] = joined(all[i][thread], all[i][thread + half * layout.tile]);
      }
    }
    height = half;
  }
  if (place.row > 0 || !place.active) return;
  ChannelSums* const out =
      partials + (static_cast<int64_t>(image) * gridDim.x + blockIdx.x) * scores.classes;
#pragma unroll
  for (int i = 0; i < V; ++i) {
    if (place.channel + i < scores.classes) out[place.channel + i] = all[i][thread];
  }
}

/// What is made of the sums.
struct Totals {
  const ChannelSums* partials;
  int chunks, classes;
  const uint64_t* images;  // or null
  float weight, temperature;
  const float* gradient_scale;  // or null
  ChannelSoftmax* softmax;      // [image][class]
  float* value;
};

struct DivergenceShared {
  double value[kFinishThreads];
};

/// A block an image, a thread a class.
__global__ void __launch_bounds__(kFinishThreads) totals_kernel(Totals to, RowSums rows) {
  const unsigned image = blockIdx.x;
  const uint64_t all = gridDim.x;
  const uint64_t count = to.images != nullptr && *to.images < all ? *to.images : all;
  const double mean = static_cast<double>(to.weight) * static_cast<double>(to.temperature) /
                      (static_cast<double>(count) * to.classes);
  auto& divergences = shared<DivergenceShared>().value;
  const int c = static_cast<int>(threadIdx.x);
  double divergence = 0;
  if (image < count && c < to.classes) {
    const ChannelSums* const first =
        to.partials + static_cast<int64_t>(image) * to.chunks * to.classes + c;
    const scalar::ChannelTotals totals = scalar::total_of(
        to.chunks, [&](int k) { return first[static_cast<int64_t>(k) * to.classes]; });
    const double scale =
        to.gradient_scale == nullptr ? 1.0 : static_cast<double>(*to.gradient_scale);
    to.softmax[static_cast<int64_t>(image) * to.classes + c] =
        scalar::softmax_of(totals, mean * scale);
    divergence = totals.divergence();
  }
  divergences[c] = divergence;
  __syncthreads();
  if (c == 0) {
    double sum = 0;
    for (int k = 0; k < to.classes; ++k) sum += divergences[k];
    *rows.row(image) = static_cast<float>(sum);
  }
  rows.finish<1>(
      image, 0, 1, [](int, int) { return int64_t{0}; },
      [&](int, const double(&sum)[1]) {
        *to.value = count == 0 ? 0.0f : static_cast<float>(mean * to.temperature * sum[0]);
      });
}

template <typename T, int V>
__global__ void __launch_bounds__(kThreads, 2)
    gradient_kernel(Scores<T> scores, const ChannelSoftmax* __restrict__ softmax, View<T> target) {
  const unsigned image = blockIdx.z;
  const ColumnLayout& layout = scores.layout;
  const ColumnPlace place(layout, V);
  if (!scores.counts(image) || !place.active) return;
  const int left = scores.classes - place.channel;
  ChannelSoftmax of[V];
#pragma unroll
  for (int i = 0; i < V; ++i) {
    if (i < left) of[i] = softmax[static_cast<int64_t>(image) * scores.classes + place.channel + i];
  }
  const int64_t begin = static_cast<int64_t>(image) * layout.pixels;
  for (int64_t p = static_cast<int64_t>(blockIdx.x) * layout.rows + place.row; p < layout.pixels;
       p += static_cast<int64_t>(gridDim.x) * layout.rows) {
    const int64_t pixel = begin + p;
    const auto student = chunk_at<V>(scores.student.at(pixel, place.channel));
    const auto teacher = chunk_at<V>(scores.teacher.at(pixel, place.channel));
    auto* const at = reinterpret_cast<Chunk<T, V>*>(target.at(pixel, place.channel));
    Chunk<T, V> sum = *at;
#pragma unroll
    for (int i = 0; i < V; ++i) {
      if (i >= left) continue;
      const float s = widen(student.lane[i]) * scores.inverse_temperature;
      const float t = widen(teacher.lane[i]) * scores.inverse_temperature;
      const float q = scalar::exp_below_zero(s - of[i].student_max) * of[i].student_factor;
      const float r = scalar::exp_below_zero(t - of[i].teacher_max) * of[i].teacher_factor;
      sum.lane[i] = narrow<T>(widen(sum.lane[i]) + (q - r));
    }
    *at = sum;
  }
}

class CudaDistillOps final : public DistillOps {
 public:
  explicit CudaDistillOps(Stream& stream) : stream_(stream) {}

  size_t workspace_bytes(Shape scores) const override {
    return RowSums::bytes(scores.n, 1) +
           static_cast<size_t>(scores.n) * static_cast<size_t>(scores.c) *
               (sizeof(ChannelSoftmax) +
                static_cast<size_t>(image_chunks(scores)) * sizeof(ChannelSums));
  }

  void run(const DistillDesc& desc, const Tensor& student, const Tensor& teacher,
           const Tensor& d_student, float* value, void* workspace) override {
    check_distill(desc, student, teacher, d_student);
    const Shape shape = student.shape;
    const int chunks = image_chunks(shape);
    const RowSums rows(stream_, workspace, shape.n, 1);
    auto* const softmax = reinterpret_cast<ChannelSoftmax*>(static_cast<std::byte*>(workspace) +
                                                            RowSums::bytes(shape.n, 1));
    auto* const partials = reinterpret_cast<ChannelSums*>(softmax + int64_t{shape.n} * shape.c);
    const ColumnLayout layout = layout_of(student, teacher, d_student, chunks);
    const Totals totals{
        partials, chunks, shape.c, desc.images, desc.weight, desc.temperature, desc.gradient_scale,
        softmax,  value};
    visit_float(student.dtype, [&](auto type) {
      using T = decltype(type);
      constexpr int kVector = kWidth<T>;
      const Scores<T> scores{view<const T>(student),
                             view<const T>(teacher),
                             layout,
                             shape.c,
                             1 / desc.temperature,
                             desc.images};
      const auto images = static_cast<unsigned>(shape.n);
      launch(stream_, layout.vectorized ? sums_kernel<T, kVector> : sums_kernel<T, 1>,
             dim3(static_cast<unsigned>(chunks), 1, images), kThreads, 0, scores, partials);
      launch(stream_, totals_kernel, images, kFinishThreads, 0, totals, rows);
      if (d_student.data == nullptr) return;
      const int blocks = map_chunks(layout.pixels, layout.rows, shape.n);
      launch(stream_, layout.vectorized ? gradient_kernel<T, kVector> : gradient_kernel<T, 1>,
             dim3(static_cast<unsigned>(blocks), 1, images), kThreads, 0, scores, softmax,
             view<T>(d_student));
    });
  }

 private:
  /// With the spare channels where these make whole vectors of all tensors.
  static ColumnLayout layout_of(const Tensor& student, const Tensor& teacher,
                                const Tensor& d_student, int chunks) {
    const Tensor& gradient = d_student.data == nullptr ? student : d_student;
    const Tensor s = student.whole(), t = teacher.whole(), d = gradient.whole();
    const auto width = static_cast<int>(16 / size_of(student.dtype));
    const bool whole =
        s.shape == t.shape && s.shape == d.shape && whole_vectors({&s, &t, &d}, width);
    ColumnLayout layout = whole ? column_layout({&s, &t, &d}, chunks)
                                : column_layout({&student, &teacher, &gradient}, chunks);
    require(layout.channel_tiles == 1, "distillation: channels of one tile");
    layout.pixels /= student.shape.n;
    return layout;
  }

  Stream& stream_;
};

}  // namespace

std::unique_ptr<DistillOps> make_distill_ops(Stream& stream) {
  return std::make_unique<CudaDistillOps>(stream);
}

}  // namespace macadam::cuda
