#pragma once
// The label sets that configurations and models ask for, on a data set.

#include <filesystem>

#include "engine/model/model_info.h"
#include "loader/label_set.h"
#include "run/config.h"

namespace macadam {

/// The label set of a configuration, for the data set `root`. Throws as make_label_set(name, …).
LabelSet make_label_set(const Config& config, const std::filesystem::path& root);

/// The labels of the data set `root` as the classes of a model. Throws as make_label_set_like.
LabelSet make_label_set(const ModelInfo& model, const std::filesystem::path& root);

}  // namespace macadam
