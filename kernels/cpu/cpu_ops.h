#pragma once
// The CPU backend's doors to the rest of kernels/.

#include <memory>
#include <string>

#include "kernels/cpu/conv_faults.h"
#include "kernels/ops.h"

namespace macadam::cpu {

/// All families. Without oneDNN its convolutions throw InputError.
Ops make_ops();

// One family, each in the file of its name.
#define MACADAM_FACTORY(Family, name) std::unique_ptr<Family> make_##name##_ops();
MACADAM_OP_FAMILIES(MACADAM_FACTORY)
#undef MACADAM_FACTORY

/// Convolutions that never take what `fault` tells of. In onednn_conv.cpp: needs oneDNN.
std::unique_ptr<ConvOps> make_conv_ops(ImplementationFault fault);
std::string library_version();  // there too
/// What oneDNN may use of this CPU, which ONEDNN_MAX_CPU_ISA can limit. There too.
struct LibraryIsa {
  std::string name;          // "avx512_core_bf16"
  bool bf16 = false;         // it convolves in bf16 at all
  bool avx512_bf16 = false;  // with AVX-512's instructions for it
  bool amx_bf16 = false;     // with AMX
};
LibraryIsa library_isa();
/// All that decides which code oneDNN runs here, on one line: version and commit, instruction set
/// and hints, number of threads, processor. There too.
std::string library_identity();

/// False where oneDNN refuses to convolve in bf16.
bool has_bf16();

/// True where bf16 convolutions are faster than fp32's.
bool has_fast_bf16();
/// Whether AMX or AVX512-BF16 make them so. Intel's vdpbf16ps comes at little more than half the
/// rate of its multiply-add: where AMX is hidden from a machine, bf16 costs time
/// (docs/decisions/arithmetic.md).
bool is_fast_bf16(const LibraryIsa& isa, bool intel);

/// What tells this processor from others: vendor, model, stepping, microcode and flags.
std::string processor();

}  // namespace macadam::cpu
