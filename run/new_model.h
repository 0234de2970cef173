#pragma once
// What the file of a new model says of its classes.

#include "engine/model/model_info.h"
#include "loader/label_set.h"

namespace macadam {

/// This version's, with the classes of `labels`; the network and its input are left to fill in.
ModelInfo new_model_info(const LabelSet& labels);

}  // namespace macadam
