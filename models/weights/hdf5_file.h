#pragma once
// Keras weights in HDF5 (.h5). Needs libhdf5 at build time (MACADAM_HDF5).

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

#include "base/files.h"
#include "models/weights/weight_file.h"

namespace macadam {

/// True when the bytes begin with HDF5's signature, perhaps behind a user block.
bool is_hdf5(std::span<const std::byte> bytes);

/// Whether this build can read HDF5.
bool has_hdf5();

/// The weights that Keras saved, called as keras_names() says:
///  - by Keras 1 and 2 (and Keras 3 in the legacy format), in the order of the layers: groups at
///    the root or below /model_weights, named by the attributes layer_names and weight_names;
///  - by Keras 3 as .weights.h5: groups "vars" below /layers, /_layer_checkpoint_dependencies or
///    the attributes of a model. A layer's name is the attribute `name`, or else its group's;
///    optimisers, metrics and seeds are left out.
/// Links out of the file are not followed. libhdf5 sees the file in confined children only, one to
/// open it and one when a tensor is first read, which reads them all; one thread at a time. Throws
/// InputError naming `path` when the file has no such groups, when a layer of a .weights.h5 has
/// variables that keras3_kinds() does not know, when the file crashes or exhausts a child, or when
/// this build has no HDF5.
std::unique_ptr<WeightFile> open_keras_hdf5(MappedFile file, const std::filesystem::path& path);

}  // namespace macadam
