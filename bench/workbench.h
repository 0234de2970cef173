#pragma once
// Tensors on a device for the timing of ops: random values, bytes, vectors, host data.

#include <map>
#include <span>
#include <vector>

#include "kernels/device.h"
#include "kernels/ops.h"

namespace macadam::bench {

/// Owns the memory of what it hands out.
class Workbench {
 public:
  /// `context` outlives it.
  explicit Workbench(DeviceContext& context) : context_(context) {}

  Ops& ops() { return context_.ops; }

  /// Normally distributed values; they repeat after about a million.
  Tensor random(Shape shape, DType dtype);
  /// The same in the memory of `stored` channels, the ones behind its own spare.
  Tensor padded(Shape shape, DType dtype, int stored);
  /// u8: integers below `count`.
  Tensor integers(Shape shape, int count);
  /// fp32 {1, 1, 1, C}, each `value`.
  Tensor vector(int channels, float value);
  /// Zeros.
  std::byte* memory(size_t bytes);
  /// A copy of host data.
  template <typename T>
  T* copy_of(std::span<const T> values) {
    return reinterpret_cast<T*>(upload(std::as_bytes(values)));
  }

  size_t bytes() const { return bytes_; }

 private:
  std::byte* allocate(size_t bytes);
  std::byte* upload(std::span<const std::byte> values);
  /// A device tensor filled with `values` over and over.
  Tensor repeated(Shape shape, DType dtype, std::span<const std::byte> values);
  const std::vector<std::byte>& normal_values(DType dtype);

  DeviceContext& context_;
  std::vector<Buffer> buffers_;
  std::map<DType, std::vector<std::byte>> normal_values_;
  size_t bytes_ = 0;
};

}  // namespace macadam::bench
