#pragma once
// What the values of a configuration's own keys look like, where no kind of base/fields.h is
// enough.

#include <map>
#include <string>
#include <vector>

#include "run/config.h"

namespace macadam {

/// A name, or a table {name = NAME, OPTION = SCALAR ...}.
FieldKind network_kind(std::string& name, std::map<std::string, std::string>& options);

/// A path, or a table {train = PATH, val = PATH, test = PATH}, of which test may be left out.
FieldKind dataset_kind(DatasetPaths& paths);

/// A number, or "auto".
FieldKind batch_kind(int& batch, bool& automatic);

/// See parse_loss. `given`: ParsedLoss::given of what is read.
FieldKind loss_kind(LossDesc& loss, std::map<std::string, std::string>& given);

/// "none" (no weights and no rule), the name of a rule, or a list of numbers of which one is
/// positive.
FieldKind class_weights_kind(std::vector<float>& weights, std::optional<ClassWeighting>& rule);

/// A list of patterns, each a string (for the whole run) or a table {pattern = STRING, epochs =
/// INTEGER}. Patterns differ.
FieldKind freeze_kind(std::vector<FreezeRule>& rules);

/// A list of tables {name = NAME, KEY = VALUE ...} of different names. Never written.
FieldKind variants_kind(std::vector<Variant>& variants);

/// See parse_augmentation.
FieldKind augment_kind(AugmentList& list, ImageSize size);

}  // namespace macadam
