#pragma once
// The library's convolutions of a simulated device.

#include <memory>

#include "kernels/conv.h"
#include "kernels/device.h"

namespace macadam::simulated {

/// The handwritten kernels where CUDA has them (depthwise); else, in cuDNN's place, those of the
/// CPU, queued on the stream. `stream` outlives them.
std::unique_ptr<ConvOps> make_conv_ops(Stream& stream);

}  // namespace macadam::simulated
