#pragma once
// What a client accepts, and how gladly (RFC 9110, 12.5.1).

#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace macadam {

/// An element of an Accept field.
struct MediaRange {
  std::string_view type;
  int weight = 0;  // thousandths
};

/// The elements of a field, views of it. A weight that cannot be read counts as 1; parameters but q
/// are passed over.
std::vector<MediaRange> media_ranges(std::string_view accept);

/// The weight of the most specific range that holds the type: itself, its kind, everything. Nothing
/// when none does.
std::optional<int> weight_of(std::string_view type, std::span<const MediaRange> ranges);

}  // namespace macadam
