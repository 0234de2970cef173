#include "run/batch_viewer.h"

#include <algorithm>

#include "base/to_size.h"
#include "engine/input/batch_upload.h"

namespace macadam {

BatchViewer::BatchViewer(int height, int width)
    : shape_{1, height, width, 3}, x_(to_size(shape_.elements())) {}

DecodedSample BatchViewer::view(const Batch& batch) {
  const Normalization bytes{{0, 0, 0}, {1, 1, 1}, 255, false};
  DecodedSample seen{Image(shape_.h, shape_.w, 3), Image(shape_.h, shape_.w, 1)};
  const Tensor x(x_.data(), shape_, DType::f32);
  const Tensor labels(seen.labels.pixels.data(), {1, shape_.h, shape_.w, 1}, DType::u8);
  prepare_batch(context_.stream, *context_.ops.augment, batch, bytes, scratch_, x, labels);
  std::ranges::transform(x_, seen.photo.pixels.begin(),
                         [](float v) { return static_cast<uint8_t>(v + 0.5f); });
  return seen;
}

}  // namespace macadam
