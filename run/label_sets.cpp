#include "run/label_sets.h"

namespace macadam {

LabelSet make_label_set(const Config& config, const std::filesystem::path& root) {
  return make_label_set(config.label_set, config.void_policy, root);
}

LabelSet make_label_set(const ModelInfo& model, const std::filesystem::path& root) {
  return make_label_set_like({"the model", model.label_set, model.void_is_class, model.class_names},
                             root);
}

}  // namespace macadam
