// The gradient of bias, activation, dropout and max pooling behind a convolution, on the CPU: one
// walk over the pixels in fixed chunks, whose fp32 sums are added up in order, in double.

#include "kernels/epilogue.h"

#include <algorithm>
#include <array>
#include <memory>

#include "base/to_size.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/scalar/activation.h"

namespace macadam::cpu {

namespace {

using scalar::from_float;
using scalar::to_float;

/// Lanes of a dense run: whole pixels, so many that a loop over them is long.
constexpr int kLanes = 512;

/// A run's memory; dy or dpooled may be missing.
template <typename T>
struct Run {
  const T* y;
  const T* dy;
  const T* dpooled;
  const uint8_t* index;
  T* dz;
};

/// The gradients of `n` elements, of window position `here` in the pooling, and their sums.
template <bool Direct, bool Pooled, typename F, typename T>
void gradient_run(F f, float scale, const Run<T>& at, int here, float* sum, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    float gradient = Direct ? to_float(at.dy[i]) : 0.0f;
    if constexpr (Pooled) gradient += at.index[i] == here ? to_float(at.dpooled[i]) : 0.0f;
    gradient = f.gradient(to_float(at.y[i]), gradient) * scale;
    at.dz[i] = from_float<T>(gradient);
    sum[i] += gradient;
  }
}

template <typename T>
void sum_run(const T* dy, float* sum, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) sum[i] += to_float(dy[i]);
}

/// sum += run(first pixel, lanes' sums, elements) over dense pixels, many at once.
template <typename Body>
void sum_dense(int64_t begin, int64_t end, int channels, float* sum, const Body& body) {
  const int together = kLanes / channels;
  if (together < 2) {
    for (int64_t p = begin; p < end; ++p) body(p, sum, channels);
    return;
  }
  alignas(64) std::array<float, kLanes> lanes{};
  for (int64_t p = begin; p < end; p += together) {
    body(p, lanes.data(), std::min<int64_t>(together, end - p) * channels);
  }
  for (int k = 0; k < together; ++k) {
    for (int c = 0; c < channels; ++c) sum[c] += lanes[to_size(k * channels + c)];
  }
}

/// What is walked over: the tensors of a call, with y standing for what is not read.
template <typename T>
struct Walk {
  const EpilogueDesc& desc;
  const EpilogueTensors& t;
  Shape shape;
  bool dense;

  Run<T> at_pixel(int64_t pixel) const {
    return {t.y.data == nullptr ? nullptr : at<const T>(t.y, pixel),
            t.dy.data == nullptr ? nullptr : at<const T>(t.dy, pixel), nullptr, nullptr,
            at<T>(t.dz, pixel)};
  }

  template <typename F>
  void plain(F f, int64_t begin, int64_t end, float* sum) const {
    const auto run = [&](int64_t pixel, float* sums, int64_t n) {
      Run<T> r = at_pixel(pixel);
      if (r.y == nullptr) r.y = r.dy;  // of identity
      gradient_run<true, false>(f, desc.scale, r, 0, sums, n);
    };
    if (dense) {
      sum_dense(begin, end, shape.c, sum, run);
    } else {
      for (int64_t p = begin; p < end; ++p) run(p, sum, shape.c);
    }
  }

  template <bool Direct, typename F>
  void pooled(F f, int64_t begin, int64_t end, float* sum) const {
    const PoolDesc& pool = *desc.pool;
    const Shape& out = t.dpooled.shape;
    int w = static_cast<int>(begin % shape.w), h = static_cast<int>(begin / shape.w % shape.h);
    int64_t n = begin / shape.w / shape.h;
    for (int64_t p = begin; p < end; ++p) {
      const int oh = (h + pool.padding.top) / pool.stride_h;
      const int ow = (w + pool.padding.left) / pool.stride_w;
      const int kh = h + pool.padding.top - oh * pool.stride_h;
      const int kw = w + pool.padding.left - ow * pool.stride_w;
      Run<T> r = at_pixel(p);
      if (r.y == nullptr) r.y = r.dz;  // of identity
      if (oh < out.h && ow < out.w && kh < pool.kernel_h && kw < pool.kernel_w) {
        const int64_t reader = (n * out.h + oh) * out.w + ow;
        r.dpooled = at<const T>(t.dpooled, reader);
        r.index = t.index.as<uint8_t>() + reader * out.c;
        gradient_run<Direct, true>(f, desc.scale, r, kh * pool.kernel_w + kw, sum, shape.c);
      } else {
        gradient_run<Direct, false>(f, desc.scale, r, 0, sum, shape.c);
      }
      if (++w < shape.w) continue;
      w = 0;
      if (++h < shape.h) continue;
      h = 0;
      ++n;
    }
  }
};

