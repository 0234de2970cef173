#include "models/conversion.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <list>

#include "engine/model/safetensors.h"
#include "engine/plan/parameters.h"
#include "models/auxiliary_head.h"
#include "models/loaded_model.h"

namespace macadam {

namespace {

constexpr std::string_view kInfoKey = "macadam";
constexpr size_t kMagicBytes = 9;  // safetensors: 8 bytes of length, then '{'

bool looks_like_safetensors(const std::filesystem::path& path) {
  if (!std::filesystem::is_regular_file(path)) return false;
  const MappedFile file(path);
  return file.bytes().size() >= kMagicBytes && file.bytes()[kMagicBytes - 1] == std::byte{'{'};
}

bool same_value(std::string_view a, std::string_view b) {
  double x = 0, y = 1;
  const auto read = [](std::string_view text, double& number) {
    return std::from_chars(text.data(), text.data() + text.size(), number).ec == std::errc();
  };
  return a == b || (read(a, x) && read(b, y) && x == y);
}

/// What segmentation_models.pytorch calls the parameters of the network that a model names: of its
/// Unet that computes the same. Of the options, those tell Unets apart that come with some tool's
/// weights.
std::map<std::string, std::string> unet_names(const ModelInfo& info, std::string_view file) {
  const NetworkEntry& entry = find_network(info.network);
  const Graph graph = build_network(network_spec(info), {1, info.height, info.width, 3});
  const std::vector<WeightScheme> schemes = weight_schemes(entry, graph, {});
  std::string differing;
  for (const WeightScheme& scheme : schemes) {
    if (scheme.source.size() != graph.parameters().size()) continue;  // an encoder's
    differing.clear();
    for (const NetworkOption& option : entry.options) {
      const std::string key(option.key);
      const auto value = [&](const std::map<std::string, std::string>& options) {
        const auto found = options.find(key);
        return found == options.end() ? std::string(option.default_value) : found->second;
      };
      const bool decides = std::ranges::any_of(
          schemes, [&](const WeightScheme& other) { return other.options.count(key) > 0; });
      if (decides && !same_value(value(scheme.options), value(info.network_options))) {
        differing = fmt::format("{} = {}", key, value(info.network_options));
      }
    }
    if (differing.empty()) return scheme.source;
  }
  throw InputError(fmt::format("{} with {} is no network of segmentation_models.pytorch",
                               info.network, differing),
                   file, "convert it to .onnx instead");
}

/// What the code of some networks' authors always holds, and models need not.
struct AuthorsCode {
  std::string_view network;                    // what its names begin with
  bool auxiliary = false;                      // the authors' auxiliary head
  std::string_view mean = {}, deviation = {};  // buffers: of the bytes of images
};
constexpr std::array<AuthorsCode, 2> kAuthorsCode{{
    {.network = "gcnet_", .auxiliary = true},
    {.network = "swiftnet_", .mean = "backbone.img_mean", .deviation = "backbone.img_std"},
}};

Graph with_auxiliary_head(const ModelInfo& info) {
  NetworkSpec spec = network_spec(info);
  spec.options[std::string(kOwnAuxiliaryOption.key)] = "1";
  return build_network(spec, {1, info.height, info.width, 3});
}

std::vector<float> of_bytes(const ModelInfo& info, std::array<float, 3> Normalization::*which) {
  std::vector<float> values;
  for (const float value : info.normalization.*which) {
    values.push_back(value * (255 / info.normalization.range));
  }
  return values;
}

}  // namespace

bool is_model_file(const std::filesystem::path& path) {
  return looks_like_safetensors(path) && SafetensorsFile(path).metadata().contains(kInfoKey.data());
}

WeightNeeds needs_of(const WeightImport& weights, const NetworkSpec& spec) {
  WeightNeeds needs{{}, weights.scheme().normalization};
  for (const auto& [key, value] : weights.scheme().options) {
    if (spec.options.count(key) == 0) needs.options.emplace(key, value);
  }
  if (is_model_file(weights.report().file)) {
    const SafetensorsFile file(weights.report().file);
    const ModelInfo info =
        parse_model_info(file.metadata().at(std::string(kInfoKey)), weights.report().file);
    needs.normalization = info.normalization;
    for (const auto& [key, value] : info.network_options) {
      if (spec.options.count(key) == 0) needs.options.emplace(key, value);
    }
  }
  return needs;
}

ImportReport convert_weights(const std::filesystem::path& source,
                             const std::filesystem::path& destination, ModelInfo info,
                             bool partial) {
  NetworkSpec spec = network_spec(info);
  const Graph graph = build_network(spec, {1, info.height, info.width, 3});
  const WeightImport weights(source, spec, graph, partial);
  const WeightNeeds needs = needs_of(weights, spec);
  info.network_options.insert(needs.options.begin(), needs.options.end());
  info.normalization = needs.normalization;
  build_network(network_spec(info), {1, info.height, info.width, 3});  // the options are valid

  // Most tensors are written from where they lie in the source's mapping.
  std::list<std::vector<float>> made;
  std::map<std::string, ModelTensorView> views;
  weights.for_each([&](size_t i, std::span<const float> values, bool lasting) {
    const ParameterSpec& p = graph.parameters()[i];
    if (!lasting) values = made.emplace_back(values.begin(), values.end());
    views[p.name] = {p.file_shape(), values};
  });
  for (const ParameterSpec& p : graph.parameters()) {
    if (views.count(p.name) != 0) continue;
    views[p.name] = {p.file_shape(), made.emplace_back(initial_values(p, info.seed))};
  }
  save_model(destination, info, views);
  return weights.report();
}

void export_pytorch(const std::filesystem::path& destination, const Model& model,
                    std::string_view file) {
  const ModelInfo& info = model.info;
  const NetworkFamily family = find_network(info.network).family;
  if (family != NetworkFamily::smp && family != NetworkFamily::authors) {
    throw InputError(fmt::format("{} has no counterpart in PyTorch", info.network), file,
                     "convert it to .onnx instead");
  }
  constexpr std::string_view kStatistic = ".running_mean";
  const int64_t batches = info.step;  // what PyTorch would have counted
  std::map<std::string, StoredTensor> stored;
  const auto add = [&](const std::string& name, const TensorShape& shape,
                       std::span<const float> values) {
    stored[name] = {StoredType::f32, shape, std::as_bytes(values)};
    if (name.ends_with(kStatistic)) {
      const std::string layer = name.substr(0, name.size() - kStatistic.size());
      stored[layer + ".num_batches_tracked"] = {
          StoredType::i64, {}, std::as_bytes(std::span(&batches, 1))};
    }
  };
  const std::map<std::string, std::string> names = unet_names(info, file);
  for (const auto& [own, tensor] : model.parameters) {
    if (own.starts_with(kAuxiliaryPrefix)) continue;  // a head of our own
    add(names.at(own), tensor.shape, tensor.values);
  }
  std::list<std::vector<float>> made;
  for (const AuthorsCode& code : kAuthorsCode) {
    if (!info.network.starts_with(code.network)) continue;
    if (code.auxiliary) {
      const Graph graph = with_auxiliary_head(info);
      for (const ParameterSpec& p : graph.parameters()) {
        if (model.parameters.count(p.name) != 0) continue;
        add(p.name, p.file_shape(), made.emplace_back(initial_values(p, info.seed)));
      }
    }
    if (code.mean.empty()) continue;
    add(std::string(code.mean), {1, 3, 1, 1},
        made.emplace_back(of_bytes(info, &Normalization::mean)));
    add(std::string(code.deviation), {1, 3, 1, 1},
        made.emplace_back(of_bytes(info, &Normalization::std)));
  }
  write_safetensors(destination, stored, {{"format", "pt"}});
}

}  // namespace macadam
