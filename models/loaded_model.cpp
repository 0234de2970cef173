#include "models/loaded_model.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/round_up.h"

namespace macadam {

NetworkSpec network_spec(const ModelInfo& info) {
  return {info.network, static_cast<int>(info.class_names.size()), info.network_options};
}

Graph model_network(const ModelInfo& info, Shape input, const std::filesystem::path& file) {
  try {
    return build_network(network_spec(info), input);
  } catch (const InputError& error) {
    throw InputError(fmt::format("the model cannot be used ({})", error.what()), file.string(),
                     "save or convert it again");
  }
}

void fail_for_memory(const ModelInfo& info, const std::filesystem::path& file,
                     std::string_view why) {
  throw InputError(fmt::format("the model's images of {}x{} (height x width) do not fit into "
                               "memory ({})",
                               info.height, info.width, why),
                   file.string(), "use a model of smaller images, or a smaller batch");
}

LoadedModel::LoadedModel(const std::filesystem::path& file, Stream& stream)
    : LoadedModel(load_model(file), file, stream) {}

LoadedModel::LoadedModel(const Model& model, const std::filesystem::path& file, Stream& stream)
    : info_(model.info),
      file_(file),
      parameters_(model_network(info_, {1, info_.height, info_.width, 3}, file).parameters(),
                  stream, false) {
  load_parameters(model, parameters_, file.string());
}

Graph LoadedModel::graph(int batch, int height, int width) const {
  return model_network(info_, {batch, height, width, 3}, file_);
}

Shape LoadedModel::fitting(int height, int width) const {
  const NetworkEntry& entry = find_network(info_.network);
  const auto fitted = [&](int extent) {
    return round_up(std::max(extent, entry.minimum_size), entry.size_multiple);
  };
  return {1, fitted(height), fitted(width), 3};
}

}  // namespace macadam
