// ReLU and dropout on the CPU.

#include <memory>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/philox_lanes.h"
#include "kernels/scalar/compare.h"

namespace macadam::cpu {

namespace {

using scalar::from_float;
using scalar::to_float;

template <typename T>
void relu_run(const T* x, T* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = from_float<T>(scalar::relu(to_float(x[i])));
}

template <bool Accumulate, typename T>
void relu_backward_run(const T* y, const T* dy, T* dx, float scale, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float gradient = to_float(y[i]) > 0.0f ? to_float(dy[i]) * scale : 0.0f;
    dx[i] = from_float<T>(Accumulate ? to_float(dx[i]) + gradient : gradient);
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

class CpuActivationOps final : public ActivationOps {
 public:
  void relu(const Tensor& x, const Tensor& y) override {
    require(x.shape == y.shape && x.dtype == y.dtype, "relu: x and y match");
    visit_cpu(x.dtype, [&](auto type) {
      using T = decltype(type);
      parallel_runs(x.shape, x.dense() && y.dense(), [&](int64_t pixel, int64_t n) {
        relu_run(at<const T>(x, pixel), at<T>(y, pixel), n);
      });
    });
  }

  void relu_backward(const Tensor& y, const Tensor& dy, const Tensor& dx, float scale,
                     bool accumulate) override {
    require(y.shape == dy.shape && y.shape == dx.shape, "relu_backward: shapes are equal");
    require(y.dtype == dy.dtype && y.dtype == dx.dtype, "relu_backward: dtypes are equal");
    const bool dense = y.dense() && dy.dense() && dx.dense();
    visit_cpu(y.dtype, [&](auto type) {
      using T = decltype(type);
      parallel_runs(y.shape, dense, [&](int64_t pixel, int64_t n) {
        const auto run = accumulate ? relu_backward_run<true, T> : relu_backward_run<false, T>;
        run(at<const T>(y, pixel), at<const T>(dy, pixel), at<T>(dx, pixel), scale, n);
      });
    });
  }

  void dropout(const Tensor& x, const Tensor& y, const Dropout& dropout) override {
    apply(x, y, dropout, false);
  }

  void dropout_backward(const Tensor& dy, const Tensor& dx, const Dropout& dropout,
                        bool accumulate) override {
    apply(dy, dx, dropout, accumulate);
  }

 private:
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
