#pragma once
// Runs CUDA kernels, compiled as plain C++, on the CPU. Blocks run one after the other, in an order
// that changes from launch to launch; the threads of a block, or of a cluster of blocks, are fibres
// that switch at barriers and warp operations, as real threads may. A mistake that a GPU would
// answer with a hang or a wrong number is an EmulatorError here: threads of a block that wait at
// different barriers, threads that leave while others wait. Shared memory starts as NaN (all bits
// set), every object in it is an allocation of its own, so that AddressSanitizer sees each access
// out of bounds, and the order in which threads run changes from one stretch between barriers to
// the next, so that a missing barrier shows.
//
// Kernel sources find here what nvcc gives them. Supported: what the project's kernels use.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct uint2 {
  unsigned x, y;
};

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x = 1, y = 1, z = 1;

  constexpr dim3() = default;
  constexpr dim3(unsigned x_, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace macadam::emulator {

/// A kernel broke a rule of CUDA.
class EmulatorError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

constexpr int kWarpSize = 32;

/// A line of a kernel's source.
struct Line {
  const char* file;
  int line;
};

/// Where the running thread is; set at every switch.
struct Position {
  uint3 thread{}, block{};
  dim3 threads, blocks;
  int rank = 0;  // of the block in its cluster
};
inline thread_local constinit Position position;

/// Runs `thread` once for every thread of every block. `shared_bytes` is the size of the dynamic
/// shared memory. Throws EmulatorError, or what a thread throws.
void run_grid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread);

/// The same in clusters of `cluster` blocks, which divide grid.x: their threads run together.
void run_clusters(dim3 grid, dim3 block, int cluster, const std::function<void()>& thread);

/// Whether the emulated device has clusters. Ops ask when they are made.
inline bool clusters = true;

/// What a simulated device's Stream::native() points to: launches wait there for their turn.
class Queue {
 public:
  virtual ~Queue() = default;
  virtual void push(std::function<void()> work) = 0;
};

/// The block's object of `size` bytes in shared memory, filled with 0xFF when the block begins.
/// `key` tells objects apart.
void* shared_object(const void* key, size_t size, size_t alignment);

/// That of the block with this rank of the running one's cluster, while it runs.
void* shared_object_of(int rank, const void* key, size_t size, size_t alignment);

/// The block's dynamic shared memory.
void* dynamic_shared();

/// Its address tells the blocks' objects of type T from others.
template <typename T>
inline constexpr char kSharedKey = 0;

template <typename T>
T& shared() {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);
  return *static_cast<T*>(shared_object(&kSharedKey<T>, sizeof(T), alignof(T)));
}

template <typename T>
const T& shared_of(int rank) {
  return *static_cast<const T*>(shared_object_of(rank, &kSharedKey<T>, sizeof(T), alignof(T)));
}

/// Waits until all threads of the block are at this very barrier.
void block_barrier(Line where);

/// Waits until all threads of the cluster are.
void cluster_barrier(Line where);

/// Waits until all threads of the warp are at this very operation, and gives the bits that lane
/// `source` of the warp brought along.
uint64_t exchange(unsigned mask, uint64_t bits, int source, Line where);

/// The lanes that brought a non-zero value.
unsigned ballot(unsigned mask, bool value, Line where);

/// The thread's lane of its warp.
int lane();

template <typename T>
T shuffle(unsigned mask, T value, int source, Line where) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = exchange(mask, bits, source, where);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace macadam::emulator

#define threadIdx (::macadam::emulator::position.thread)
#define blockIdx (::macadam::emulator::position.block)
#define blockDim (::macadam::emulator::position.threads)
#define gridDim (::macadam::emulator::position.blocks)

inline void __syncthreads(macadam::emulator::Line where = {__builtin_FILE(), __builtin_LINE()}) {
  macadam::emulator::block_barrier(where);
}

inline void __syncwarp(unsigned mask = 0xffffffffu,
                       macadam::emulator::Line where = {__builtin_FILE(), __builtin_LINE()}) {
  macadam::emulator::ballot(mask, true, where);
}

inline unsigned __ballot_sync(unsigned mask, bool predicate,
                              macadam::emulator::Line where = {__builtin_FILE(),
                                                               __builtin_LINE()}) {
  return macadam::emulator::ballot(mask, predicate, where);
}

/// Segments of `width` lanes exchange among themselves; a source outside leaves the own value.
template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              macadam::emulator::Line where = {__builtin_FILE(), __builtin_LINE()}) {
  const int segment = macadam::emulator::lane() / width * width;
  return macadam::emulator::shuffle(mask, value, segment + (source & (width - 1)), where);
}

template <typename T>
T __shfl_down_sync(unsigned mask, T value, int delta, int width = 32,
                   macadam::emulator::Line where = {__builtin_FILE(), __builtin_LINE()}) {
  const int lane = macadam::emulator::lane();
  const bool inside = lane % width + delta < width;
  return macadam::emulator::shuffle(mask, value, inside ? lane + delta : lane, where);
}

template <typename T>
T __shfl_up_sync(unsigned mask, T value, int delta, int width = 32,
                 macadam::emulator::Line where = {__builtin_FILE(), __builtin_LINE()}) {
  const int lane = macadam::emulator::lane();
  return macadam::emulator::shuffle(mask, value, lane % width >= delta ? lane - delta : lane,
                                    where);
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  macadam::emulator::Line where = {__builtin_FILE(), __builtin_LINE()}) {
  const int lane = macadam::emulator::lane(), other = lane ^ bits;
  return macadam::emulator::shuffle(mask, value, other / width == lane / width ? other : lane,
                                    where);
}

/// Threads switch at barriers alone, so that an ordinary addition is atomic.
template <typename T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  T before;
  std::memcpy(&before, address, sizeof(T));
  const T after = before + value;
  std::memcpy(address, &after, sizeof(T));
  return before;
}

/// One more than before, but 0 behind `limit`.
inline unsigned atomicInc(unsigned* address, unsigned limit) {
  const unsigned before = *address;
  *address = before >= limit ? 0 : before + 1;
  return before;
}

/// What is written is seen at once.
inline void __threadfence() {}

template <typename T>
T __ldg(const T* address) {
  return *address;
}

template <typename T>
T __ldcg(const T* address) {
  return *address;
}
