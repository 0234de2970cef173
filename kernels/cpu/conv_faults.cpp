#include "kernels/cpu/conv_faults.h"

namespace macadam::cpu {

namespace {

/// The widest image at which the AMX kernel's blocks of rows are never cut down to a single row,
/// whatever the height: three rows of (rounded up to 32: 224 + 32) + 224 columns of 16 channels
/// in bf16 fit its 48 KiB, three rows of anything wider do not.
constexpr int kWidestSound = 224;

bool is_one_by_one(const ConvDesc& desc) { return desc.kernel_h == 1 && desc.kernel_w == 1; }

/// oneDNN's AMX kernel of the bf16 weight gradient (jit_avx512_core_amx_bwd_weights_kernel_t) walks
/// over "same" convolutions of stride 1 in blocks of rows, halving the block until it fits the
/// cache. Where a block is one row, the row above the image is skipped without moving the pointer
/// into the gradient, and all that follows lands one row of the filter (3 KiB for 3x3) too early,
/// the first of it before the workspace. Where one row does not fit (from width 737 on), the loop
/// that halves never ends: already creating the primitive hangs; its description does not. Both
/// are mended in oneDNN 3.6. From 2.7 on another kernel comes first for all that Macadam asks for,
/// so that in practice this keeps 2.6 from the fault; the rule needs no version to be right.
///
/// It is a little wider than the fault, which strided, dilated and larger filters do not meet.
bool is_amx_fault(ConvPass pass, std::string_view implementation, const ConvDesc& desc) {
  return pass == ConvPass::weight_gradient && implementation.starts_with("jit:avx512_core_amx") &&
         !is_one_by_one(desc) && desc.input.w > kWidestSound;
}

/// With AVX512-BF16, oneDNN 2.6 computes the data gradient of 1x1 convolutions to an odd number of
/// channels (the 11 or 19 classes of a network's head) wrongly at most numbers of pixels from 30
/// on: nearly every value, by up to several times the right one. 3.2 is right.
bool is_odd_pair_fault(ConvPass pass, std::string_view implementation, const ConvDesc& desc) {
  return pass == ConvPass::data_gradient && implementation == "jit_bf16_1x1:avx512_core_bf16" &&
         desc.out_channels % 2 != 0;
}

/// The weight gradient of strided 1x1 convolutions gathers the pixels that it reads in its
/// scratchpad; below 16 channels it writes up to 13 KiB behind that (2.6, and 3.2 at 64x32 pixels,
/// in fp32 and bf16; seen at 3 and 8 channels, not at 16, 24, 31, 64 and 100).
bool is_gather_fault(ConvPass pass, std::string_view implementation, const ConvDesc& desc) {
  return pass == ConvPass::weight_gradient && implementation.find("1x1") != implementation.npos &&
         is_one_by_one(desc) && desc.stride > 1 && desc.input.c < 16;
}

}  // namespace

bool is_known_fault(ConvPass pass, std::string_view implementation, const ConvDesc& desc) {
  return is_amx_fault(pass, implementation, desc) ||
         is_odd_pair_fault(pass, implementation, desc) ||
         is_gather_fault(pass, implementation, desc);
}

/// Where several threads share a row (3.2; one thread alone never), what a thread has copied and
/// padded of it ends before what it multiplies: by zeros, so that finite numbers change nothing,
/// and NaN or infinity makes 16 gradients and more NaN. Seen at widths of 61, 62, 91 to 94, 121 to
/// 126, 641 and many others, not at powers of two.
bool reads_stale_scratch(ConvPass pass, std::string_view implementation) {
  return pass == ConvPass::weight_gradient && implementation.starts_with("brgconv_bwd_w");
}

}  // namespace macadam::cpu
