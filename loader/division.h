#pragma once
// Dividing photos into splits so that what looks alike stays together.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "loader/dataset.h"

namespace macadam {

/// What must not be divided.
enum class GroupBy : uint8_t {
  sequence,  // a video, by the photos' names (Sample::sequence)
  city,      // of Cityscapes' names; elsewhere the photo's folder within its split
  random,    // a photo alone
};

/// "sequence", "city" or "random"; anything else is an InputError.
GroupBy parse_group_by(std::string_view text);

/// The group of each sample of a data set. Throws InputError that counts the photos whose names
/// tell no group, and names the first.
std::vector<std::string> groups_of(const Dataset& dataset, GroupBy by);

/// The index of the part that each photo goes to, of parts with these shares of all photos (sum 1):
/// groups, in an order drawn by `seed`, go one after the other to the part that is least full, by
/// the photos that it has over those that it should have; among equals to that with the largest
/// share. A part with a share of 0 gets none. Every other part gets a group. Requires shares from 0
/// to 1. Throws InputError when there are fewer groups than parts.
std::vector<size_t> divide(std::span<const std::string> groups, std::span<const double> shares,
                           uint64_t seed);

}  // namespace macadam
