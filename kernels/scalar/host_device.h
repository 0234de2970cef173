#pragma once
// Marks a function as compiled for the host and, under nvcc, for the device too.

#if defined(__CUDACC__)
#define MACADAM_HD __host__ __device__ __forceinline__
#else
#define MACADAM_HD inline
#endif
