#include "models/weight_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <optional>

#include "models/encoders/efficientnet.h"
#include "models/keras_unets.h"

namespace macadam {

namespace {

constexpr std::string_view kEncoder = "encoder.";

std::optional<std::string_view> after(std::string_view text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return std::nullopt;
  return text.substr(prefix.size());
}

/// The name without "encoder."; nothing for a decoder's parameter of a network with an encoder.
using Rename = std::function<std::optional<std::string>(const ParameterSpec&)>;

WeightScheme scheme(std::string name, const Graph& graph, const Rename& rename,
                    const Normalization& normalization = {}) {
  WeightScheme made;
  made.name = std::move(name);
  made.normalization = normalization;
  for (const ParameterSpec& p : graph.parameters()) {
    if (p.role == ParameterRole::fixed_scale) continue;
    if (auto source = rename(p)) made.source.emplace(p.name, std::move(*source));
  }
  return made;
}

/// "LAYER" and "KIND" of "LAYER.KIND".
struct Parts {
  std::string_view layer, kind;
};
Parts split_name(std::string_view name) {
  const size_t dot = name.rfind('.');
  return {name.substr(0, dot), name.substr(dot + 1)};
}

std::string_view keras_kind(const ParameterSpec& p) {
  switch (p.role) {
    case ParameterRole::conv_weight:
      return p.shape.c == 1 && p.shape.n > 1 ? "depthwise_kernel" : "kernel";
    case ParameterRole::bias: return "bias";
    case ParameterRole::norm_scale: return "gamma";
    case ParameterRole::norm_shift: return "beta";
    case ParameterRole::running_mean: return "moving_mean";
    case ParameterRole::running_var: return "moving_variance";
    case ParameterRole::fixed_scale: break;
  }
  throw std::logic_error("requirement violated: a parameter that files hold");
}

// EfficientNet -----------------------------------------------------------------------------------

/// Where block `index` of the body lies: its stage and its place there.
struct BlockPlace {
  int stage, block;
  bool expands;
};

BlockPlace place_of_block(const EfficientNetVariant& variant, int index) {
  int first = 0, number = 0;
  for (const EfficientNetStage& stage : efficientnet_stages(variant)) {
    if (index < first + stage.repeats) return {number, index - first, stage.expansion != 1};
    first += stage.repeats;
    ++number;
  }
  throw std::logic_error("requirement violated: a block of the network");
}

/// `layer` of efficientnet_pytorch: "_blocks.3._bn0".
struct EfficientNetLayer {
  std::optional<BlockPlace> block;
  std::string_view layer;
};

EfficientNetLayer efficientnet_layer(const EfficientNetVariant& variant, std::string_view layer) {
  const auto rest = after(layer, "_blocks.");
  if (!rest) return {std::nullopt, layer};
  const size_t dot = rest->find('.');
  int index = 0;
  std::from_chars(rest->data(), rest->data() + dot, index);
  return {place_of_block(variant, index), rest->substr(dot + 1)};
}

using LayerName = std::pair<std::string_view, std::string_view>;

std::optional<std::string> look_up(std::span<const LayerName> table, std::string_view layer) {
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&](const LayerName& row) { return row.first == layer; });
  if (found == table.end()) return std::nullopt;
  return std::string(found->second);
}

std::optional<std::string> torchvision_efficientnet(const EfficientNetVariant& variant,
                                                    std::string_view layer) {
  constexpr std::array<LayerName, 5> kOutside{{{"_conv_stem", "features.0.0"},
                                               {"_bn0", "features.0.1"},
                                               {"_conv_head", "features.8.0"},
                                               {"_bn1", "features.8.1"},
                                               {"_fc", "classifier.1"}}};
  constexpr std::array<LayerName, 8> kExpanding{{{"_expand_conv", "0.0"},
                                                 {"_bn0", "0.1"},
                                                 {"_depthwise_conv", "1.0"},
                                                 {"_bn1", "1.1"},
                                                 {"_se_reduce", "2.fc1"},
                                                 {"_se_expand", "2.fc2"},
                                                 {"_project_conv", "3.0"},
                                                 {"_bn2", "3.1"}}};
  constexpr std::array<LayerName, 6> kNarrow{{{"_depthwise_conv", "0.0"},
                                              {"_bn1", "0.1"},
                                              {"_se_reduce", "1.fc1"},
                                              {"_se_expand", "1.fc2"},
                                              {"_project_conv", "2.0"},
                                              {"_bn2", "2.1"}}};
  const EfficientNetLayer parts = efficientnet_layer(variant, layer);
  if (!parts.block) return look_up(kOutside, layer);
  const auto inner =
      parts.block->expands ? look_up(kExpanding, parts.layer) : look_up(kNarrow, parts.layer);
  if (!inner) return std::nullopt;
  return fmt::format("features.{}.{}.block.{}", parts.block->stage + 1, parts.block->block, *inner);
}

