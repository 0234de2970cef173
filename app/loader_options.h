#pragma once
// The loader that a configuration asks for.

#include <optional>

#include "app/config.h"
#include "engine/input/device_cache.h"
#include "loader/loader.h"

namespace macadam {

/// Says a warning about a photo that was taken all the same (LoaderOptions::on_fault).
void warn_of_fault(const std::string& fault);

/// Of training: shuffled, augmented, whole batches only; else every sample once, as it is.
LoaderOptions loader_options(const Config& config, Device device, bool training);

/// The cache of `samples` training samples that the configuration asks for on `options.device`.
/// Throws InputError where it could do nothing: on the CPU, and beside an augmentation that looks
/// at photos as they are on disk.
std::optional<DeviceCache> make_device_cache(const Config& config, const LoaderOptions& options,
                                             int samples);

}  // namespace macadam
