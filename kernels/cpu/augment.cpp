// Normalisation of decoded images on the CPU.

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
void normalize_row(const uint8_t* row, int width, bool mirrored, bool bgr,
                   const RepeatedAffine& affine, const Tensor& x, int64_t first_pixel) {
  for (int begin = 0; begin < width; begin += kNormalizedPixels) {
    const int pixels = std::min(kNormalizedPixels, width - begin);
    const uint8_t* bytes = row + 3 * begin;
    std::array<uint8_t, kNormalizedBytes> gathered;
    if (mirrored || bgr) {
      const uint8_t* first = mirrored ? row + 3 * (width - 1 - begin) : bytes;
      if (bgr) {
        gather_bgr(first, mirrored ? -3 : 3, pixels, gathered.data());
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
  void prepare_images(const Tensor& images, bool mirrored, const Normalization& normalization,
                      const Tensor& x) override {
    const Shape& s = images.shape;
    require(s == x.shape && s.c == 3, "prepare_images: NxHxWx3 on both sides");
    require(images.dense(), "prepare_images: images are dense");
    const uint8_t* bytes = images.as<uint8_t>();
    const RepeatedAffine affine(normalization);
    visit_cpu(x.dtype, [&](auto type) {
      parallel_items(int64_t{s.n} * s.h, s.w * 3, [&](int64_t row) {
        normalize_row<decltype(type)>(bytes + row * s.w * 3, s.w, mirrored, normalization.bgr,
                                      affine, x, row * s.w);
      });
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
