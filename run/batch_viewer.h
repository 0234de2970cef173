#pragma once
// What augmentation makes of a sample, as bytes for people.

#include <vector>

#include "engine/input/batch.h"
#include "kernels/ops.h"
#include "loader/sample_reader.h"

namespace macadam {

/// Turns batches of one sample into bytes, as training would see them but for the normalisation.
class BatchViewer {
 public:
  BatchViewer(int height, int width);

  /// Requires a batch in host memory, of one sample of this size with labels.
  DecodedSample view(const Batch& batch);

 private:
  Shape shape_;
  DeviceContext context_;
  std::vector<float> x_;
  Buffer scratch_;
};

}  // namespace macadam
