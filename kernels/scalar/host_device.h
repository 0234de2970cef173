#pragma once
// Marks a function as compiled for the host and, under nvcc, for the device too. Always inlined: a
// formula then has the floating-point rules (contraction to fused multiply-adds, or none) of each
// file that uses it, and the linker never picks one file's copy for another.

#if defined(__CUDACC__)
#define MACADAM_HD __host__ __device__ __forceinline__
#else
#define MACADAM_HD [[gnu::always_inline]] inline
#endif
