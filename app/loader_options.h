#pragma once
// The loader that a configuration asks for.

#include "app/config.h"
#include "loader/loader.h"

namespace macadam {

/// Of training: shuffled, augmented, whole batches only; else every sample once, as it is.
LoaderOptions loader_options(const Config& config, Device device, bool training);

}  // namespace macadam
