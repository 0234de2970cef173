#include "loader/class_presence.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <numeric>
#include <vector>

#include "base/cores.h"
#include "base/error.h"
#include "base/text.h"
#include "base/to_size.h"
#include "loader/dataset_file.h"
#include "loader/mask.h"
#include "loader/pack.h"

namespace macadam {

namespace {

using Ids = std::array<bool, 256>;

/// Masks that are read before it is looked again whether they show enough.
constexpr size_t kMostAtOnce = 64;

/// The first class of those, and how many they are.
struct Classes {
  int first = 0, count = 0;
};

Classes classes_of(const Ids& present, const LabelSet& labels) {
  std::vector<bool> seen(labels.class_names.size());
  for (size_t id = 0; id < present.size(); ++id) {
    const uint8_t label = labels.label_of_id[id];
    if (present[id] && label < seen.size()) seen[label] = true;
  }
  return {static_cast<int>(std::ranges::find(seen, true) - seen.begin()),
          static_cast<int>(std::ranges::count(seen, true))};
}

Ids ids_of(const PackSplit& split) {
  Ids present{};
  for (size_t c = 0; c < split.class_pixels.size(); ++c) present[c] = split.class_pixels[c] > 0;
  present[kIgnore] = split.ignored_pixels > 0;
  return present;
}

void add_ids(const std::filesystem::path& mask, const MaskCoding& coding, Ids& present) {
  for (const uint8_t id : read_mask(mask, coding).pixels) present[id] = true;
}

/// Positions of a list in an order that jumps about in it: what lies together is often alike.
std::vector<size_t> scattered(size_t size) {
  size_t step = std::max<size_t>(1, size * 5 / 8);
  while (std::gcd(step, size) != 1) ++step;
  std::vector<size_t> order(size);
  for (size_t i = 0; i < size; ++i) order[i] = i * step % size;
  return order;
}

/// The ids in the masks of `dataset`, of as few as show two classes.
Ids ids_of(const Dataset& dataset, const LabelSet& labels, int threads) {
  const std::vector<size_t> order = scattered(dataset.samples.size());
  const int team = threads > 0 ? threads : usable_cores();
  Ids present{};
  for (size_t first = 0, count = 1; first < order.size() && classes_of(present, labels).count < 2;
       first += count, count = std::min(2 * count, kMostAtOnce)) {
    count = std::min(count, order.size() - first);
    std::vector<Ids> found(count);
    std::vector<std::exception_ptr> failures(count);
#pragma omp parallel for schedule(dynamic, 1) num_threads(team)
    for (size_t i = 0; i < count; ++i) {
      try {
        add_ids(dataset.samples[order[first + i]].mask, dataset.masks, found[i]);
      } catch (...) {
        failures[i] = std::current_exception();
      }
    }
    for (size_t i = 0; i < count; ++i) {
      if (failures[i]) std::rethrow_exception(failures[i]);
      std::ranges::transform(present, found[i], present.begin(), std::logical_or<>());
    }
  }
  return present;
}

}  // namespace

std::optional<LackOfClasses> find_lack_of_classes(std::string_view split, const Ids& present,
                                                  const LabelSet& labels, bool packed) {
  const Classes classes = classes_of(present, labels);
  if (classes.count >= 2) return std::nullopt;
  LackOfClasses lack;
  const auto name = [&](int c) { return labels.class_names[to_size(c)]; };
  if (labels.classes() == 1) {
    lack.what = fmt::format("\"{}\" is the only class: there is nothing to tell apart", name(0));
    lack.remedy = "name a second class, be it \"everything else\"";
    return lack;
  }
  std::vector<std::string> ignored;
  for (size_t id = 0; id < present.size(); ++id) {
    const bool is_ignored = labels.known_id[id] && labels.label_of_id[id] == kIgnore;
    if (present[id] && is_ignored) ignored.push_back(fmt::to_string(id));
  }
  lack.what = classes.count == 0 ? fmt::format("no pixel of the split {} is labelled", split)
                                 : fmt::format("every labelled pixel of the split {} is \"{}\"",
                                               split, name(classes.first));
  lack.remedy = fmt::format("use masks that show two classes of the label set {}", labels.name);
  if (packed || ignored.empty()) return lack;
  lack.what += fmt::format("; ids that its masks hold and that are ignored: {}", joined(ignored));
  if (labels.name == "custom") {
    lack.remedy = fmt::format("an ignored id that is a class: give it to one in {}, ids = [{}]",
                              kDatasetFileName, ignored.back());
  }
  return lack;
}

void require_two_classes(const Dataset& dataset, const LabelSet& labels, int threads) {
  const auto& pack = dataset.samples.front().pack;
  Ids present{};
  if (pack) {
    const auto& splits = pack->index().splits;
    present = ids_of(*std::ranges::find(splits, dataset.split, &PackSplit::name));
  } else if (labels.classes() > 1) {
    present = ids_of(dataset, labels, threads);
  }
  if (const auto lack =
          find_lack_of_classes(dataset.split, present, labels, static_cast<bool>(pack))) {
    throw InputError(lack->what, dataset.root.string(), lack->remedy);
  }
}

}  // namespace macadam
