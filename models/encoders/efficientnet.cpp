#include "models/encoders/efficientnet.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace macadam {

namespace {

/// Builds the network block by block, keeping track of the nominal image size that fixed paddings
/// follow.
class Body {
 public:
  Body(Graph& g, const EfficientNetVariant& variant, const EfficientNetOptions& options)
      : g_(g),
        variant_(variant),
        options_(options),
        norm_{.eps = options.norm_eps, .momentum = 0.01f} {}

  /// A convolution of `x` that is wider than 1x1.
  ConvLayer spatial_conv(Value x, int channels, int kernel, int stride) {
    ConvLayer conv = plain_conv(channels, kernel, stride);
    if (options_.padding == EfficientNetPadding::fixed) {
      conv.padding = same_padding(nominal_, nominal_, kernel, stride);
    } else if (options_.padding == EfficientNetPadding::same) {
      conv.padding = same_padding(g_.shape(x).h, g_.shape(x).w, kernel, stride);
    }
    nominal_ = (nominal_ + stride - 1) / stride;
    return conv;
  }

  Value norm_activation(Value x, const std::string& name) const {
    return g_.activation(g_.batch_norm(x, name, norm_),
                         variant_.lite ? Activation::relu6 : Activation::silu);
  }

  /// MBConv: expand, depthwise, squeeze-excite, project, and the shortcut where shapes allow it.
  Value block(Value x, const std::string& name, const EfficientNetStage& stage, bool first,
              float drop) {
    const int in = g_.shape(x).c;
    const int stride = first ? stage.stride : 1;
    Value y = x;
    if (stage.expansion != 1) {
      y = g_.conv(y, name + "._expand_conv", plain_conv(in * stage.expansion, 1));
      y = norm_activation(y, name + "._bn0");
    }
    ConvLayer depthwise = spatial_conv(y, in * stage.expansion, stage.kernel, stride);
    depthwise.groups = depthwise.out_channels;
    y = g_.conv(y, name + "._depthwise_conv", depthwise);
    y = norm_activation(y, name + "._bn1");
    if (!variant_.lite) y = squeeze_excite(y, name, std::max(1, in / 4));
    y = g_.conv(y, name + "._project_conv", plain_conv(stage.out, 1));
    y = g_.batch_norm(y, name + "._bn2", norm_);
    if (stride != 1 || in != stage.out) return y;
    if (drop > 0) y = g_.drop_path(y, drop);
    return g_.add(y, x);
  }

 private:
  Value squeeze_excite(Value x, const std::string& name, int squeezed) {
    ConvLayer conv = plain_conv(squeezed, 1);
    conv.bias = true;
    Value s = g_.conv(g_.global_average_pool(x), name + "._se_reduce", conv);
    conv.out_channels = g_.shape(x).c;
    s = g_.conv(g_.activation(s, Activation::silu), name + "._se_expand", conv);
    return g_.scale(x, g_.activation(s, Activation::sigmoid));
  }

  Graph& g_;
  const EfficientNetVariant& variant_;
  const EfficientNetOptions& options_;
  BatchNormDesc norm_;
  int nominal_ = variant_.resolution;
};

int head_channels(const EfficientNetVariant& variant) {
  return variant.lite ? 1280 : round_channels(variant, 1280);
}

constexpr std::array<EfficientNetVariant, 13> kVariants{{{"b0", 1.0, 1.0, 224, false, 9},
                                                         {"b1", 1.0, 1.1, 240},
                                                         {"b2", 1.1, 1.2, 260},
                                                         {"b3", 1.2, 1.4, 300},
                                                         {"b4", 1.4, 1.8, 380},
                                                         {"b5", 1.6, 2.2, 456},
                                                         {"b6", 1.8, 2.6, 528},
                                                         {"b7", 2.0, 3.1, 600},
                                                         {"lite0", 1.0, 1.0, 224, true},
                                                         {"lite1", 1.0, 1.1, 240, true},
                                                         {"lite2", 1.1, 1.2, 260, true},
                                                         {"lite3", 1.2, 1.4, 280, true},
                                                         {"lite4", 1.4, 1.8, 300, true}}};

}  // namespace

