// The gates of squeeze-and-excitation on the CPU: matrix times vector for each image. Packed are
// W1, b1, W2 transposed, b2, all in fp32, so that every loop runs along the channels.

#include <memory>
#include <vector>

#include "base/to_size.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/scalar/activation.h"

namespace macadam::cpu {

namespace {

using scalar::from_float;
using scalar::to_float;

/// The parts of packed memory, or of the gradients of the packed parameters.
template <typename F>
struct Parts {
  F *w1, *b1, *w2, *b2;  // w1 and w2 {hidden, C}

  Parts(const SqueezeExciteDesc& d, F* packed)
      : w1(packed),
        b1(w1 + int64_t{d.hidden} * d.channels),
        w2(b1 + d.hidden),
        b2(w2 + int64_t{d.hidden} * d.channels) {}
};

/// The sum of a * b.
float dot(const float* a, const float* b, int count) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

/// y += factor * x.
void add_scaled(float* y, float factor, const float* x, int count) {
#pragma omp simd
  for (int i = 0; i < count; ++i) y[i] += factor * x[i];
}

class CpuSqueezeExciteOps final : public SqueezeExciteOps {
 public:
  size_t packed_bytes(const SqueezeExciteDesc& d) const override {
    return sizeof(float) * to_size(2 * int64_t{d.hidden} * d.channels + d.hidden + d.channels);
  }

  void pack(const SqueezeExciteDesc& d, const SqueezeExciteParameters& p, void* packed) override {
    require_shapes(d, p);
    const Parts<float> to(d, static_cast<float*>(packed));
    const auto *w1 = p.w1.as<float>(), *w2 = p.w2.as<float>();
    visit_cpu(d.dtype, [&](auto type) {
      using T = decltype(type);
      for (int r = 0; r < d.hidden; ++r) {
        for (int c = 0; c < d.channels; ++c) {
          const int64_t i = int64_t{r} * d.channels + c;
          to.w1[i] = to_float(from_float<T>(w1[i]));
          to.w2[i] = to_float(from_float<T>(w2[int64_t{c} * d.hidden + r]));
        }
      }
    });
    std::copy_n(p.b1.as<float>(), d.hidden, to.b1);
    std::copy_n(p.b2.as<float>(), d.channels, to.b2);
  }

  void gates(const SqueezeExciteDesc& d, const Tensor& means, const void* packed,
             const Tensor& squeezed, const Tensor& gates) override {
    require(
        means.shape == d.vectors() && gates.shape == d.vectors() && means.dense() && gates.dense(),
        "squeeze-excite: dense means and gates {N,1,1,C}");
    const Parts<const float> p(d, static_cast<const float*>(packed));
    const bool save = squeezed.data != nullptr;
    visit_cpu(d.dtype, [&](auto type) {
      using T = decltype(type);
      parallel_items(d.images, int64_t{d.hidden} * d.channels, [&](int64_t n) {
        std::vector<float> mean(to_size(d.channels));
        std::vector<float> sum(p.b2, p.b2 + d.channels);
        const T* x = means.as<T>() + n * d.channels;
        for (size_t c = 0; c < mean.size(); ++c) mean[c] = to_float(x[c]);
        for (int r = 0; r < d.hidden; ++r) {
          const int64_t row = int64_t{r} * d.channels;
          const float z = dot(p.w1 + row, mean.data(), d.channels) + p.b1[r];
          if (save) squeezed.as<float>()[n * d.hidden + r] = z;
          add_scaled(sum.data(), activated(d, z), p.w2 + row, d.channels);
        }
        T* y = gates.as<T>() + n * d.channels;
        with_gate(d, [&](auto gate) {
          for (size_t c = 0; c < sum.size(); ++c) y[c] = from_float<T>(gate(sum[c]));
        });
      });
    });
  }

  size_t workspace_bytes(const SqueezeExciteDesc& d) const override {
    return sizeof(float) * to_size(2 * (d.vectors().elements() + d.squeezed().elements()));
  }

