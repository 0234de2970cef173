#pragma once
// A color as 8-bit pictures hold it.

#include <array>
#include <cstdint>

namespace macadam {

/// Red, green, blue.
using Rgb = std::array<uint8_t, 3>;

}  // namespace macadam
