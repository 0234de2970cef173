#pragma once
// Where the edges between labels are.

#include <cstddef>
#include <cstdint>

#include "kernels/device.h"
#include "kernels/loss.h"

namespace macadam::cuda {

/// Bytes of a plane, and of what it is made with, for each pixel.
constexpr size_t kEdgeBytes = 3;

/// Sets bit k of `plane`, one byte a pixel, for each edge term k where labels differ in the window
/// of pixels up to its width away, and no other bit; ignored labels are left out, and windows end
/// at the borders of an image. plane: kEdgeBytes a pixel, of which the first are the plane.
/// Requires an edge term.
void find_edges(Stream& stream, const LossDesc& desc, const LossSums& at, int classes,
                const Tensor& labels, uint8_t* plane);

}  // namespace macadam::cuda
