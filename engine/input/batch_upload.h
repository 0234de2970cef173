#pragma once
// The way of a batch from host bytes to the tensors of a plan: upload, augmentation, normalisation.

#include <memory>
#include <vector>

#include "engine/input/batch.h"
#include "engine/input/device_cache.h"
#include "engine/plan/plan.h"
#include "kernels/augment.h"

namespace macadam {

/// Fills x, and `labels` unless that is null, from a batch in the memory of x's device, on the
/// stream of `ops`: programs, if there are any, then normalisation. `scratch` grows to what
/// programs need. Requires labels beside programs.
void prepare_batch(Stream& stream, AugmentOps& ops, const Batch& batch,
                   const Normalization& normalization, Buffer& scratch, const Tensor& x,
                   const Tensor& labels);

/// Uploads and prepares batches on a stream of its own, beside the step that reads the one before.
class BatchUpload {
 public:
  /// For batches of the plan's size. `plan`, `stream` and `cache` outlive it. Samples that `cache`,
  /// if there is one, has room for stay in it, and come from it where the batch says so.
  BatchUpload(Plan& plan, Stream& stream, const Normalization& normalization,
              DeviceCache* cache = nullptr);

  /// From now on fills the inputs of this plan too, with the same images. It has the other's shape
  /// and number of inputs, is read on the same stream, and outlives this.
  void also_fill(Plan& plan, const Normalization& normalization);

  /// Fills the plan's next input and, where the batch has them, its labels, after what was queued
  /// on `stream` when that input was last read; makes the plan read it, and `stream` wait for it.
  /// Returns when `batch` may be reused. Requires images of the plan's shape, labels beside
  /// programs or a cache, and that what reads the input is queued on `stream` before the next call.
  void run(const Batch& batch);

 private:
  /// The same batch in the device's memory.
  Batch upload(const Batch& batch);
  void upload_samples(const Batch& batch);

  Plan& plan_;
  Stream& stream_;
  Normalization normalization_;
  Plan* other_ = nullptr;  // see also_fill
  Normalization other_normalization_;
  DeviceCache* cache_;
  const bool copies_;
  Stream own_stream_;
  std::unique_ptr<AugmentOps> augment_;
  Buffer images_, labels_, programs_;  // on the device; unused where batches are there
  Buffer scratch_;                     // of programs; empty until the first of them
  Event uploaded_, prepared_;
  std::vector<Event> read_;  // by input of the plan
  int input_ = 0;            // of the batch before
};

}  // namespace macadam
