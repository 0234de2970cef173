#pragma once
// Casts of many tensors in one launch for each pair of dtypes.

#include <span>
#include <vector>

#include "kernels/device.h"
#include "kernels/elementwise.h"

namespace macadam {

class CastList {
 public:
  CastList() = default;
  /// Requires dense tensors of the stream's device. Waits until the list is on the device.
  CastList(std::span<const Cast> casts, Stream& stream);

  bool empty() const { return groups_.empty(); }
  /// That a run reads and writes.
  int64_t bytes() const;
  /// Requires that it is not empty.
  void run(ElementwiseOps& ops) const;

 private:
  /// Those from one dtype to one other.
  struct Group {
    DType from, to;
    int64_t vectors = 0;
    Buffer segments{};  // CastSegments
  };

  std::vector<Group> groups_;
};

}  // namespace macadam
