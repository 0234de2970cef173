#include "base/to_size.h"
#include "kernels/reference/array.h"
#include "kernels/reference/augment_program.h"
#include "kernels/reference/reference_ops.h"

namespace macadam::reference {
namespace {

class ReferenceAugmentOps : public AugmentOps {
 public:
  void prepare_images(const Tensor& images, bool mirrored, const Normalization& normalization,
                      const Tensor& x) override {
    const Array bytes(images);
    Array out(x.shape);
    for_each(x.shape, [&](int n, int h, int w, int c) {
      const double byte =
          bytes(n, h, mirrored ? x.shape.w - 1 - w : w, normalization.bgr ? 2 - c : c);
      const auto channel = to_size(c);
      out(n, h, w, c) =
          (byte * double{normalization.range} / 255 - double{normalization.mean[channel]}) /
          double{normalization.std[channel]};
    });
    out.write(x);
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
