#include "kernels/cpu/cpu_ops.h"

namespace macadam::cpu {

bool has_fast_bf16() {
#if defined(__x86_64__)
  // AMX-BF16 implies AVX512-BF16 on every CPU that has it.
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

}  // namespace macadam::cpu