std::optional<std::string> timm_efficientnet(const EfficientNetVariant& variant,
                                             std::string_view layer) {
  constexpr std::array<LayerName, 5> kOutside{{{"_conv_stem", "conv_stem"},
                                               {"_bn0", "bn1"},
                                               {"_conv_head", "conv_head"},
                                               {"_bn1", "bn2"},
                                               {"_fc", "classifier"}}};
  constexpr std::array<LayerName, 8> kExpanding{{{"_expand_conv", "conv_pw"},
                                                 {"_bn0", "bn1"},
                                                 {"_depthwise_conv", "conv_dw"},
                                                 {"_bn1", "bn2"},
                                                 {"_se_reduce", "se.conv_reduce"},
                                                 {"_se_expand", "se.conv_expand"},
                                                 {"_project_conv", "conv_pwl"},
                                                 {"_bn2", "bn3"}}};
  constexpr std::array<LayerName, 6> kNarrow{{{"_depthwise_conv", "conv_dw"},
                                              {"_bn1", "bn1"},
                                              {"_se_reduce", "se.conv_reduce"},
                                              {"_se_expand", "se.conv_expand"},
                                              {"_project_conv", "conv_pw"},
                                              {"_bn2", "bn2"}}};
  const EfficientNetLayer parts = efficientnet_layer(variant, layer);
  if (!parts.block) return look_up(kOutside, layer);
  const auto inner =
      parts.block->expands ? look_up(kExpanding, parts.layer) : look_up(kNarrow, parts.layer);
  if (!inner) return std::nullopt;
  return fmt::format("blocks.{}.{}.{}", parts.block->stage, parts.block->block, *inner);
}

/// "b0" of "efficientnet_b0_unet"; nothing for other networks.
std::optional<std::string_view> efficientnet_of(std::string_view network) {
  const auto rest = after(network, "efficientnet_");
  if (!rest) return std::nullopt;
  return rest->substr(0, rest->find('_'));
}

void add_efficientnet_schemes(std::vector<WeightScheme>& schemes, std::string_view name,
                              const Graph& graph, std::string_view prefix) {
  const EfficientNetVariant& variant = efficientnet_variant(name);
  const auto renamed = [&](std::string tool, auto rename) {
    return scheme(std::move(tool), graph,
                  [&](const ParameterSpec& p) -> std::optional<std::string> {
                    const auto inside = after(p.name, prefix);
                    if (!inside) return std::nullopt;
                    const Parts parts = split_name(*inside);
                    const auto layer = rename(variant, parts.layer);
                    if (!layer) return std::nullopt;
                    return fmt::format("{}.{}", *layer, parts.kind);
                  });
  };
  schemes.push_back(renamed("torchvision", torchvision_efficientnet));
  const bool wide = variant.name == "b5" || variant.name == "b6" || variant.name == "b7";
  schemes.back().options = {{"padding", "symmetric"}, {"norm_eps", wide ? "1e-3" : "1e-5"}};
  schemes.push_back(renamed("timm (tf_efficientnet)", timm_efficientnet));
  schemes.back().options = {{"padding", "same"}};
}

// VGG16 in Keras ---------------------------------------------------------------------------------

constexpr std::string_view kKerasVgg = "Keras VGG16";
constexpr Normalization kCaffe{{103.939f, 116.779f, 123.68f}, {1, 1, 1}, 255, true};

/// "block2_conv1" of "features.5" in torchvision's vgg16.
std::optional<std::string> keras_vgg_layer(std::string_view layer) {
  constexpr std::array<LayerName, 13> kLayers{{{"features.0", "block1_conv1"},
                                               {"features.2", "block1_conv2"},
                                               {"features.5", "block2_conv1"},
                                               {"features.7", "block2_conv2"},
                                               {"features.10", "block3_conv1"},
                                               {"features.12", "block3_conv2"},
                                               {"features.14", "block3_conv3"},
                                               {"features.17", "block4_conv1"},
                                               {"features.19", "block4_conv2"},
                                               {"features.21", "block4_conv3"},
                                               {"features.24", "block5_conv1"},
                                               {"features.26", "block5_conv2"},
                                               {"features.28", "block5_conv3"}}};
  return look_up(kLayers, layer);
}

