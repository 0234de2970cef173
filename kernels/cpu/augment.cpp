// Flip and normalisation of decoded images on the CPU.

#include <algorithm>
#include <array>
#include <memory>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/scalar/normalize.h"

namespace macadam::cpu {

namespace {

/// Pixels normalised together: 48 bytes, in which the three channels repeat 16 times.
constexpr int kPixels = 16;
constexpr int kBytes = 3 * kPixels;

/// The three channels' maps, repeated so that a plain loop over bytes reads them in step.
struct RepeatedAffine {
  alignas(64) std::array<float, kBytes> scale, shift;

  explicit RepeatedAffine(const Normalization& n) {
    for (int i = 0; i < kBytes; ++i) {
      const auto c = static_cast<size_t>(i % 3);
      const scalar::Affine affine = scalar::byte_normalization(n.mean[c], n.std[c], n.range);
      scale[static_cast<size_t>(i)] = affine.scale;
      shift[static_cast<size_t>(i)] = affine.shift;
    }
  }
};

template <typename T>
void normalize_bytes(const uint8_t* bytes, const RepeatedAffine& affine, T* x, int n) {
  const float* scale = affine.scale.data();
  const float* shift = affine.shift.data();
#pragma omp simd
  for (int i = 0; i < n; ++i) {
    x[i] = scalar::from_float<T>(scalar::Affine{scale[i], shift[i]}(static_cast<float>(bytes[i])));
  }
}

/// `pixels` pixels from `from` on, `step` bytes from one to the next, as R, G, B or B, G, R.
void gather_pixels(const uint8_t* from, int step, bool bgr, int pixels, uint8_t* to) {
  for (int i = 0; i < pixels; ++i, from += step, to += 3) {
    to[0] = from[bgr ? 2 : 0];
    to[1] = from[1];
    to[2] = from[bgr ? 0 : 2];
  }
}

/// One image row, `width` pixels.
template <typename T>
void normalize_row(const uint8_t* row, int width, bool flip, bool bgr, const RepeatedAffine& affine,
                   const Tensor& x, int64_t first_pixel) {
  for (int begin = 0; begin < width; begin += kPixels) {
    const int pixels = std::min(kPixels, width - begin);
    const uint8_t* bytes = row + 3 * begin;
    std::array<uint8_t, kBytes> gathered;
    if (flip || bgr) {
      const uint8_t* first = flip ? row + 3 * (width - 1 - begin) : bytes;
      gather_pixels(first, flip ? -3 : 3, bgr, pixels, gathered.data());
      bytes = gathered.data();
    }
    T* out = at<T>(x, first_pixel + begin);
    if (x.dense() && pixels == kPixels) {
      normalize_bytes(bytes, affine, out, kBytes);  // inlined with its constant length
    } else {
      for (int i = 0; i < pixels; ++i) {
        normalize_bytes(bytes + 3 * i, affine, out + i * x.pixel_stride, 3);
      }
    }
  }
}

class CpuAugmentOps final : public AugmentOps {
 public:
  void prepare_images(const Tensor& images, const uint8_t* flips,
                      const Normalization& normalization, const Tensor& x) override {
    const Shape& s = images.shape;
    require(s == x.shape && s.c == 3, "prepare_images: NxHxWx3 on both sides");
    require(images.dense(), "prepare_images: images are dense");
    const uint8_t* bytes = images.as<uint8_t>();
    const RepeatedAffine affine(normalization);
    visit_cpu(x.dtype, [&](auto type) {
      parallel_items(int64_t{s.n} * s.h, s.w * 3, [&](int64_t row) {
        const bool flip = flips != nullptr && flips[row / s.h] != 0;
        normalize_row<decltype(type)>(bytes + row * s.w * 3, s.w, flip, normalization.bgr, affine,
                                      x, row * s.w);
      });
    });
  }

  void prepare_labels(const Tensor& labels, const uint8_t* flips, const Tensor& out) override {
    const Shape& s = labels.shape;
    require(s == out.shape && s.c == 1, "prepare_labels: NxHxWx1 on both sides");
    require(labels.dense() && out.dense(), "prepare_labels: tensors are dense");
    const uint8_t* from = labels.as<uint8_t>();
    uint8_t* to = out.as<uint8_t>();
    parallel_items(int64_t{s.n} * s.h, s.w, [&](int64_t row) {
      const uint8_t* source = from + row * s.w;
      if (flips != nullptr && flips[row / s.h] != 0) {
        std::reverse_copy(source, source + s.w, to + row * s.w);
      } else {
        std::copy_n(source, s.w, to + row * s.w);
      }
    });
  }
};

}  // namespace

std::unique_ptr<AugmentOps> make_augment_ops() { return std::make_unique<CpuAugmentOps>(); }

}  // namespace macadam::cpu
