#pragma once
// The loss as people write it: "ce + dice", "0.5*ce + 2*dice", "dice".

#include <string>
#include <string_view>

namespace macadam {

/// The weight of each loss; 0 where the expression does not name it.
struct LossWeights {
  float ce = 0, dice = 0;

  bool operator==(const LossWeights&) const = default;
};

/// Terms `NAME`, `WEIGHT*NAME` or `NAME*WEIGHT` joined by `+`; each loss at most once, weights
/// positive. Throws InputError naming `where`, the part that is wrong and the nearest valid name.
LossWeights parse_loss(std::string_view expression, std::string_view where);

/// The shortest expression that parses to these weights. Requires at least one of them.
std::string loss_text(const LossWeights& weights);

}  // namespace macadam
