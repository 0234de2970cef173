#pragma once
// The way of a batch from host bytes to the tensors of a plan: upload, flip, normalise.

#include <array>

#include "engine/batch.h"
#include "engine/plan.h"
#include "kernels/augment.h"

namespace macadam {

class BatchUpload {
 public:
  /// For batches of the plan's size. `plan`, `stream` and `ops` outlive it.
  BatchUpload(Plan& plan, Stream& stream, Ops& ops, const Normalization& normalization);

  /// Fills the plan's input and, where the batch has them, its labels in stream order; returns when
  /// `batch` may be reused. Requires images of the plan's shape.
  void run(const Batch& batch);

 private:
  struct Slot {
    Buffer images, labels, flips;  // on the device; unused on the CPU
    Event uploaded, consumed;
  };

  void upload(const Batch& batch, Slot& slot);

  Plan& plan_;
  Stream& stream_;
  Ops& ops_;
  Normalization normalization_;
  Stream copy_stream_;
  std::array<Slot, 2> slots_;
  size_t turn_ = 0;
};

}  // namespace macadam