const EfficientNetVariant& efficientnet_variant(std::string_view name) {
  const auto found = std::find_if(kVariants.begin(), kVariants.end(),
                                  [&](const EfficientNetVariant& v) { return v.name == name; });
  require(found != kVariants.end(), "an EfficientNet variant");
  return *found;
}

int round_channels(const EfficientNetVariant& variant, int channels) {
  return multiple_of_eight(channels * variant.width);
}

std::vector<EfficientNetStage> efficientnet_stages(const EfficientNetVariant& variant) {
  constexpr std::array<EfficientNetStage, 7> kStages{{{1, 3, 1, 1, 32, 16},
                                                      {2, 3, 2, 6, 16, 24},
                                                      {2, 5, 2, 6, 24, 40},
                                                      {3, 3, 2, 6, 40, 80},
                                                      {3, 5, 1, 6, 80, 112},
                                                      {4, 5, 2, 6, 112, 192},
                                                      {1, 3, 1, 6, 192, 320}}};
  std::vector<EfficientNetStage> stages(kStages.begin(), kStages.end());
  for (size_t i = 0; i < stages.size(); ++i) {
    EfficientNetStage& stage = stages[i];
    const bool first = i == 0, last = i + 1 == stages.size();
    if (!variant.lite || !first) stage.in = round_channels(variant, stage.in);
    stage.out = round_channels(variant, stage.out);
    if (!variant.lite || (!first && !last)) {
      stage.repeats = static_cast<int>(std::ceil(variant.depth * stage.repeats));
    }
  }
  return stages;
}

Features efficientnet(Graph& g, Value image, const std::string& prefix,
                      const EfficientNetVariant& variant, const EfficientNetOptions& options) {
  const std::vector<EfficientNetStage> stages = efficientnet_stages(variant);
  int blocks = 0;
  for (const EfficientNetStage& stage : stages) blocks += stage.repeats;

  Body body(g, variant, options);
  Features features{image};
  Value x = g.conv(image, prefix + "_conv_stem", body.spatial_conv(image, stages.front().in, 3, 2));
  x = body.norm_activation(x, prefix + "_bn0");
  features.push_back(x);
  int index = 0;
  for (size_t s = 0; s < stages.size(); ++s) {
    const EfficientNetStage& stage = stages[s];
    // Taps are the last values before the size halves; the stem's serves for /2.
    if (s == 2 || s == 3 || (s == 5 && variant.blocks_before_tap == 0)) features.push_back(x);
    for (int i = 0; i < stage.repeats; ++i, ++index) {
      if (index > 0 && index == variant.blocks_before_tap) features.push_back(x);
      const float drop =
          options.drop_connect * static_cast<float>(index) / static_cast<float>(blocks);
      x = body.block(x, fmt::format("{}_blocks.{}", prefix, index), stage, i == 0, drop);
    }
  }
  features.push_back(x);
  return features;
}

Value efficientnet_head(Graph& g, Value x, const std::string& prefix,
                        const EfficientNetVariant& variant, const EfficientNetOptions& options) {
  x = g.conv(x, prefix + "_conv_head", plain_conv(head_channels(variant), 1));
  return Body(g, variant, options).norm_activation(x, prefix + "_bn1");
}

void carry_efficientnet_head(Graph& g, Value x, const std::string& prefix,
                             const EfficientNetVariant& variant) {
  const int channels = head_channels(variant);
  const Shape vector{1, 1, 1, channels};
  g.carry_parameter(prefix + "_conv_head.weight", {channels, 1, 1, g.shape(x).c},
                    ParameterRole::conv_weight);
  g.carry_parameter(prefix + "_bn1.weight", vector, ParameterRole::norm_scale);
  g.carry_parameter(prefix + "_bn1.bias", vector, ParameterRole::norm_shift);
  g.carry_parameter(prefix + "_bn1.running_mean", vector, ParameterRole::running_mean);
  g.carry_parameter(prefix + "_bn1.running_var", vector, ParameterRole::running_var);
}