WeightScheme keras_vgg_scheme(const Graph& graph, std::string_view prefix) {
  WeightScheme made = scheme(std::string(kKerasVgg), graph,
                             [&](const ParameterSpec& p) -> std::optional<std::string> {
                               const auto inside = after(p.name, prefix);
                               if (!inside) return std::nullopt;
                               const auto layer = keras_vgg_layer(split_name(*inside).layer);
                               if (!layer) return std::nullopt;
                               return fmt::format("{}/{}", *layer, keras_kind(p));
                             });
  made.keras = true;
  made.normalization = kCaffe;
  return made;
}

// Keras ------------------------------------------------------------------------------------------

/// Layers named in Keras: our name is a part of the network, a dot, and the layer.
WeightScheme keras_scheme(const Graph& graph, const Normalization& normalization) {
  WeightScheme made = scheme(
      "Keras", graph,
      [](const ParameterSpec& p) -> std::optional<std::string> {
        const Parts parts = split_name(p.name);
        return fmt::format("{}/{}", parts.layer.substr(parts.layer.find('.') + 1), keras_kind(p));
      },
      normalization);
  made.keras = true;
  return made;
}

/// The layer of a file's tensor that Keras named itself: "conv2d_7" of "conv2d_7/kernel".
std::optional<std::string_view> auto_named(const WeightTensor& tensor, std::string_view kind) {
  const std::string_view name = tensor.name;
  const size_t slash = name.rfind('/');
  if (slash == name.npos || name.substr(slash + 1) != kind) return std::nullopt;
  const std::string_view layer = name.substr(0, slash);
  for (const std::string_view base : {"conv2d", "depthwise_conv2d", "batch_normalization"}) {
    const auto rest = after(layer, base);
    if (!rest) continue;
    const bool number = rest->size() > 1 && rest->front() == '_' &&
                        rest->find_first_not_of("0123456789", 1) == rest->npos;
    if (rest->empty() || number) return layer;
  }
  return std::nullopt;
}

/// A named network's layers in a file where Keras named all of them: .weights.h5 forgets names that
/// were given. The n-th layer of a kind and shape in the file is the n-th of that kind and shape in
/// the network, whatever lies between them; nothing when one of them is not there, or one is left.
std::optional<WeightScheme> keras_auto_scheme(const Graph& graph,
                                              std::span<const WeightTensor> tensors,
                                              const Normalization& normalization) {
  std::map<std::pair<std::string, TensorShape>, std::vector<std::string>> queues;
  size_t left = 0;
  for (auto tensor = tensors.rbegin(); tensor != tensors.rend(); ++tensor) {
    for (const std::string_view kind : {"kernel", "depthwise_kernel", "moving_mean"}) {
      if (const auto layer = auto_named(*tensor, kind)) {
        queues[{std::string(kind), tensor->shape}].emplace_back(*layer);
        ++left;
      }
    }
  }
  std::map<std::string, std::string, std::less<>> layers;  // ours -> the file's
  std::string head;                                        // may be one for other classes
  for (const ParameterSpec& p : graph.parameters()) {
    const bool conv = p.role == ParameterRole::conv_weight;
    if (!conv && p.role != ParameterRole::running_mean) continue;
    const std::string ours(split_name(p.name).layer);
    const TensorShape own = p.file_shape();
    TensorShape shape = own;
    if (conv) shape = {own[2], own[3], own[1], own[0]};
    if (keras_kind(p) == "depthwise_kernel") shape = {own[2], own[3], own[0], 1};
    auto& queue = queues[{std::string(keras_kind(p)), shape}];
    if (queue.empty()) {
      if (part_of(p.name) != WeightPart::head) return std::nullopt;
      head = ours;
      continue;
    }
    layers[ours] = queue.back();
    queue.pop_back();
    --left;
  }
  if (left != (head.empty() ? 0 : 1)) return std::nullopt;
  for (const auto& [key, queue] : queues) {
    if (!queue.empty()) layers[head] = queue.front();
  }
  WeightScheme made = scheme(
      "Keras, which named the layers itself", graph,
      [&](const ParameterSpec& p) -> std::optional<std::string> {
        const auto found = layers.find(split_name(p.name).layer);
        if (found == layers.end()) return std::nullopt;
        return fmt::format("{}/{}", found->second, keras_kind(p));
      },
      normalization);
  made.keras = true;
  return made;
}

