// Flip and normalisation of decoded images on the CPU.

#include <algorithm>
#include <array>
#include <memory>

#include "kernels/cpu/augment_program.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/normalize_row.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/reverse_pixels.h"

namespace macadam::cpu {

namespace {

/// `pixels` pixels from `from` on, `step` bytes from one to the next, as B, G, R.
void gather_bgr(const uint8_t* from, int step, int pixels, uint8_t* to) {
  for (int i = 0; i < pixels; ++i, from += step, to += 3) {
    to[0] = from[2];
    to[1] = from[1];
    to[2] = from[0];
  }
}

/// One image row, `width` pixels.
template <typename T>
void normalize_row(const uint8_t* row, int width, bool flip, bool bgr, const RepeatedAffine& affine,
                   const Tensor& x, int64_t first_pixel) {
  for (int begin = 0; begin < width; begin += kNormalizedPixels) {
    const int pixels = std::min(kNormalizedPixels, width - begin);
    const uint8_t* bytes = row + 3 * begin;
    std::array<uint8_t, kNormalizedBytes> gathered;
    if (flip || bgr) {
      const uint8_t* first = flip ? row + 3 * (width - 1 - begin) : bytes;
      if (bgr) {
        gather_bgr(first, flip ? -3 : 3, pixels, gathered.data());
      } else {
        reverse_pixels(first, pixels, gathered.data());
      }
      bytes = gathered.data();
    }
    T* out = at<T>(x, first_pixel + begin);
    if (x.dense() && pixels == kNormalizedPixels) {
      normalize_bytes(bytes, affine, out, kNormalizedBytes);  // inlined with its constant length
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

  void augment(const Tensor& images, const Tensor& labels, const AugmentPrograms& programs,
               const Normalization& normalization, std::byte* scratch, const Tensor& x,
               const Tensor& out) override {
    cpu::augment(images, labels, programs, normalization, scratch, x, out);
  }
};

}  // namespace

std::unique_ptr<AugmentOps> make_augment_ops() { return std::make_unique<CpuAugmentOps>(); }

}  // namespace macadam::cpu
