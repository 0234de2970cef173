#include "kernels/cpu/cpu_ops.h"

namespace macadam::cpu {

#if !defined(MACADAM_HAS_ONEDNN)
namespace {

class NoConvOps final : public ConvOps {
 public:
  std::unique_ptr<Convolution> make(const ConvDesc&) override {
    throw InputError("this build has no CPU convolutions", "device cpu",
                     "configure with -DMACADAM_ONEDNN=ON, or use --device cuda");
  }
};

}  // namespace

std::unique_ptr<ConvOps> make_conv_ops() { return std::make_unique<NoConvOps>(); }
#endif

Ops make_ops() {
  Ops ops;
#define MACADAM_MAKE(Family, name) ops.name = make_##name##_ops();
  MACADAM_OP_FAMILIES(MACADAM_MAKE)
#undef MACADAM_MAKE
  return ops;
}

}  // namespace macadam::cpu
