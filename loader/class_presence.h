#pragma once
// Whether the labels of a split are anything to learn from or to score with.

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "loader/dataset.h"
#include "loader/label_set.h"

namespace macadam {

struct LackOfClasses {
  std::string what;    // "every labelled pixel of the split train is \"road\""
  std::string remedy;  // "if id 255 is a class, …"
};

/// Says why masks in which the ids `present[id]` occur (labels, where `packed`) show fewer than two
/// classes of `labels`; nothing when they show two.
std::optional<LackOfClasses> find_lack_of_classes(std::string_view split,
                                                  const std::array<bool, 256>& present,
                                                  const LabelSet& labels, bool packed);

/// Throws the InputError that says the same of a split's masks. They are read until one shows a
/// second class, mostly the first; `threads` of them at once (0 = all cores). Of a pack the index
/// is asked. Throws InputError as read_mask does.
void require_two_classes(const Dataset& dataset, const LabelSet& labels, int threads = 0);

}  // namespace macadam
