#include "models/weight_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <set>

#include "base/to_size.h"
#include "models/auxiliary_head.h"
#include "models/encoders/vgg.h"
#include "models/keras_layer_order.h"
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

constexpr std::string_view kDepthwise = "depthwise_kernel";

std::string_view keras_kind(const ParameterSpec& p) {
  switch (p.role) {
    case ParameterRole::conv_weight: return p.shape.c == 1 && p.shape.n > 1 ? kDepthwise : "kernel";
    case ParameterRole::bias: return "bias";
    case ParameterRole::norm_scale: return "gamma";
    case ParameterRole::norm_shift: return "beta";
    case ParameterRole::running_mean: return "moving_mean";
    case ParameterRole::running_var: return "moving_variance";
    case ParameterRole::fixed_scale: break;
  }
  throw std::logic_error("requirement violated: a parameter that files hold");
}

/// The tool's name of `p`, which an encoder calls `name`.
std::optional<std::string> name_in_tool(const EncoderNames& names, const ParameterSpec& p,
                                        std::string_view name) {
  const Parts parts = split_name(name);
  const auto layer = names.layer(parts.layer);
  if (!layer) return std::nullopt;
  return names.keras ? fmt::format("{}/{}", *layer, keras_kind(p))
                     : fmt::format("{}.{}", *layer, parts.kind);
}

WeightScheme encoder_scheme(const EncoderNames& names, const Graph& graph,
                            std::string_view prefix) {
  WeightScheme made = scheme(
      names.tool, graph,
      [&](const ParameterSpec& p) {
        const auto inside = after(p.name, prefix);
        return inside ? name_in_tool(names, p, *inside) : std::nullopt;
      },
      names.normalization);
  made.keras = names.keras;
  made.options = names.options;
  made.zeros = {names.zeros.begin(), names.zeros.end()};
  return made;
}

/// segmentation_models.pytorch's Unet upon an encoder of timm.
WeightScheme unet_scheme(const EncoderNames& names, const Graph& graph) {
  WeightScheme made = scheme(
      "segmentation_models.pytorch (tu-)", graph,
      [&](const ParameterSpec& p) -> std::optional<std::string> {
        const auto inside = after(p.name, kEncoder);
        if (!inside) return p.name;
        const auto name = name_in_tool(names, p, *inside);
        return name ? std::optional(names.unet_prefix + *name) : std::nullopt;
      },
      names.normalization);
  made.options = names.options;
  return made;
}

// Keras ------------------------------------------------------------------------------------------

/// Keras' name of a layer: ours is a part of the network, a dot, and that.
std::string keras_layer(std::string_view ours) {
  return std::string(ours.substr(ours.find('.') + 1));
}

using TensorNames = std::set<std::string_view>;

TensorNames names_of(std::span<const WeightTensor> tensors) {
  TensorNames names;
  for (const WeightTensor& tensor : tensors) names.insert(tensor.name);
  return names;
}

/// Keras' name of a layer's parameter. Keras 3 calls a depthwise kernel a kernel.
std::string keras_tensor(std::string_view layer, const ParameterSpec& p, const TensorNames& file) {
  std::string name = fmt::format("{}/{}", layer, keras_kind(p));
  std::string plain = fmt::format("{}/kernel", layer);
  return keras_kind(p) == kDepthwise && file.count(name) == 0 && file.count(plain) > 0 ? plain
                                                                                       : name;
}

WeightScheme keras_scheme(const Graph& graph, std::span<const WeightTensor> tensors,
                          const Normalization& normalization) {
  const TensorNames file = names_of(tensors);
  WeightScheme made = scheme(
      "Keras", graph,
      [&](const ParameterSpec& p) {
        return std::optional(keras_tensor(keras_layer(split_name(p.name).layer), p, file));
      },
      normalization);
  made.keras = true;
  return made;
}

/// A layer of a file that Keras named itself, "conv2d_7", told by one of its tensors.
struct UnnamedLayer {
  std::string_view name, number;
  std::string_view kind;
  const TensorShape* shape = nullptr;

  /// Whether it was made before `other`, a layer of the same kind: "conv2d" is the first.
  bool made_before(const UnnamedLayer& other) const {
    return std::pair(number.size(), number) < std::pair(other.number.size(), other.number);
  }
};

