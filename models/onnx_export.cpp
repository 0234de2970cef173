#include "models/onnx_export.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json_text.h"
#include "models/onnx/serialize.h"
#include "models/onnx/translate.h"

namespace macadam {

namespace {

/// "[1, 0.5, 2]": floats as short as they can be.
std::string list(std::span<const float> values) {
  return fmt::format("[{}]", fmt::join(values, ", "));
}

std::vector<std::pair<std::string, std::string>> metadata_of(const ModelInfo& info, Shape image) {
  const auto text = [&](const nlohmann::ordered_json& value) {
    return exact_json_text(value, "a text that describes the model is not UTF-8", info.network,
                           "rename the classes");
  };
  nlohmann::ordered_json names;
  for (size_t i = 0; i < info.class_names.size(); ++i) {
    names[std::to_string(i)] = info.class_names[i];
  }
  return {{"macadam", to_json(info)},
          {"names", text(names)},
          {"class_names", text(info.class_names)},
          {"palette", text(info.palette)},
          {"mean", list(info.normalization.mean)},
          {"std", list(info.normalization.std)},
          {"range", fmt::format("{}", info.normalization.range)},
          {"bgr", info.normalization.bgr ? "true" : "false"},
          {"imgsz", fmt::format("[{}, {}]", image.h, image.w)}};
}

}  // namespace

void export_onnx(const std::filesystem::path& file, const Graph& graph,
                 const std::map<std::string, ModelTensor>& parameters, const ModelInfo& info,
                 const OnnxOptions& options) {
  require(graph.shape(graph.output()).c == static_cast<int>(info.class_names.size()),
          "the graph has as many classes as the model");
  OnnxModel model = translate(graph, parameters, options, file.string());
  model.name = info.network;
  model.producer_version = info.macadam_version;
  model.metadata = metadata_of(info, graph.shape(graph.input()));
  write_file_atomically(file, serialize(std::move(model), file.string()));
}

}  // namespace macadam