namespace {

constexpr std::array<NetworkOption, 3> kOptions{{
    {"drop_connect", "0.2", "probability of dropping the last residual branch; earlier ones less"},
    {"padding", "fixed",
     "of depthwise convolutions: fixed (segmentation_models.pytorch), same (Keras, timm's tf_ "
     "models) or symmetric (torchvision)"},
    {"norm_eps", "1e-3", "epsilon of the encoder's batch norms; 1e-5 in torchvision's b0 to b4"},
}};

EfficientNetOptions options_of(const NetworkSpec& spec) {
  constexpr std::array<std::string_view, 3> kPaddings{"fixed", "same", "symmetric"};
  EfficientNetOptions options;
  options.drop_connect = float_option(spec, kOptions[0], 0.0f, 0.9f);
  options.padding = static_cast<EfficientNetPadding>(choice_option(spec, kOptions[1], kPaddings));
  options.norm_eps = float_option(spec, kOptions[2], 1e-8f, 1.0f);
  return options;
}

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
  constexpr std::string_view kBlocks = "_blocks.";
  if (!layer.starts_with(kBlocks)) return {std::nullopt, layer};
  const std::string_view rest = layer.substr(kBlocks.size());
  const size_t dot = rest.find('.');
  int index = 0;
  std::from_chars(rest.data(), rest.data() + dot, index);
  return {place_of_block(variant, index), rest.substr(dot + 1)};
}

std::optional<std::string> torchvision_layer(const EfficientNetVariant& variant,
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

std::optional<std::string> timm_layer(const EfficientNetVariant& variant, std::string_view layer) {
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

/// Names of all tools; efficientnet_pytorch's are ours.
std::vector<EncoderNames> names_of(const EfficientNetVariant& variant) {
  const bool wide = variant.name == "b5" || variant.name == "b6" || variant.name == "b7";
  return {own_names("efficientnet_pytorch"),
          {.tool = "torchvision",
           .layer = [&variant](auto layer) { return torchvision_layer(variant, layer); },
           .options = {{"padding", "symmetric"}, {"norm_eps", wide ? "1e-3" : "1e-5"}}},
          {.tool = "timm (tf_efficientnet)",
           .layer = [&variant](auto layer) { return timm_layer(variant, layer); },
           .options = {{"padding", "same"}}}};
}

Encoder encoder(const EfficientNetVariant& variant) {
  return {
      .name = fmt::format("efficientnet_{}", variant.name),
      .summary = variant.lite ? "EfficientNet-Lite encoder, ReLU6, no squeeze-excite"
                              : "EfficientNet encoder, squeeze-excite and SiLU",
      .options = kOptions,
      .features =
          [&variant](Graph& g, Value image, const std::string& prefix, const NetworkSpec& spec) {
            return efficientnet(g, image, prefix, variant, options_of(spec));
          },
      .before_decoder =
          [&variant](Graph& g, Features& features, const std::string& prefix) {
            carry_efficientnet_head(g, features.back(), prefix, variant);
          },
      .names = names_of(variant)};
}

}  // namespace

std::vector<Encoder> efficientnet_encoders() {
  std::vector<Encoder> made;
  made.reserve(std::size(kVariants));
  for (const EfficientNetVariant& variant : kVariants) made.push_back(encoder(variant));
  made[0].classify = [](Graph& g, const Features& features, const NetworkSpec& spec) {
    const Value top =
        efficientnet_head(g, features.back(), "", efficientnet_variant("b0"), options_of(spec));
    return pooled_scores(g, top, "_fc", 0.2f, spec.classes);
  };
  return made;
}

}  // namespace macadam
