#include "models/loaded_model.h"

#include "engine/trainer.h"

namespace macadam {

NetworkSpec network_spec(const ModelInfo& info) {
  return {info.network, static_cast<int>(info.class_names.size()), info.network_options};
}

LoadedModel::LoadedModel(const std::filesystem::path& file, Stream& stream)
    : LoadedModel(load_model(file), file, stream) {}

LoadedModel::LoadedModel(const Model& model, const std::filesystem::path& file, Stream& stream)
    : info_(model.info),
      parameters_(
          build_network(network_spec(info_), {1, info_.height, info_.width, 3}).parameters(),
          stream, false) {
  load_parameters(model, parameters_, file.string());
}

Graph LoadedModel::graph(int batch, int height, int width) const {
  return build_network(network_spec(info_), {batch, height, width, 3});
}

Shape LoadedModel::fitting(int height, int width) const {
  const int m = find_network(info_.network).size_multiple;
  return {1, (height + m - 1) / m * m, (width + m - 1) / m * m, 3};
}

}  // namespace macadam
