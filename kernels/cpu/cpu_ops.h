#pragma once
// Factories of the CPU backend, one a file of this folder.

#include <memory>
#include <string>

#include "kernels/cpu/conv_faults.h"
#include "kernels/ops.h"

namespace macadam::cpu {

/// Never takes what `fault` tells of. In onednn_conv.cpp: needs oneDNN.
std::unique_ptr<ConvOps> make_conv_ops(ImplementationFault fault = is_known_fault);
std::string library_version();  // there too
/// What oneDNN may use of this CPU, which ONEDNN_MAX_CPU_ISA can limit. There too.
struct LibraryIsa {
  std::string name;        // "avx512_core_bf16"
  bool bf16 = false;       // it convolves in bf16 at all
  bool fast_bf16 = false;  // and has instructions for it
};
LibraryIsa library_isa();
/// All that decides which code oneDNN runs here, on one line: version and commit, instruction set
/// and hints, number of threads, processor. There too.
std::string library_identity();
std::unique_ptr<NormOps> make_norm_ops();
std::unique_ptr<ActivationOps> make_activation_ops();
std::unique_ptr<ChannelOps> make_channel_ops();
std::unique_ptr<EpilogueOps> make_epilogue_ops();
std::unique_ptr<PoolOps> make_pool_ops();
std::unique_ptr<SqueezeExciteOps> make_squeeze_excite_ops();
std::unique_ptr<UpsampleOps> make_upsample_ops();
std::unique_ptr<ElementwiseOps> make_elementwise_ops();
std::unique_ptr<LossOps> make_loss_ops();
std::unique_ptr<ConfusionOps> make_confusion_ops();
std::unique_ptr<OptimOps> make_optim_ops();
std::unique_ptr<AugmentOps> make_augment_ops();

/// False where oneDNN refuses to convolve in bf16.
bool has_bf16();

/// True where bf16 convolutions run on AMX or AVX512-BF16 rather than being emulated, or refused.
bool has_fast_bf16();

/// What tells this processor from others: vendor, model, stepping, microcode and flags.
std::string processor();

}  // namespace macadam::cpu
