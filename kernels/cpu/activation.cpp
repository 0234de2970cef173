// Activations, dropout and stochastic depth on the CPU.

#include "kernels/scalar/activation.h"

#include <algorithm>
#include <memory>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/philox_lanes.h"

namespace macadam::cpu {

namespace {

using scalar::from_float;
using scalar::to_float;

template <typename F, typename T>
void activate_run(F f, const T* x, T* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = from_float<T>(f(to_float(x[i])));
}

template <bool Accumulate, typename F, typename T>
void gradient_run(F f, const T* saved, const T* dy, T* dx, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float gradient = f.gradient(to_float(saved[i]), to_float(dy[i]));
    dx[i] = from_float<T>(Accumulate ? to_float(dx[i]) + gradient : gradient);
  }
}

/// y = x * scale, added to y if Accumulate.
template <bool Accumulate, typename T>
void scale_run(const T* x, T* y, float scale, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float scaled = to_float(x[i]) * scale;
    y[i] = from_float<T>(Accumulate ? to_float(y[i]) + scaled : scaled);
  }
}

/// y = bits >= threshold ? x * scale : 0, added to y if Accumulate.
template <bool Accumulate, typename T>
void dropout_run(const T* x, const uint16_t* bits, T* y, uint32_t threshold, float scale,
                 int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float kept = bits[i] >= threshold ? to_float(x[i]) * scale : 0.0f;
    y[i] = from_float<T>(Accumulate ? to_float(y[i]) + kept : kept);
  }
}

template <bool Accumulate, typename T>
void apply_dropout(const Tensor& x, const Tensor& y, const Dropout& dropout) {
  const uint32_t threshold = dropout.threshold();
  const float scale = dropout.scale();
  const uint64_t seed = dropout.seed, step = dropout.state->step;
  const uint32_t layer = dropout.layer;
  const int channels = x.shape.c;
  const bool dense = x.dense() && y.dense();
  static_assert(kTaskElements % kPhiloxElements == 0);
  parallel_chunks(x.shape.elements(), kTaskElements,
                  [&](int64_t, int64_t chunk_begin, int64_t chunk_end) {
                    alignas(64) uint16_t bits[kPhiloxElements];
                    for (int64_t begin = chunk_begin; begin < chunk_end; begin += kPhiloxElements) {
                      const int64_t end = std::min(chunk_end, begin + kPhiloxElements);
                      const auto group = static_cast<uint32_t>(begin / scalar::kDropoutGroup);
                      dropout_bits(seed, step, layer, group, bits);
                      if (dense) {
                        dropout_run<Accumulate>(at<const T>(x, 0) + begin, bits,
                                                at<T>(y, 0) + begin, threshold, scale, end - begin);
                        continue;
                      }
                      // The bits follow the dense order; a run of a slice ends with its pixel.
                      for (int64_t e = begin; e < end;) {
                        const int64_t pixel = e / channels, channel = e % channels;
                        const int64_t n = std::min(end - e, channels - channel);
                        dropout_run<Accumulate>(at<const T>(x, pixel) + channel, bits + (e - begin),
                                                at<T>(y, pixel) + channel, threshold, scale, n);
                        e += n;
                      }
                    }
                  });
}

template <bool Accumulate, typename T>
void apply_drop_path(const Tensor& x, const Tensor& y, const Dropout& dropout) {
  const Shape sample{1, x.shape.h, x.shape.w, x.shape.c};
  const float scale = dropout.scale();
  for (int n = 0; n < x.shape.n; ++n) {
    const bool keeps = scalar::dropout_keeps(dropout.seed, dropout.state->step, dropout.layer,
                                             static_cast<uint32_t>(n), dropout.threshold());
    if (!keeps && Accumulate) continue;
    const int64_t first = n * sample.pixels();
    parallel_runs(sample, x.dense() && y.dense(), [&](int64_t pixel, int64_t count) {
      T* out = at<T>(y, first + pixel);
      if (keeps) {
        scale_run<Accumulate>(at<const T>(x, first + pixel), out, scale, count);
      } else {
        std::fill_n(out, count, from_float<T>(0.0f));
      }
    });
  }
}

class CpuActivationOps final : public ActivationOps {
 public:
  void activate(Activation kind, const Tensor& x, const Tensor& y) override {
    require(x.shape == y.shape && x.dtype == y.dtype, "activate: x and y match");
    visit_cpu(x.dtype, [&](auto type) {
      using T = decltype(type);
      scalar::visit_activation(kind, [&](auto f) {
        parallel_runs(x.shape, x.dense() && y.dense(), [&](int64_t pixel, int64_t n) {
          activate_run(f, at<const T>(x, pixel), at<T>(y, pixel), n);
        });
      });
    });
  }

  void activate_backward(Activation kind, const Tensor& saved, const Tensor& dy, const Tensor& dx,
                         bool accumulate) override {
    scalar::visit_activation(kind, [&](auto f) { backward(f, saved, dy, dx, accumulate); });
  }

  void dropout(const Tensor& x, const Tensor& y, const Dropout& dropout) override {
    apply(x, y, dropout, false);
  }

  void dropout_backward(const Tensor& dy, const Tensor& dx, const Dropout& dropout,
                        bool accumulate) override {
    apply(dy, dx, dropout, accumulate);
  }

  void drop_path(const Tensor& x, const Tensor& y, const Dropout& dropout,
                 bool accumulate) override {
    require(x.shape == y.shape && x.dtype == y.dtype, "drop_path: x and y match");
    require(dropout.state != nullptr, "drop_path: the step is given");
    visit_cpu(x.dtype, [&](auto type) {
      using T = decltype(type);
      accumulate ? apply_drop_path<true, T>(x, y, dropout)
                 : apply_drop_path<false, T>(x, y, dropout);
    });
  }

 private:
  template <typename F>
  static void backward(F f, const Tensor& saved, const Tensor& dy, const Tensor& dx,
                       bool accumulate) {
    require(saved.shape == dy.shape && saved.shape == dx.shape, "activation: shapes are equal");
    require(saved.dtype == dy.dtype && saved.dtype == dx.dtype, "activation: dtypes are equal");
    const bool dense = saved.dense() && dy.dense() && dx.dense();
    visit_cpu(saved.dtype, [&](auto type) {
      using T = decltype(type);
      const auto run = accumulate ? gradient_run<true, F, T> : gradient_run<false, F, T>;
      parallel_runs(saved.shape, dense, [&](int64_t pixel, int64_t n) {
        run(f, at<const T>(saved, pixel), at<const T>(dy, pixel), at<T>(dx, pixel), n);
      });
    });
  }

  static void apply(const Tensor& x, const Tensor& y, const Dropout& dropout, bool accumulate) {
    require(x.shape == y.shape && x.dtype == y.dtype, "dropout: x and y match");
    require(dropout.state != nullptr, "dropout: the step is given");
    visit_cpu(x.dtype, [&](auto type) {
      using T = decltype(type);
      accumulate ? apply_dropout<true, T>(x, y, dropout) : apply_dropout<false, T>(x, y, dropout);
    });
  }
};

}  // namespace

std::unique_ptr<ActivationOps> make_activation_ops() {
  return std::make_unique<CpuActivationOps>();
}

}  // namespace macadam::cpu