std::optional<UnnamedLayer> unnamed_layer(const WeightTensor& tensor) {
  const std::string_view name = tensor.name;
  const size_t slash = name.rfind('/');
  if (slash == name.npos) return std::nullopt;
  const std::string_view layer = name.substr(0, slash), kind = name.substr(slash + 1);
  if (kind != "kernel" && kind != kDepthwise && kind != "moving_mean") return std::nullopt;
  for (const std::string_view base : {"conv2d", "depthwise_conv2d", "batch_normalization"}) {
    const auto rest = after(layer, base);
    if (!rest) continue;
    const bool number = rest->size() > 1 && rest->front() == '_' &&
                        rest->find_first_not_of("0123456789", 1) == rest->npos;
    if (!rest->empty() && !number) continue;
    return UnnamedLayer{layer, *rest, base.starts_with("depth") ? kDepthwise : kind, &tensor.shape};
  }
  return std::nullopt;
}

/// Convolutions and batch norms of a network: its parameters that tell them from others.
std::vector<const ParameterSpec*> telling_parameters(const Graph& graph, bool as_saved) {
  std::vector<const ParameterSpec*> telling;
  const auto append = [&](const ParameterSpec& p) {
    if (p.role == ParameterRole::conv_weight || p.role == ParameterRole::running_mean) {
      telling.push_back(&p);
    }
  };
  if (as_saved) {
    for (const size_t node : keras_layer_order(graph)) {
      for (const int p : graph.nodes()[node].parameters) append(graph.parameters()[to_size(p)]);
    }
  } else {
    for (const ParameterSpec& p : graph.parameters()) append(p);
  }
  return telling;
}

/// A network of which Keras named some layers itself, because the library does not, or all, because
/// a .weights.h5 forgets names that were given. The n-th layer of a kind and shape in the file is
/// the n-th of that kind and shape in the network, whatever lies between them: n-th as Keras
/// counted them, when it made them; a .weights.h5 counts as it saves. Nothing when a layer of the
/// encoder is not there, or some of the decoder's, or one is left.
std::optional<WeightScheme> keras_auto_scheme(const NetworkEntry& entry, const Graph& graph,
                                              std::span<const WeightTensor> tensors) {
  const TensorNames names = names_of(tensors);
  std::vector<UnnamedLayer> unnamed;
  std::map<std::string_view, UnnamedLayer> last;  // by kind
  bool counted_as_saved = true;
  for (const WeightTensor& tensor : tensors) {
    const auto layer = unnamed_layer(tensor);
    if (!layer) continue;
    const auto [before, first] = last.try_emplace(layer->kind, *layer);
    counted_as_saved = counted_as_saved && (first || before->second.made_before(*layer));
    before->second = *layer;
    unnamed.push_back(*layer);
  }
  if (unnamed.empty()) return std::nullopt;
  std::ranges::stable_sort(unnamed, &UnnamedLayer::made_before);
  std::map<std::pair<std::string_view, TensorShape>, std::vector<std::string_view>> queues;
  for (auto layer = unnamed.rbegin(); layer != unnamed.rend(); ++layer) {
    queues[{layer->kind, *layer->shape}].push_back(layer->name);
  }

  size_t left = unnamed.size(), decoder = 0, missing_decoder = 0;
  std::map<std::string, std::string, std::less<>> layers;  // ours -> the file's
  std::string head;                                        // may be one for other classes
  for (const ParameterSpec* p : telling_parameters(graph, counted_as_saved)) {
    const std::string ours(split_name(p->name).layer);
    const std::string named = keras_layer(ours);
    const std::string_view kind = keras_kind(*p);
    const WeightPart part = part_of(entry, *p);
    decoder += part == WeightPart::decoder ? 1 : 0;
    if (names.count(keras_tensor(named, *p, names)) > 0) {
      layers[ours] = named;
      continue;
    }
    const TensorShape own = p->file_shape();
    TensorShape shape = own;
    if (kind == "kernel") shape = {own[2], own[3], own[1], own[0]};
    if (kind == kDepthwise) shape = {own[2], own[3], own[0], 1};
    auto& queue = queues[{kind, shape}];
    if (!queue.empty()) {
      layers[ours] = queue.back();
      queue.pop_back();
      --left;
    } else if (part == WeightPart::head) {
      head = ours;
    } else if (part == WeightPart::decoder) {
      ++missing_decoder;
    } else {
      return std::nullopt;
    }
  }
  const bool encoder_alone = missing_decoder == decoder;
  if (missing_decoder > 0 && !encoder_alone) return std::nullopt;
  if (left != (head.empty() || encoder_alone ? 0 : 1)) return std::nullopt;
  for (const auto& [key, queue] : queues) {
    if (!queue.empty()) layers[head] = queue.front();
  }
  WeightScheme made = scheme(
      "Keras, which named layers itself", graph,
      [&](const ParameterSpec& p) -> std::optional<std::string> {
        const auto found = layers.find(split_name(p.name).layer);
        if (found == layers.end()) return std::nullopt;
        return keras_tensor(found->second, p, names);
      },
      entry.normalization);
  made.keras = true;
  return made;
}

