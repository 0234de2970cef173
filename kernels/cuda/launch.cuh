#pragma once
// How every kernel is started. Under nvcc this is the CUDA launch; without nvcc the same kernels
// are compiled as plain C++ and run thread by thread on the block emulator of tests/emulator,
// whose folder supplies block_emulator.h.

#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "kernels/device.h"

#if defined(__CUDACC__)
#include <cuda_runtime.h>

#include "kernels/cuda/cuda_check.h"
#else
#include "block_emulator.h"
#endif

namespace macadam::cuda {

/// Threads of a block, where a kernel has no reason for another number.
constexpr int kThreads = 256;

/// Blocks of a kernel that gives each block a fixed share of the work: four for each of the 132
/// multiprocessors of an H100. A constant, so that the order of sums depends on shapes alone.
constexpr int kShareBlocksPerProcessor = 4;
constexpr int kShareBlocks = 132 * kShareBlocksPerProcessor;

/// Blocks of `per_block` that cover `count` items.
inline unsigned blocks_for(int64_t count, int64_t per_block = kThreads) {
  const int64_t blocks = (count + per_block - 1) / per_block;
  require(blocks < (int64_t{1} << 31), "a launch has fewer than 2^31 blocks");
  return static_cast<unsigned>(blocks);
}

#if defined(__CUDACC__)

/// Queues kernel(arguments...) on `stream`; an empty grid does nothing. Throws RunError when the
/// launch is refused.
template <typename... Parameters, typename... Arguments>
void launch(Stream& stream, void (*kernel)(Parameters...), dim3 grid, dim3 block,
            size_t shared_bytes, const Arguments&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  check(cudaSetDevice(stream.device().index), "cudaSetDevice");
  kernel<<<grid, block, shared_bytes, static_cast<cudaStream_t>(stream.native())>>>(
      static_cast<Parameters>(arguments)...);
  check_launch("kernel launch");
  stream.count_launch();
}

/// The block's one T in shared memory, uninitialised. Every use with one T is the same object.
template <typename T>
__device__ __forceinline__ T& shared() {
  __shared__ T storage;
  return storage;
}

/// The launch's `shared_bytes` bytes, 16-byte aligned and uninitialised.
template <typename T>
__device__ __forceinline__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char bytes[];
  return reinterpret_cast<T*>(bytes);
}

#else

/// Runs the grid at once, or on a simulated device's stream (tests/simulated) when its turn comes.
template <typename... Parameters, typename... Arguments>
void launch(Stream& stream, void (*kernel)(Parameters...), dim3 grid, dim3 block,
            size_t shared_bytes, const Arguments&... arguments) {
  const auto run = [=] {
    emulator::run_grid(grid, block, shared_bytes,
                       [&] { kernel(static_cast<Parameters>(arguments)...); });
  };
  if (stream.native() == nullptr) {
    run();
  } else {
    static_cast<emulator::Queue*>(stream.native())->push(run);
    stream.count_launch();
  }
}

template <typename T>
T& shared() {
  return emulator::shared<T>();
}

template <typename T>
T* dynamic_shared() {
  return static_cast<T*>(emulator::dynamic_shared());
}

#endif

}  // namespace macadam::cuda
