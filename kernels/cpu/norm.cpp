// Batch normalisation on the CPU. Statistics are summed in fixed chunks of pixels and combined in
// order, in double.

#include <array>
#include <cmath>
#include <memory>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/scalar/activation.h"
#include "kernels/scalar/normalize.h"

namespace macadam::cpu {

namespace {

using scalar::from_float;
using scalar::to_float;

/// Channels whose coefficients lie on the stack together.
constexpr int kChannelBlock = 256;

/// Pixels of one partial sum: few enough chunks that combining them costs nothing, few enough
/// pixels that fp32 sums stay exact to a few units.
int64_t chunk_pixels(const Shape& shape) {
  return std::max<int64_t>(256, ceil_div(shape.pixels(), 256));
}
int64_t chunk_count(const Shape& shape) { return ceil_div(shape.pixels(), chunk_pixels(shape)); }

/// Two sums a channel and chunk, in the caller's workspace.
struct Partials {
  float* data;
  int channels;

  float* first(int64_t chunk) const { return data + 2 * chunk * channels; }
  float* second(int64_t chunk) const { return first(chunk) + channels; }
};

/// sum += d and squares += d * d over `pixels` pixels, with d = x - origin: sums around a value of
/// the channel itself do not cancel, wherever its mean lies.
template <typename T>
void sum_pixels(const T* x, int64_t stride, int64_t pixels, const T* origin, float* sum,
                float* squares, int channels) {
  int64_t p = 0;
  for (; p + 4 <= pixels; p += 4, x += 4 * stride) {
    const T *x1 = x + stride, *x2 = x + 2 * stride, *x3 = x + 3 * stride;
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const float o = to_float(origin[c]);
      const float d0 = to_float(x[c]) - o, d1 = to_float(x1[c]) - o;
      const float d2 = to_float(x2[c]) - o, d3 = to_float(x3[c]) - o;
      sum[c] += (d0 + d1) + (d2 + d3);
      squares[c] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
    }
  }
  for (; p < pixels; ++p, x += stride) {
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const float d = to_float(x[c]) - to_float(origin[c]);
      sum[c] += d;
      squares[c] += d * d;
    }
  }
}

struct Moments {
  double mean, variance;  // biased
};

/// Chan, Golub and LeVeque's combination of the chunks of one channel, from their sums and sums of
/// squares around their first pixel.
template <typename T>
Moments combine(const Tensor& x, const Partials& partials, int channel) {
  const int64_t pixels = x.shape.pixels(), chunk = chunk_pixels(x.shape);
  double count = 0, mean = 0, m2 = 0;
  for (int64_t k = 0; k * chunk < pixels; ++k) {
    const auto n = static_cast<double>(std::min(pixels - k * chunk, chunk));
    const double sum = partials.first(k)[channel], squares = partials.second(k)[channel];
    const double chunk_mean = to_float(at<const T>(x, k * chunk)[channel]) + sum / n;
    const double delta = chunk_mean - mean;
    const double total = count + n;
    mean += delta * n / total;
    m2 += squares - sum * sum / n + delta * delta * count * n / total;
    count = total;
  }
  return {mean, std::max(0.0, m2 / count)};
}

/// Calls body(first pixel, pixels, first channel, channels) for blocks that cover the shape, in
/// parallel over pixels. A block has pixels enough to pay for its coefficients.
template <typename Body>
void parallel_blocks(const Shape& shape, const Body& body) {
  const int64_t chunk = std::max<int64_t>(64, kTaskElements / shape.c);
  parallel_chunks(shape.pixels(), chunk, [&](int64_t, int64_t begin, int64_t end) {
    for (int c = 0; c < shape.c; c += kChannelBlock) {
      body(begin, end - begin, c, std::min(kChannelBlock, shape.c - c));
    }
  });
}

template <bool Relu, typename T>
void affine_pixels(const T* x, int64_t x_stride, T* y, int64_t y_stride, int64_t pixels,
                   const float* scale, const float* shift, int channels) {
  for (int64_t p = 0; p < pixels; ++p, x += x_stride, y += y_stride) {
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const float value = scalar::Affine{scale[c], shift[c]}(to_float(x[c]));
      y[c] = from_float<T>(Relu ? scalar::relu(value) : value);
    }
  }
}

/// y = normalised x. inv_std_of(channel) gives 1 / sqrt(var + eps).
template <typename T, typename InvStd>
void normalize(const BatchNormDesc& desc, const Tensor& x, const Tensor& gamma, const Tensor& beta,
               const Tensor& mean, const InvStd& inv_std_of, const Tensor& y) {
  const float *g = gamma.as<float>(), *b = beta.as<float>(), *m = mean.as<float>();
  parallel_blocks(x.shape, [&](int64_t pixel, int64_t pixels, int channel, int channels) {
    alignas(64) std::array<float, kChannelBlock> scale, shift;
    for (int c = 0; c < channels; ++c) {
      const int k = channel + c;
      const scalar::Affine affine = scalar::batch_norm(g[k], b[k], m[k], inv_std_of(k));
      scale[static_cast<size_t>(c)] = affine.scale;
      shift[static_cast<size_t>(c)] = affine.shift;
    }
    const auto run = desc.relu ? affine_pixels<true, T> : affine_pixels<false, T>;
    run(at<const T>(x, pixel) + channel, x.pixel_stride, at<T>(y, pixel) + channel, y.pixel_stride,
        pixels, scale.data(), shift.data(), channels);
  });
}

