// MobileNetV3 (Howard et al., 2019), large and small, named as segmentation_models.pytorch names
// timm's: "model.blocks.1.0.conv_pw".

#include <fmt/format.h>

#include <array>
#include <charconv>

#include "base/to_size.h"
#include "models/encoders/encoder.h"

namespace macadam {

namespace {

constexpr std::string_view kBeginning = "model.";

/// The activation of a block, and whether squeeze and excitation gates its channels.
enum class Style : uint8_t { relu, relu_gated, hard, hard_gated };

struct Block {
  int kernel, hidden, out;
  Style style;
  int stride = 1;

  bool gated() const { return style == Style::relu_gated || style == Style::hard_gated; }
  Activation activation() const {
    return style < Style::hard ? Activation::relu : Activation::hardswish;
  }
};

struct MobileNetV3Variant {
  std::vector<std::vector<Block>> stages;
  int top;  // channels of the last convolution
};

/// Table 1 of the paper.
const MobileNetV3Variant& large() {
  using enum Style;
  static const MobileNetV3Variant variant{
      {{{3, 16, 16, relu}},
       {{3, 64, 24, relu, 2}, {3, 72, 24, relu}},
       {{5, 72, 40, relu_gated, 2}, {5, 120, 40, relu_gated}, {5, 120, 40, relu_gated}},
       {{3, 240, 80, hard, 2}, {3, 200, 80, hard}, {3, 184, 80, hard}, {3, 184, 80, hard}},
       {{3, 480, 112, hard_gated}, {3, 672, 112, hard_gated}},
       {{5, 672, 160, hard_gated, 2}, {5, 960, 160, hard_gated}, {5, 960, 160, hard_gated}}},
      960};
  return variant;
}

/// Table 2.
const MobileNetV3Variant& small() {
  using enum Style;
  static const MobileNetV3Variant variant{
      {{{3, 16, 16, relu_gated, 2}},
       {{3, 72, 24, relu, 2}, {3, 88, 24, relu}},
       {{5, 96, 40, hard_gated, 2}, {5, 240, 40, hard_gated}, {5, 240, 40, hard_gated}},
       {{5, 120, 48, hard_gated}, {5, 144, 48, hard_gated}},
       {{5, 288, 96, hard_gated, 2}, {5, 576, 96, hard_gated}, {5, 576, 96, hard_gated}}},
      576};
  return variant;
}

constexpr std::array<NetworkOption, 2> kOptions{{
    {"padding", "symmetric",
     "of strided convolutions: symmetric (timm, torchvision) or same (TensorFlow, timm's tf_ "
     "models)"},
    {"norm_eps", "1e-5", "epsilon of the encoder's batch norms; 1e-3 in TensorFlow, torchvision"},
}};

struct MobileNetV3Options {
  bool same_padding = false;
  float norm_eps = 1e-5f;
};

MobileNetV3Options options_of(const NetworkSpec& spec) {
  constexpr std::array<std::string_view, 2> kPaddings{"symmetric", "same"};
  return {.same_padding = choice_option(spec, kOptions[0], kPaddings) == 1,
          .norm_eps = float_option(spec, kOptions[1], 1e-8f, 1.0f)};
}

/// The network under construction.
class Body {
 public:
  Body(Graph& g, const MobileNetV3Options& options) : g_(g), options_(options) {}

  Value conv_norm(Value x, const std::string& conv, const std::string& norm,
                  ConvLayer layer) const {
    if (options_.same_padding && layer.stride > 1) {
      layer.padding = same_padding(g_.shape(x).h, g_.shape(x).w, layer.kernel_h, layer.stride);
    }
    return g_.batch_norm(g_.conv(x, conv, layer), norm, {.eps = options_.norm_eps});
  }

  Value hardswish(Value x) const { return g_.activation(x, Activation::hardswish); }

  /// An inverted residual; where nothing is to be expanded it begins with the depthwise
  /// convolution.
  Value block(Value x, const std::string& name, const Block& block) const {
    const int in = g_.shape(x).c;
    const bool expands = block.hidden != in;
    const std::string norm = name + ".bn";
    int norms = 0;
    const auto next_norm = [&] { return fmt::format("{}{}", norm, ++norms); };
    Value y = x;
    if (expands) {
      y = conv_norm(y, name + ".conv_pw", next_norm(), plain_conv(block.hidden, 1));
      y = g_.activation(y, block.activation());
    }
    ConvLayer depthwise = plain_conv(block.hidden, block.kernel, block.stride);
    depthwise.groups = block.hidden;
    y = conv_norm(y, name + ".conv_dw", next_norm(), depthwise);
    y = g_.activation(y, block.activation());
    if (block.gated()) y = squeeze_excite(y, name + ".se");
    const char* project = expands ? ".conv_pwl" : ".conv_pw";
    y = conv_norm(y, name + project, next_norm(), plain_conv(block.out, 1));
    return block.stride == 1 && in == block.out ? g_.add(y, x) : y;
  }

