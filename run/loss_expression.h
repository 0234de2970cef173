#pragma once
// The loss as people write it: "ce + dice", "0.5*ce + 2*dice", "dice", "total:keras".

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/loss.h"

namespace macadam {

struct ParsedLoss {
  std::vector<LossTerm> terms;
  std::optional<AbsentClass> absent;         // what a preset needs
  std::map<std::string, std::string> given;  // keys of terms, and who set them: a preset

  /// Of terms with these parameters; without a preset that says otherwise, classes are skipped.
  LossDesc loss() const;
};

/// The key of LossDesc::absent.
inline constexpr const char* kAbsentKey = "dice_absent";
/// That of LossDesc::per_image.
inline constexpr const char* kReductionKey = "region_reduction";

/// Terms `NAME`, `WEIGHT*NAME` or `NAME*WEIGHT` joined by `+`; each at most once, weights positive
/// numbers, or such `/classes`: over the number of classes. A NAME is that of a term, whose
/// parameters are the defaults, or of a preset (run/loss_presets.h). Throws InputError naming
/// `where`, the part that is wrong and the nearest valid name, and for presets that need different
/// rules for absent classes.
ParsedLoss parse_loss(std::string_view expression, std::string_view where);

/// The shortest expression that parses to these weights, presets written out. Requires at least one
/// term.
std::string loss_text(const LossDesc& loss);

}  // namespace macadam
