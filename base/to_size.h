#pragma once
// Signed numbers where the standard library takes unsigned ones.

#include <cassert>
#include <concepts>
#include <cstddef>

namespace macadam {

/// A count or an index as containers, spans and memory take it. Requires n >= 0.
constexpr size_t to_size(std::signed_integral auto n) {
  assert(n >= 0);
  return static_cast<size_t>(n);
}

}  // namespace macadam