/// gradient += dy and projection += dy * (x - mean) over `pixels` pixels; with Relu, dy counts
/// where y > 0.
template <bool Relu, typename T>
void sum_gradients(const T* x, int64_t x_stride, const T* y, int64_t y_stride, const T* dy,
                   int64_t dy_stride, int64_t pixels, const float* mean, float* gradient,
                   float* projection, int channels) {
  const auto term = [](const T& v, const T& d) {
    return !Relu || to_float(v) > 0.0f ? to_float(d) : 0.0f;
  };
  int64_t p = 0;
  for (; p + 2 <= pixels; p += 2, x += 2 * x_stride, y += 2 * y_stride, dy += 2 * dy_stride) {
    const T *x1 = x + x_stride, *y1 = y + y_stride, *dy1 = dy + dy_stride;
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const float d0 = term(y[c], dy[c]), d1 = term(y1[c], dy1[c]);
      gradient[c] += d0 + d1;
      projection[c] += d0 * (to_float(x[c]) - mean[c]) + d1 * (to_float(x1[c]) - mean[c]);
    }
  }
  if (p < pixels) {
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const float d = term(y[c], dy[c]);
      gradient[c] += d;
      projection[c] += d * (to_float(x[c]) - mean[c]);
    }
  }
}

/// With Frozen slope and shift are 0, and x is not read.
template <bool Relu, bool Frozen, typename T>
void gradient_pixels(const T* x, int64_t x_stride, const T* y, int64_t y_stride, const T* dy,
                     int64_t dy_stride, T* dx, int64_t dx_stride, int64_t pixels,
                     const float* scale, const float* slope, const float* shift, int channels) {
  for (int64_t p = 0; p < pixels; ++p) {
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const float d = !Relu || to_float(y[c]) > 0.0f ? to_float(dy[c]) : 0.0f;
      const scalar::BatchNormGradient map{scale[c], slope[c], shift[c]};
      dx[c] = from_float<T>(map(d, Frozen ? 0.0f : to_float(x[c])));
    }
    x += x_stride, y += y_stride, dy += dy_stride, dx += dx_stride;
  }
}

template <typename T>
void train_step(const BatchNormDesc& desc, const Tensor& x, const Tensor& running_mean,
                const Tensor& running_var, const Tensor& saved_mean, const Tensor& saved_inv_std,
                const Partials& partials) {
  const int channels = x.shape.c;
  parallel_chunks(x.shape.pixels(), chunk_pixels(x.shape),
                  [&](int64_t k, int64_t begin, int64_t end) {
                    std::fill_n(partials.first(k), 2 * channels, 0.0f);
                    const T* first = at<const T>(x, begin);
                    sum_pixels(first, x.pixel_stride, end - begin, first, partials.first(k),
                               partials.second(k), channels);
                  });
  const auto count = static_cast<double>(x.shape.pixels());
  const double unbias = count > 1 ? count / (count - 1) : 1.0;
  const auto blend = [&](float& running, double batch) {
    running = static_cast<float>((1.0 - desc.momentum) * running + desc.momentum * batch);
  };
  for (int c = 0; c < channels; ++c) {
    const Moments moments = combine<T>(x, partials, c);
    saved_mean.as<float>()[c] = static_cast<float>(moments.mean);
    saved_inv_std.as<float>()[c] =
        static_cast<float>(1.0 / std::sqrt(moments.variance + double{desc.eps}));
    blend(running_mean.as<float>()[c], moments.mean);
    blend(running_var.as<float>()[c], moments.variance * unbias);
  }
}

/// What backward() will need of statistics that are constants.
void save_running(const BatchNormDesc& desc, const Tensor& running_mean, const Tensor& running_var,
                  const Tensor& saved_mean, const Tensor& saved_inv_std) {
  for (int c = 0; c < running_mean.shape.c; ++c) {
    saved_mean.as<float>()[c] = running_mean.as<float>()[c];
    saved_inv_std.as<float>()[c] = scalar::inverse_std(running_var.as<float>()[c], desc.eps);
  }
}

