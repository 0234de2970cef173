#pragma once
// The loader that a configuration asks for.

#include <optional>

#include "engine/input/device_cache.h"
#include "loader/loader.h"
#include "run/config.h"
#include "run/observer.h"

namespace macadam {

/// Of training: shuffled, augmented, whole batches only; else every sample once, as it is.
/// `observer` is told of faults where the configuration takes photos that have some, and outlives
/// the loader.
LoaderOptions loader_options(const Config& config, Device device, bool training,
                             Observer& observer);

/// The cache of `samples` training samples that the configuration asks for on `options.device`.
/// Throws InputError where it could do nothing: on the CPU, and beside an augmentation that looks
/// at photos as they are on disk.
std::optional<DeviceCache> make_device_cache(const Config& config, const LoaderOptions& options,
                                             int samples);

}  // namespace macadam