class CpuEpilogueOps final : public EpilogueOps {
 public:
  size_t workspace_bytes(Shape shape) const override {
    const int64_t chunks = ceil_div(shape.pixels(), sum_chunk(shape.pixels()));
    return to_size(chunks * shape.c) * sizeof(float);
  }

  void backward(const EpilogueDesc& desc, const EpilogueTensors& t, void* workspace) override {
    const Shape shape = check_epilogue(desc, t);
    const bool pooled = t.dpooled.data != nullptr, direct = t.dy.data != nullptr;
    const bool writes = !computes_nothing(desc, t);
    if (!writes && t.dbias.data == nullptr) return;
    const Tensor& any = direct ? t.dy : t.dz;
    visit_cpu(any.dtype, [&](auto type) {
      using T = decltype(type);
      if (!writes) {
        sum_chunks(t, shape, workspace, [&](int64_t begin, int64_t end, float* sum) {
          const auto run = [&](int64_t pixel, float* sums, int64_t n) {
            sum_run(at<const T>(t.dy, pixel), sums, n);
          };
          if (t.dy.dense()) {
            sum_dense(begin, end, shape.c, sum, run);
          } else {
            for (int64_t p = begin; p < end; ++p) run(p, sum, shape.c);
          }
        });
        return;
      }
      const bool dense =
          t.dz.dense() && (!direct || t.dy.dense()) && (t.y.data == nullptr || t.y.dense());
      const Walk<T> walk{desc, t, shape, dense};
      scalar::visit_activation(desc.activation, [&](auto f) {
        sum_chunks(t, shape, workspace, [&](int64_t begin, int64_t end, float* sum) {
          if (!pooled) {
            walk.plain(f, begin, end, sum);
          } else if (direct) {
            walk.template pooled<true>(f, begin, end, sum);
          } else {
            walk.template pooled<false>(f, begin, end, sum);
          }
        });
      });
    });
  }

 private:
  /// Calls add(first pixel, end, sum) for chunks of the pixels, which adds a chunk's terms to
  /// `sum`, one a channel, and adds them up.
  template <typename Add>
  static void sum_chunks(const EpilogueTensors& t, const Shape& shape, void* workspace,
                         const Add& add) {
    auto* partials = static_cast<float*>(workspace);
    const int64_t chunk = sum_chunk(shape.pixels()), chunks = ceil_div(shape.pixels(), chunk);
    const int64_t elements = std::min(shape.pixels(), chunk) * shape.c;
    parallel_items(chunks, elements, [&](int64_t k) {
      float* sum = partials + k * shape.c;
      std::fill_n(sum, shape.c, 0.0f);
      add(k * chunk, std::min(shape.pixels(), (k + 1) * chunk), sum);
    });
    if (t.dbias.data == nullptr) return;
    for (int c = 0; c < shape.c; ++c) {
      double total = 0;
      for (int64_t k = 0; k < chunks; ++k) total += static_cast<double>(partials[k * shape.c + c]);
      t.dbias.as<float>()[c] = static_cast<float>(total);
    }
  }
};

}  // namespace

std::unique_ptr<EpilogueOps> make_epilogue_ops() { return std::make_unique<CpuEpilogueOps>(); }

}  // namespace macadam::cpu