/// Layers that Keras named itself, "conv2d_7": the n-th convolution of the file is that of the
/// network, and so are the batch norms. image-segmentation-keras names the last one before the
/// head "seg_feats"; VGG's layers keep names of their own. The order means nothing when a layer
/// does not fit: then the file holds another network, and none is taken by its order. Where VGG's
/// layers alone are taken they are keras-applications', whose images are other than the tool's.
WeightScheme keras_order_scheme(const NetworkEntry& entry, const Graph& graph,
                                std::span<const WeightTensor> tensors) {
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
    all_fit = all_fit && (tensor.shape == shape || part_of(entry, p) == WeightPart::head);
  };
  for (const ParameterSpec& p : graph.parameters()) {
    const std::string ours(split_name(p.name).layer);
    const std::string own = keras_layer(ours);
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
  made.normalization = whole ? kImageSegmentationKeras : kKerasVggImages;
  return made;
}

}  // namespace

std::vector<WeightScheme> weight_schemes(const NetworkEntry& entry, const Graph& graph,
                                         std::span<const WeightTensor> tensors) {
  std::vector<WeightScheme> schemes;
  const std::string own = entry.family == NetworkFamily::smp       ? "segmentation_models.pytorch"
                          : entry.family == NetworkFamily::authors ? "its authors"
                                                                   : "";
  schemes.push_back(scheme(own.empty() ? "Macadam" : own + " (as Macadam)", graph,
                           [](const ParameterSpec& p) { return p.name; }));
  schemes.back().normalization = entry.normalization;

  const bool segments = entry.task == Task::segmentation;
  for (size_t i = 0; i < entry.encoder_names.size(); ++i) {
    const EncoderNames& names = entry.encoder_names[i];
    // A classifier's own names have been there.
    if (i > 0 || segments) {
      schemes.push_back(encoder_scheme(names, graph, segments ? kEncoder : ""));
    }
    if (segments && !names.unet_prefix.empty()) schemes.push_back(unet_scheme(names, graph));
  }
  for (const EncoderNames& names : entry.layer_names) {
    schemes.push_back(encoder_scheme(names, graph, ""));
  }
  if (entry.family == NetworkFamily::keras_sm) {
    schemes.push_back(keras_scheme(graph, tensors, entry.normalization));
    if (auto unnamed = keras_auto_scheme(entry, graph, tensors)) {
      schemes.push_back(std::move(*unnamed));
    }
  }
  if (entry.family == NetworkFamily::keras_by_order || entry.name == "unet_mini") {
    schemes.push_back(keras_order_scheme(entry, graph, tensors));
  }
  return schemes;
}

WeightPart part_of(const NetworkEntry& entry, const ParameterSpec& parameter) {
  const auto begins = [&](std::span<const std::string_view> prefixes) {
    return std::ranges::any_of(
        prefixes, [&](std::string_view prefix) { return parameter.name.starts_with(prefix); });
  };
  if (begins(entry.parts.encoder)) return WeightPart::encoder;
  const bool head = begins(entry.parts.head) || begins(entry.parts.auxiliary) ||
                    parameter.name.starts_with(kAuxiliaryPrefix);
  return head ? WeightPart::head : WeightPart::decoder;
}

}  // namespace macadam
