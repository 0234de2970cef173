#include "loader/division.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <random>
#include <utility>

#include "base/error.h"

namespace macadam {

namespace {

std::string city_of(const Sample& sample, Layout layout) {
  if (layout == Layout::cityscapes) {
    const size_t end = sample.id.find('_');
    return end == std::string::npos ? std::string() : sample.id.substr(0, end);
  }
  return std::filesystem::path(sample.id).parent_path().generic_string();
}

std::string group_of(const Sample& sample, Layout layout, GroupBy by) {
  switch (by) {
    case GroupBy::sequence: return sample.sequence;
    case GroupBy::city: return city_of(sample, layout);
    case GroupBy::random: return sample.id;
  }
  return {};
}

}  // namespace

GroupBy parse_group_by(std::string_view text) {
  if (text == "sequence") return GroupBy::sequence;
  if (text == "city") return GroupBy::city;
  if (text == "random") return GroupBy::random;
  throw InputError(fmt::format("'{}' is no way to keep photos together", text), "--by",
                   "use sequence, city or random");
}

std::vector<std::string> groups_of(const Dataset& dataset, GroupBy by) {
  std::vector<std::string> groups;
  const Sample* without = nullptr;
  size_t missing = 0;
  for (const Sample& sample : dataset.samples) {
    groups.push_back(group_of(sample, dataset.layout, by));
    if (!groups.back().empty()) continue;
    if (missing++ == 0) without = &sample;
  }
  if (missing == 0) return groups;
  throw InputError(fmt::format("the names of {} of {} photos tell no {}, this one's first", missing,
                               groups.size(), by == GroupBy::sequence ? "sequence" : "city"),
                   without->image.string(),
                   by == GroupBy::sequence
                       ? "name frames SEQUENCE_NUMBER, or use --by city or --by random"
                       : "put each city's photos into a folder, or use --by sequence or "
                         "--by random");
}

std::vector<size_t> divide(std::span<const std::string> groups, std::span<const double> shares,
                           uint64_t seed) {
  std::map<std::string_view, std::vector<size_t>> photos;
  for (size_t i = 0; i < groups.size(); ++i) photos[groups[i]].push_back(i);
  std::vector<const std::vector<size_t>*> order;
  order.reserve(photos.size());
  for (const auto& [name, members] : photos) order.push_back(&members);
  const auto parts = std::ranges::count_if(shares, [](double share) { return share > 0; });
  if (std::cmp_less(order.size(), parts)) {
    throw InputError(fmt::format("{} groups of photos for {} splits", order.size(), parts), "--by",
                     "keep less together, or ask for fewer splits");
  }
  // Fisher and Yates, by numbers that are the same everywhere.
  std::mt19937_64 random(seed);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);

  std::vector<size_t> part_of(groups.size());
  std::vector<double> filled(shares.size());
  for (const std::vector<size_t>* members : order) {
    size_t best = shares.size();
    for (size_t part = 0; part < shares.size(); ++part) {
      if (!(shares[part] > 0)) continue;
      const auto better = [&] {
        const double here = filled[part] / shares[part], there = filled[best] / shares[best];
        return here < there || (here == there && shares[part] > shares[best]);
      };
      if (best == shares.size() || better()) best = part;
    }
    for (const size_t photo : *members) part_of[photo] = best;
    filled[best] += static_cast<double>(members->size());
  }
  return part_of;
}

}  // namespace macadam
