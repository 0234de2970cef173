#pragma once
// The loss as people write it: "ce + dice", "0.5*ce + 2*dice", "dice".

#include <string>
#include <string_view>
#include <vector>

#include "kernels/loss.h"

namespace macadam {

/// Terms `NAME`, `WEIGHT*NAME` or `NAME*WEIGHT` joined by `+`; each at most once, weights positive.
/// Their parameters are the defaults. Throws InputError naming `where`, the part that is wrong and
/// the nearest valid name.
std::vector<LossTerm> parse_loss(std::string_view expression, std::string_view where);

/// The shortest expression that parses to these weights. Requires at least one term.
std::string loss_text(const LossDesc& loss);

}  // namespace macadam
