#pragma once
// Division by a number that is known before the launch: a multiplication, an addition and a shift.
// Source: Granlund and Montgomery, "Division by Invariant Integers using Multiplication" (1994).

#include <cstdint>

#include "kernels/cuda/launch.cuh"

namespace macadam::cuda {

class Divisor {
 public:
  Divisor() = default;
  /// Requires 1 <= divisor < 2^31.
  explicit Divisor(int64_t divisor) : divisor_(static_cast<uint32_t>(divisor)) {
    require(divisor >= 1 && divisor < (int64_t{1} << 31), "1 <= divisor < 2^31");
    while ((uint64_t{1} << shift_) < divisor_) ++shift_;
    const uint64_t excess = (uint64_t{1} << shift_) - divisor_;
    magic_ = static_cast<uint32_t>((excess << 32) / divisor_ + 1);
  }

  __host__ __device__ uint32_t value() const { return divisor_; }

  /// floor(n / divisor) for n < 2^31.
  __host__ __device__ uint32_t quotient(uint32_t n) const {
    const auto high = static_cast<uint32_t>((static_cast<uint64_t>(n) * magic_) >> 32);
    return (high + n) >> shift_;
  }
  __host__ __device__ int operator()(int n) const {
    return static_cast<int>(quotient(static_cast<uint32_t>(n)));
  }

 private:
  uint32_t divisor_ = 1, magic_ = 1, shift_ = 0;
};

}  // namespace macadam::cuda
