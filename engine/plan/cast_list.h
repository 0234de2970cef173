#pragma once
// Casts of many tensors in one launch.

#include <span>

#include "kernels/conv.h"
#include "kernels/device.h"
#include "kernels/elementwise.h"

namespace macadam {

class CastList {
 public:
  CastList() = default;
  /// Requires dense tensors of the stream's device, all from one dtype to one other. Waits until
  /// the list is on the device.
  CastList(std::span<const Convolution::Cast> casts, Stream& stream);

  bool empty() const { return vectors_ == 0; }
  /// That a run reads and writes.
  int64_t bytes() const;
  /// Requires that it is not empty.
  void run(ElementwiseOps& ops) const;

 private:
  Buffer segments_;  // CastSegments
  int64_t vectors_ = 0;
  DType from_ = DType::f32, to_ = DType::f32;
};

}  // namespace macadam
