#pragma once
// Keras weights out of the bytes of an HDF5 file, by libhdf5. It trusts its files: a damaged one
// may crash it, corrupt its memory or keep it busy for ever. Called by run_confined()'s children
// alone.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/weights/weight_file.h"

namespace macadam {

/// At most this many elements can be weights of a file of `file_bytes`: more are made of nothing
/// (a chunk that was never written costs no bytes), to exhaust the memory.
int64_t most_hdf5_elements(size_t file_bytes);

/// The tensors, as open_keras_hdf5() names and orders them. Throws InputError naming `file`.
std::vector<WeightTensor> list_hdf5_tensors(std::span<const std::byte> image,
                                            std::string_view file);

/// Their values, one after the other, as fp32; a character a tensor says whether it could be read
/// ('1') or not ('0'). Requires values.size() to be the elements of all tensors.
std::string read_hdf5_tensors(std::span<const std::byte> image, std::string_view file,
                              std::span<float> values);

}  // namespace macadam
