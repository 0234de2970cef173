#pragma once
// NumPy's .npy format (versions 1 to 3).

#include <cstddef>
#include <span>
#include <string_view>

#include "models/weights/stored_array.h"

namespace macadam {

/// True when the bytes begin as an .npy file does.
bool is_npy(std::span<const std::byte> bytes);

/// The array, which points into `bytes`; C or Fortran order, little-endian integers, booleans and
/// floating-point numbers. Throws InputError naming `where` for everything else.
StoredArray read_npy(std::span<const std::byte> bytes, std::string_view where);

}  // namespace macadam
