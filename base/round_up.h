#pragma once
// Sizes in whole units.

#include <type_traits>

namespace macadam {

/// The least multiple of `unit` that is not below `size`. Requires size >= 0 and unit > 0.
template <typename Int>
constexpr Int round_up(Int size, std::type_identity_t<Int> unit) {
  return (size + unit - 1) / unit * unit;
}

}  // namespace macadam
