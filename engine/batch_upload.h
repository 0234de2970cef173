#pragma once
// The way of a batch from host bytes to the tensors of a plan: upload, augmentation, normalisation.

#include <array>

#include "engine/batch.h"
#include "engine/device_cache.h"
#include "engine/plan.h"
#include "kernels/augment.h"

namespace macadam {

/// Fills x, and `labels` unless that is null, from a batch in the memory of x's device: programs or
/// flips, then normalisation. `scratch` grows to what programs need. Requires labels beside
/// programs.
void prepare_batch(AugmentOps& ops, const Batch& batch, const Normalization& normalization,
                   Buffer& scratch, const Tensor& x, const Tensor& labels);

class BatchUpload {
 public:
  /// For batches of the plan's size. `plan`, `stream`, `ops` and `cache` outlive it. Samples that
  /// `cache`, if there is one, has room for stay in it, and come from it where the batch says so.
  BatchUpload(Plan& plan, Stream& stream, Ops& ops, const Normalization& normalization,
              DeviceCache* cache = nullptr);

  /// Fills the plan's input and, where the batch has them, its labels in stream order; returns when
  /// `batch` may be reused. Requires images of the plan's shape, and labels beside programs or a
  /// cache.
  void run(const Batch& batch);

 private:
  struct Slot {
    Buffer images, labels, flips, programs;  // on the device; unused where batches are there anyway
    Event uploaded, consumed;
  };

  void upload(const Batch& batch, Slot& slot);
  void upload_samples(const Batch& batch, Slot& slot);

  Plan& plan_;
  Stream& stream_;
  Ops& ops_;
  Normalization normalization_;
  DeviceCache* cache_;
  const bool copies_;
  Stream copy_stream_;
  std::array<Slot, 2> slots_;
  Buffer scratch_;  // of the augmentation; empty until the first batch with programs
  size_t turn_ = 0;
};

}  // namespace macadam