template <bool Relu, bool Frozen, typename T>
void backward_step(const Tensor& x, const Tensor& y, const Tensor& dy, const Tensor& gamma,
                   const Tensor& saved_mean, const Tensor& saved_inv_std, const Tensor& dx,
                   const Tensor& dgamma, const Tensor& dbeta, const Partials& partials) {
  const int channels = x.shape.c;
  const float *g = gamma.as<float>(), *mean = saved_mean.as<float>();
  const float* inv_std = saved_inv_std.as<float>();
  float *dg = dgamma.as<float>(), *db = dbeta.as<float>();
  parallel_chunks(
      x.shape.pixels(), chunk_pixels(x.shape), [&](int64_t k, int64_t begin, int64_t end) {
        std::fill_n(partials.first(k), 2 * channels, 0.0f);
        sum_gradients<Relu>(at<const T>(x, begin), x.pixel_stride, at<const T>(y, begin),
                            y.pixel_stride, at<const T>(dy, begin), dy.pixel_stride, end - begin,
                            mean, partials.first(k), partials.second(k), channels);
      });
  for (int c = 0; c < channels; ++c) {
    double gradient = 0, projection = 0;
    for (int64_t k = 0; k < chunk_count(x.shape); ++k) {
      gradient += partials.first(k)[c];
      projection += partials.second(k)[c];
    }
    db[c] = static_cast<float>(gradient);
    dg[c] = static_cast<float>(projection * inv_std[c]);
  }
  const auto count = static_cast<double>(x.shape.pixels());
  parallel_blocks(x.shape, [&](int64_t pixel, int64_t pixels, int channel, int block) {
    alignas(64) std::array<float, kChannelBlock> scale, slope, shift;
    for (int c = 0; c < block; ++c) {
      const int k = channel + c;
      const scalar::BatchNormGradient map =
          Frozen ? scalar::frozen_batch_norm_gradient(g[k], inv_std[k])
                 : scalar::batch_norm_gradient(g[k], mean[k], inv_std[k], dg[k], db[k], count);
      const auto i = static_cast<size_t>(c);
      scale[i] = map.scale, slope[i] = map.slope, shift[i] = map.shift;
    }
    gradient_pixels<Relu, Frozen>(at<const T>(x, pixel) + channel, x.pixel_stride,
                                  at<const T>(y, pixel) + channel, y.pixel_stride,
                                  at<const T>(dy, pixel) + channel, dy.pixel_stride,
                                  at<T>(dx, pixel) + channel, dx.pixel_stride, pixels, scale.data(),
                                  slope.data(), shift.data(), block);
  });
}

class CpuNormOps final : public NormOps {
 public:
  size_t workspace_bytes(Shape shape) const override {
    return static_cast<size_t>(2 * chunk_count(shape) * shape.c) * sizeof(float);
  }

  void train(const BatchNormDesc& desc, const Tensor& x, const Tensor& gamma, const Tensor& beta,
             const Tensor& running_mean, const Tensor& running_var, const Tensor& saved_mean,
             const Tensor& saved_inv_std, const Tensor& y, void* workspace) override {
    require(x.shape == y.shape && x.dtype == y.dtype, "batch norm: x and y match");
    const Partials partials{static_cast<float*>(workspace), x.shape.c};
    const float* inv_std = saved_inv_std.as<float>();
    visit_cpu(x.dtype, [&](auto type) {
      using T = decltype(type);
      if (desc.frozen) {
        save_running(desc, running_mean, running_var, saved_mean, saved_inv_std);
      } else {
        train_step<T>(desc, x, running_mean, running_var, saved_mean, saved_inv_std, partials);
      }
      normalize<T>(
          desc, x, gamma, beta, saved_mean, [&](int c) { return inv_std[c]; }, y);
    });
  }

  void infer(const BatchNormDesc& desc, const Tensor& x, const Tensor& gamma, const Tensor& beta,
             const Tensor& running_mean, const Tensor& running_var, const Tensor& y) override {
    require(x.shape == y.shape && x.dtype == y.dtype, "batch norm: x and y match");
    const float* variance = running_var.as<float>();
    const auto inv_std = [&](int c) { return scalar::inverse_std(variance[c], desc.eps); };
    visit_cpu(x.dtype, [&](auto type) {
      normalize<decltype(type)>(desc, x, gamma, beta, running_mean, inv_std, y);
    });
  }

  void backward(const BatchNormDesc& desc, const Tensor& x, const Tensor& y, const Tensor& dy,
                const Tensor& gamma, const Tensor& saved_mean, const Tensor& saved_inv_std,
                const Tensor& dx, const Tensor& dgamma, const Tensor& dbeta,
                void* workspace) override {
    require(x.shape == dy.shape && x.shape == dx.shape, "batch norm: shapes are equal");
    require(x.dtype == dy.dtype && x.dtype == dx.dtype, "batch norm: dtypes are equal");
    require(!desc.relu || (y.shape == x.shape && y.dtype == x.dtype), "batch norm: y matches x");
    const Partials partials{static_cast<float*>(workspace), x.shape.c};
    visit_cpu(x.dtype, [&](auto type) {
      using T = decltype(type);
      const auto step =
          desc.frozen ? desc.relu ? backward_step<true, true, T> : backward_step<false, true, T>
          : desc.relu ? backward_step<true, false, T>
                      : backward_step<false, false, T>;
      const Tensor& sign = desc.relu ? y : x;  // without ReLU, y may have no data
      step(x, sign, dy, gamma, saved_mean, saved_inv_std, dx, dgamma, dbeta, partials);
    });
  }
};

}  // namespace

std::unique_ptr<NormOps> make_norm_ops() { return std::make_unique<CpuNormOps>(); }

}  // namespace macadam::cpu