/// Layers that Keras named itself, "conv2d_7": the n-th convolution of the file is that of the
/// network, and so are the batch norms. image-segmentation-keras names the last one before the
/// head "seg_feats"; VGG's layers keep names of their own. The order means nothing when a layer
/// does not fit: then the file holds another network, and none is taken by its order. Where VGG's
/// layers alone are taken they are keras-applications', whose images are other than the tool's.
WeightScheme keras_order_scheme(const Graph& graph, std::span<const WeightTensor> tensors) {
  std::vector<const WeightTensor*> convs, norms;
  for (const WeightTensor& tensor : tensors) {
    const std::string_view name = tensor.name;
    const bool conv = name.starts_with("conv2d") || name.starts_with("seg_feats");
    if (conv && name.ends_with("/kernel")) convs.push_back(&tensor);
    if (name.starts_with("batch_norm") && name.ends_with("/gamma")) norms.push_back(&tensor);
  }
  std::map<std::string, std::string, std::less<>> layers, ordered;  // ours -> the file's
  size_t conv = 0, norm = 0;
  bool all_fit = true;
  const auto take = [&](const WeightTensor& tensor, const ParameterSpec& p,
                        const TensorShape& shape) {
    ordered[std::string(split_name(p.name).layer)] = tensor.name.substr(0, tensor.name.find('/'));
    // A head may be one for other classes.
    all_fit = all_fit && (tensor.shape == shape || part_of(p.name) == WeightPart::head);
  };
  for (const ParameterSpec& p : graph.parameters()) {
    const std::string ours(split_name(p.name).layer);
    const std::string own = ours.substr(ours.find('.') + 1);
    const TensorShape shape = p.file_shape();
    if (own.starts_with("block")) {
      layers[ours] = own;
    } else if (p.role == ParameterRole::conv_weight && conv < convs.size()) {
      take(*convs[conv++], p, {shape[2], shape[3], shape[1], shape[0]});
    } else if (p.role == ParameterRole::norm_scale && norm < norms.size()) {
      take(*norms[norm++], p, shape);
    }
  }
  const bool whole = all_fit && !ordered.empty();
  if (whole) layers.merge(ordered);
  WeightScheme made = scheme("image-segmentation-keras", graph, [&](const ParameterSpec& p) {
    const auto found = layers.find(split_name(p.name).layer);
    return found == layers.end() ? std::optional<std::string>()
                                 : fmt::format("{}/{}", found->second, keras_kind(p));
  });
  made.keras = true;
  if (!whole) made.name = kKerasVgg;
  made.normalization = whole ? kImageSegmentationKeras : kCaffe;
  return made;
}

}  // namespace

std::vector<WeightScheme> weight_schemes(const NetworkEntry& entry, const Graph& graph,
                                         std::span<const WeightTensor> tensors) {
  std::vector<WeightScheme> schemes;
  schemes.push_back(scheme(
      entry.family == NetworkFamily::smp ? "segmentation_models.pytorch (as Macadam)" : "Macadam",
      graph, [](const ParameterSpec& p) { return p.name; }));
  schemes.back().normalization = entry.normalization;

  if (entry.family == NetworkFamily::smp) {
    const bool segments = entry.task == Task::segmentation;
    const std::string_view prefix = segments ? kEncoder : std::string_view();
    if (segments) {
      const auto efficientnet = efficientnet_of(entry.name).has_value();
      schemes.push_back(scheme(
          efficientnet ? "efficientnet_pytorch" : "torchvision", graph,
          [](const ParameterSpec& p) -> std::optional<std::string> {
            const auto inside = after(p.name, kEncoder);
            return inside ? std::optional<std::string>(*inside) : std::nullopt;
          },
          entry.normalization));
    }
    if (const auto variant = efficientnet_of(entry.name)) {
      add_efficientnet_schemes(schemes, *variant, graph, prefix);
    }
    if (entry.name == "vgg16_unet" || entry.name == "vgg16") {
      schemes.push_back(keras_vgg_scheme(graph, prefix));
    }
  }
  if (entry.family == NetworkFamily::keras_sm) {
    schemes.push_back(keras_scheme(graph, entry.normalization));
    if (auto unnamed = keras_auto_scheme(graph, tensors, entry.normalization)) {
      schemes.push_back(std::move(*unnamed));
    }
  }
  if (entry.family == NetworkFamily::keras_by_order || entry.name == "unet_mini") {
    schemes.push_back(keras_order_scheme(graph, tensors));
  }
  return schemes;
}

WeightPart part_of(std::string_view parameter) {
  if (parameter.starts_with(kEncoder)) return WeightPart::encoder;
  for (std::string_view head : {"segmentation_head.", "head.", "fc.", "_fc.", "classifier.6."}) {
    if (parameter.starts_with(head)) return WeightPart::head;
  }
  return WeightPart::decoder;
}

}  // namespace macadam
