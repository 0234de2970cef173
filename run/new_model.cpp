#include "run/new_model.h"

#include "base/version.h"

namespace macadam {

ModelInfo new_model_info(const LabelSet& labels) {
  ModelInfo info;
  info.macadam_version = version();
  info.class_names = labels.class_names;
  info.palette = labels.palette;
  info.inverse_ids = labels.file_ids;
  info.label_set = labels.name;
  info.void_is_class = labels.void_is_class;
  return info;
}

}  // namespace macadam