 private:
  Value squeeze_excite(Value x, const std::string& name) const {
    const int channels = g_.shape(x).c;
    ConvLayer conv = plain_conv(multiple_of_eight(channels / 4.0), 1);
    conv.bias = true;
    Value s = g_.relu(g_.conv(g_.global_average_pool(x), name + ".conv_reduce", conv));
    conv.out_channels = channels;
    s = g_.conv(s, name + ".conv_expand", conv);
    return g_.scale(x, g_.activation(s, Activation::hardsigmoid));
  }

  Graph& g_;
  const MobileNetV3Options options_;
};

/// A tap is the last value before the size halves: 16, 24, 40, 112 and 960 channels, or 16, 16, 24,
/// 48 and 576.
Features mobilenet_v3(Graph& g, Value image, const std::string& prefix,
                      const MobileNetV3Variant& variant, const MobileNetV3Options& options) {
  const std::string model = prefix + std::string(kBeginning);
  const Body body(g, options);
  Features features{image};
  Value x = body.hardswish(
      body.conv_norm(image, model + "conv_stem", model + "bn1", plain_conv(16, 3, 2)));
  for (size_t stage = 0; stage < variant.stages.size(); ++stage) {
    const std::vector<Block>& blocks = variant.stages[stage];
    if (blocks.front().stride == 2) features.push_back(x);
    for (size_t i = 0; i < blocks.size(); ++i) {
      x = body.block(x, fmt::format("{}blocks.{}.{}", model, stage, i), blocks[i]);
    }
  }
  const std::string top = fmt::format("{}blocks.{}.0", model, variant.stages.size());
  x = body.conv_norm(x, top + ".conv", top + ".bn1", plain_conv(variant.top, 1));
  features.push_back(body.hardswish(x));
  return features;
}

/// "model.blocks.3.1.conv_pw" is "features.8.block.0.0": a block's units are numbered.
std::string torchvision_layer(const MobileNetV3Variant& variant, std::string_view layer) {
  constexpr std::string_view kBlocks = "blocks.";
  layer.remove_prefix(kBeginning.size());
  if (!layer.starts_with(kBlocks)) return layer == "bn1" ? "features.0.1" : "features.0.0";
  layer.remove_prefix(kBlocks.size());
  size_t stage = 0, index = 0;
  const char* end = layer.data() + layer.size();
  const char* dot = std::from_chars(layer.data(), end, stage).ptr;
  dot = std::from_chars(dot + 1, end, index).ptr;
  const std::string_view inner(dot + 1, to_size(end - dot - 1));

  size_t number = 1 + index;
  for (size_t s = 0; s < stage; ++s) number += variant.stages[s].size();
  if (stage == variant.stages.size()) {
    return fmt::format("features.{}.{}", number, inner == "bn1" ? 1 : 0);
  }
  const bool expands = stage > 0;
  const int depthwise = expands ? 1 : 0;
  const int last = depthwise + (variant.stages[stage][index].gated() ? 2 : 1);
  const auto unit = [number](int place, std::string_view part) {
    return fmt::format("features.{}.block.{}.{}", number, place, part);
  };
  if (inner.starts_with("se."))
    return unit(depthwise + 1, inner == "se.conv_reduce" ? "fc1" : "fc2");
  if (inner.starts_with("bn"))
    return unit(inner == "bn1" ? 0 : inner == "bn2" && expands ? 1 : last, "1");
  if (inner == "conv_dw") return unit(depthwise, "0");
  return unit(inner == "conv_pw" && expands ? 0 : last, "0");
}

Encoder encoder(std::string name, std::string_view summary, const MobileNetV3Variant& variant) {
  return {
      .name = std::move(name),
      .summary = summary,
      .options = kOptions,
      .features =
          [&variant](Graph& g, Value image, const std::string& prefix, const NetworkSpec& spec) {
            return mobilenet_v3(g, image, prefix, variant, options_of(spec));
          },
      .names = {own_names("timm", kBeginning),
                {.tool = "torchvision",
                 .layer = [&variant](auto layer) { return torchvision_layer(variant, layer); },
                 .options = {{"norm_eps", "1e-3"}}}}};
}

}  // namespace

std::vector<Encoder> mobilenet_v3_encoders() {
  return {encoder("mobilenet_v3_large", "MobileNetV3 encoder, large, hardswish", large()),
          encoder("mobilenet_v3_small", "MobileNetV3 encoder, small, hardswish", small())};
}

}  // namespace macadam
