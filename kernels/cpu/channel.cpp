// Means, sums, factors and biases of channels on the CPU. Sums are taken in fp32 over fixed chunks
// of an image's pixels, and the chunks added up in order, in double.

#include <memory>

#include "base/to_size.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"

namespace macadam::cpu {

namespace {

using scalar::from_float;
using scalar::to_float;

/// How the pixels of a tensor are grouped: a sum never crosses from one image to the next.
struct Images {
  int64_t count, pixels;  // pixels of each

  static Images of(const Shape& shape) { return {shape.n, int64_t{shape.h} * shape.w}; }
  /// All pixels as one image.
  static Images joined(const Shape& shape) { return {1, shape.pixels()}; }
};

/// Calls body(chunk, image, first pixel, pixels) for chunks of at most `chunk` pixels of one image,
/// in parallel. Chunks and pixels count on from image to image.
template <typename Body>
void parallel_images(const Images& images, int64_t chunk, int channels, const Body& body) {
  const int64_t chunks = ceil_div(images.pixels, chunk);
  const int64_t elements = std::min(images.pixels, chunk) * channels;
  parallel_items(images.count * chunks, elements, [&](int64_t k) {
    const int64_t image = k / chunks, begin = k % chunks * chunk;
    body(k, image, image * images.pixels + begin, std::min(chunk, images.pixels - begin));
  });
}

/// Calls body(image, first pixel, pixels) for tasks that cover the images, in parallel.
template <typename Body>
void parallel_maps(const Images& images, int channels, const Body& body) {
  parallel_images(
      images, std::max<int64_t>(1, kTaskElements / channels), channels,
      [&](int64_t, int64_t image, int64_t pixel, int64_t pixels) { body(image, pixel, pixels); });
}

/// sum += x over `pixels` pixels.
template <typename T>
void sum_pixels(const T* x, int64_t stride, int64_t pixels, float* sum, int channels) {
  int64_t p = 0;
  for (; p + 4 <= pixels; p += 4, x += 4 * stride) {
    const T *x1 = x + stride, *x2 = x + 2 * stride, *x3 = x + 3 * stride;
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      sum[c] += (to_float(x[c]) + to_float(x1[c])) + (to_float(x2[c]) + to_float(x3[c]));
    }
  }
  for (; p < pixels; ++p, x += stride) {
#pragma omp simd
    for (int c = 0; c < channels; ++c) sum[c] += to_float(x[c]);
  }
}

/// sum += a * b over `pixels` pixels.
template <typename T>
void sum_products(const T* a, int64_t a_stride, const T* b, int64_t b_stride, int64_t pixels,
                  float* sum, int channels) {
  int64_t p = 0;
  for (; p + 2 <= pixels; p += 2, a += 2 * a_stride, b += 2 * b_stride) {
    const T *a1 = a + a_stride, *b1 = b + b_stride;
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      sum[c] += to_float(a[c]) * to_float(b[c]) + to_float(a1[c]) * to_float(b1[c]);
    }
  }
  if (p < pixels) {
#pragma omp simd
    for (int c = 0; c < channels; ++c) sum[c] += to_float(a[c]) * to_float(b[c]);
  }
}

/// y = x * factors over `pixels` pixels, with Accumulate added to y.
template <bool Accumulate, typename T>
void scale_pixels(const T* x, int64_t x_stride, const T* factors, T* y, int64_t y_stride,
                  int64_t pixels, int channels) {
  for (int64_t p = 0; p < pixels; ++p, x += x_stride, y += y_stride) {
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const float before = Accumulate ? to_float(y[c]) : 0.0f;
      y[c] = from_float<T>(before + to_float(x[c]) * to_float(factors[c]));
    }
  }
}

/// y = values * factor for each of `pixels` pixels, with Accumulate added to y.
template <bool Accumulate, typename T>
void spread_pixels(const T* values, float factor, T* y, int64_t y_stride, int64_t pixels,
                   int channels) {
  for (int64_t p = 0; p < pixels; ++p, y += y_stride) {
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const float before = Accumulate ? to_float(y[c]) : 0.0f;
      y[c] = from_float<T>(before + to_float(values[c]) * factor);
    }
  }
}

template <typename T>
void add_pixels(const T* x, int64_t x_stride, const float* bias, T* y, int64_t y_stride,
                int64_t pixels, int channels) {
  for (int64_t p = 0; p < pixels; ++p, x += x_stride, y += y_stride) {
#pragma omp simd
    for (int c = 0; c < channels; ++c) y[c] = from_float<T>(to_float(x[c]) + bias[c]);
  }
}

/// Calls add(first pixel, pixels, sum) for chunks of the pixels, which adds a chunk's terms to
/// `sum`, one a channel; then finish(image, channel, total).
template <typename Add, typename Finish>
void sum_images(const Images& images, int channels, void* workspace, const Add& add,
                const Finish& finish) {
  const int64_t chunk = sum_chunk(images.pixels), chunks = ceil_div(images.pixels, chunk);
  auto* partials = static_cast<float*>(workspace);
  parallel_images(images, chunk, channels,
                  [&](int64_t k, int64_t image, int64_t pixel, int64_t pixels) {
                    float* sum = partials + k * channels;
                    std::fill_n(sum, channels, 0.0f);
                    add(image, pixel, pixels, sum);
                  });
  parallel_items(images.count, chunks * channels, [&](int64_t image) {
    const float* first = partials + image * chunks * channels;
    for (int c = 0; c < channels; ++c) {
      double total = 0;
      for (int64_t k = 0; k < chunks; ++k) total += first[k * channels + c];
      finish(image, c, total);
    }
  });
}

