#pragma once
// How much of a device's memory may still be taken.

#include <cstddef>

#include "kernels/tensor.h"

namespace macadam {

/// Bytes; on the CPU what free_host_memory() says, or all of the memory where that says nothing.
/// Throws InputError when the device is not there.
size_t free_memory(Device device);

}  // namespace macadam