  void backward(const SqueezeExciteDesc& d, const Tensor& means, const void* packed,
                const Tensor& squeezed, const Tensor& gates, const Tensor& dgates,
                const Tensor& dmeans, const SqueezeExciteParameters& gradients,
                void* workspace) override {
    require_shapes(d, gradients);
    const Parts<const float> p(d, static_cast<const float*>(packed));
    // For each image: the means, the gradients of the sums behind the gates, activation(z), dz.
    auto* mean = static_cast<float*>(workspace);
    float* d_sum = mean + d.vectors().elements();
    float* hidden = d_sum + d.vectors().elements();
    float* d_z = hidden + d.squeezed().elements();
    const int channels = d.channels;
    visit_cpu(d.dtype, [&](auto type) {
      using T = decltype(type);
      parallel_items(d.images, int64_t{d.hidden} * channels, [&](int64_t n) {
        with_gate(d, [&](auto gate) {
          for (int64_t i = n * channels; i < (n + 1) * channels; ++i) {
            mean[i] = to_float(means.as<T>()[i]);
            d_sum[i] = gate.gradient(to_float(gates.as<T>()[i]), to_float(dgates.as<T>()[i]));
          }
        });
        std::vector<float> sum(to_size(channels), 0.0f);
        for (int r = 0; r < d.hidden; ++r) {
          const int64_t row = int64_t{r} * channels, i = n * d.hidden + r;
          const float z = squeezed.as<float>()[i];
          hidden[i] = activated(d, z);
          d_z[i] = scalar::visit_activation(d.activation, [&](auto activation) {
            return activation.gradient_at(z, dot(p.w2 + row, d_sum + n * channels, channels));
          });
          add_scaled(sum.data(), d_z[i], p.w1 + row, channels);
        }
        T* dx = dmeans.as<T>() + n * channels;
        for (size_t c = 0; c < sum.size(); ++c) dx[c] = from_float<T>(sum[c]);
      });
    });
    add_up(d, mean, d_sum, hidden, d_z, gradients);
  }

 private:
  /// Calls f(the gate's function).
  template <typename F>
  static void with_gate(const SqueezeExciteDesc& d, const F& f) {
    d.gate == Activation::hardsigmoid ? f(scalar::HardSigmoid{}) : f(scalar::Sigmoid{});
  }

  static float activated(const SqueezeExciteDesc& d, float z) {
    return scalar::visit_activation(d.activation, [&](auto activation) { return activation(z); });
  }

  /// The gradients of the parameters: sums over the images, in order.
  static void add_up(const SqueezeExciteDesc& d, const float* mean, const float* d_sum,
                     const float* hidden, const float* d_z, const SqueezeExciteParameters& out) {
    const int channels = d.channels, rows = d.hidden;
    const int64_t work = int64_t{d.images} * rows;
    parallel_items(rows, int64_t{d.images} * channels, [&](int64_t r) {
      float* dw = out.w1.as<float>() + r * channels;
      std::fill_n(dw, channels, 0.0f);
      float db = 0;
      for (int64_t n = 0; n < d.images; ++n) {
        add_scaled(dw, d_z[n * rows + r], mean + n * channels, channels);
        db += d_z[n * rows + r];
      }
      out.b1.as<float>()[r] = db;
    });
    parallel_items(channels, work, [&](int64_t c) {
      float* dw = out.w2.as<float>() + c * rows;
      std::fill_n(dw, rows, 0.0f);
      float db = 0;
      for (int64_t n = 0; n < d.images; ++n) {
        add_scaled(dw, d_sum[n * channels + c], hidden + n * rows, rows);
        db += d_sum[n * channels + c];
      }
      out.b2.as<float>()[c] = db;
    });
  }
};

}  // namespace

std::unique_ptr<SqueezeExciteOps> make_squeeze_excite_ops() {
  return std::make_unique<CpuSqueezeExciteOps>();
}

}  // namespace macadam::cpu