void require_alike(const Tensor& x, const Tensor& y) {
  require(x.shape == y.shape && x.dtype == y.dtype, "channel ops: shapes and dtypes match");
}

/// One value an image and channel of x.
void require_factors(const Tensor& factors, const Tensor& x) {
  require(factors.shape == Shape{x.shape.n, 1, 1, x.shape.c} && factors.dtype == x.dtype,
          "channel ops: one factor an image and channel");
}

/// The same, to be written.
void require_results(const Tensor& results, const Tensor& x) {
  require_factors(results, x);
  require(results.dense(), "channel ops: dense means and gradients of factors");
}

void require_vector(const Tensor& vector, const Tensor& x) {
  require(vector.shape == Shape{1, 1, 1, x.shape.c} && vector.dtype == DType::f32,
          "channel ops: one fp32 value a channel");
}

class CpuChannelOps final : public ChannelOps {
 public:
  size_t workspace_bytes(Shape shape) const override {
    const Images images = Images::of(shape);
    const int64_t chunks = images.count * ceil_div(images.pixels, sum_chunk(images.pixels));
    return to_size(chunks * shape.c) * sizeof(float);
  }

  void mean(const Tensor& x, const Tensor& y, void* workspace) override {
    require_results(y, x);
    const Images images = Images::of(x.shape);
    const int channels = x.shape.c;
    visit_cpu(x.dtype, [&](auto type) {
      using T = decltype(type);
      sum_images(
          images, channels, workspace,
          [&](int64_t, int64_t pixel, int64_t pixels, float* sum) {
            sum_pixels(at<const T>(x, pixel), x.pixel_stride, pixels, sum, channels);
          },
          [&](int64_t image, int c, double total) {
            at<T>(y, image)[c] =
                from_float<T>(static_cast<float>(total / static_cast<double>(images.pixels)));
          });
    });
  }

  void mean_backward(const Tensor& dy, const Tensor& dx, bool accumulate) override {
    require_factors(dy, dx);
    const Images images = Images::of(dx.shape);
    const float factor = 1.0f / static_cast<float>(images.pixels);
    visit_cpu(dx.dtype, [&](auto type) {
      using T = decltype(type);
      const auto run = accumulate ? spread_pixels<true, T> : spread_pixels<false, T>;
      parallel_maps(images, dx.shape.c, [&](int64_t image, int64_t pixel, int64_t pixels) {
        run(at<const T>(dy, image), factor, at<T>(dx, pixel), dx.pixel_stride, pixels, dx.shape.c);
      });
    });
  }

  void scale(const Tensor& x, const Tensor& factors, const Tensor& y) override {
    scale_into(x, factors, y, false);
  }

  void scale_backward(const Tensor& x, const Tensor& factors, const Tensor& dy, const Tensor& dx,
                      bool accumulate, const Tensor& dfactors, void* workspace) override {
    if (dfactors.data == nullptr) {
      if (dx.data != nullptr) scale_into(dy, factors, dx, accumulate);
      return;
    }
    require_alike(x, dy);
    require_results(dfactors, dy);
    if (dx.data != nullptr) {
      require_alike(dx, dy);
      require_factors(factors, dy);
    }
    const int channels = x.shape.c;
    visit_cpu(dy.dtype, [&](auto type) {
      using T = decltype(type);
      const auto run = accumulate ? scale_pixels<true, T> : scale_pixels<false, T>;
      // Few pixels at a time: the second loop finds dy in the cache.
      const int64_t block = std::max<int64_t>(2, kTaskElements / 4 / channels);
      sum_images(
          Images::of(x.shape), channels, workspace,
          [&](int64_t image, int64_t pixel, int64_t pixels, float* sum) {
            for (const int64_t end = pixel + pixels; pixel < end; pixel += block) {
              const int64_t few = std::min(block, end - pixel);
              const T* gradient = at<const T>(dy, pixel);
              sum_products(at<const T>(x, pixel), x.pixel_stride, gradient, dy.pixel_stride, few,
                           sum, channels);
              if (dx.data == nullptr) continue;
              run(gradient, dy.pixel_stride, at<const T>(factors, image), at<T>(dx, pixel),
                  dx.pixel_stride, few, channels);
            }
          },
          [&](int64_t image, int c, double total) {
            at<T>(dfactors, image)[c] = from_float<T>(static_cast<float>(total));
          });
    });
  }

  void add_bias(const Tensor& x, const Tensor& bias, const Tensor& y) override {
    require_alike(x, y);
    require_vector(bias, x);
    visit_cpu(x.dtype, [&](auto type) {
      using T = decltype(type);
      parallel_maps(Images::joined(x.shape), x.shape.c,
                    [&](int64_t, int64_t pixel, int64_t pixels) {
                      add_pixels(at<const T>(x, pixel), x.pixel_stride, bias.as<float>(),
                                 at<T>(y, pixel), y.pixel_stride, pixels, x.shape.c);
                    });
    });
  }

 private:
  static void scale_into(const Tensor& x, const Tensor& factors, const Tensor& y, bool accumulate) {
    require_alike(x, y);
    require_factors(factors, x);
    visit_cpu(x.dtype, [&](auto type) {
      using T = decltype(type);
      const auto run = accumulate ? scale_pixels<true, T> : scale_pixels<false, T>;
      parallel_maps(Images::of(x.shape), x.shape.c,
                    [&](int64_t image, int64_t pixel, int64_t pixels) {
                      run(at<const T>(x, pixel), x.pixel_stride, at<const T>(factors, image),
                          at<T>(y, pixel), y.pixel_stride, pixels, x.shape.c);
                    });
    });
  }
};

}  // namespace

std::unique_ptr<ChannelOps> make_channel_ops() { return std::make_unique<CpuChannelOps>(); }

}  // namespace macadam::cpu
