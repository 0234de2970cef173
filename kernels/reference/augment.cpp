#include "kernels/reference/array.h"
#include "kernels/reference/augment_program.h"
#include "kernels/reference/reference_ops.h"

namespace macadam::reference {
namespace {

/// The column that output column w of sample n shows.
int source_column(const uint8_t* flips, int n, int w, int width) {
  return flips && flips[n] ? width - 1 - w : w;
}

class ReferenceAugmentOps : public AugmentOps {
 public:
  void prepare_images(const Tensor& images, const uint8_t* flips,
                      const Normalization& normalization, const Tensor& x) override {
    const Array bytes(images);
    Array out(x.shape);
    for_each(x.shape, [&](int n, int h, int w, int c) {
      const double byte =
          bytes(n, h, source_column(flips, n, w, x.shape.w), normalization.bgr ? 2 - c : c);
      const auto channel = static_cast<size_t>(c);
      out(n, h, w, c) =
          (byte * double{normalization.range} / 255 - double{normalization.mean[channel]}) /
          double{normalization.std[channel]};
    });
    out.write(x);
  }

  void prepare_labels(const Tensor& labels, const uint8_t* flips, const Tensor& out) override {
    const Array bytes(labels);
    Array result(out.shape);
    for_each(out.shape, [&](int n, int h, int w, int c) {
      result(n, h, w, c) = bytes(n, h, source_column(flips, n, w, out.shape.w), c);
    });
    result.write(out);
  }

  void augment(const Tensor& images, const Tensor& labels, const AugmentPrograms& programs,
               const Normalization& normalization, std::byte*, const Tensor& x,
               const Tensor& out) override {
    reference::augment(images, labels, programs, normalization, x, out);
  }
};

}  // namespace

std::unique_ptr<AugmentOps> make_augment_ops() { return std::make_unique<ReferenceAugmentOps>(); }

}  // namespace macadam::reference
