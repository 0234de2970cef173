#include "models/keras/segmentation_models.h"

#include <fmt/format.h>

#include <array>

#include "base/to_size.h"
#include "models/encoders/efficientnet.h"
#include "models/unet_decoder.h"

namespace macadam {

namespace {

constexpr BatchNormDesc kNorm{.eps = 1e-3f, .momentum = 0.01f};        // Keras' defaults
constexpr BatchNormDesc kResNetNorm{.eps = 2e-5f, .momentum = 0.01f};  // classification_models

constexpr std::array<NetworkOption, 1> kDropConnect{{
    {"drop_connect", "0.2", "probability of dropping the last residual branch; earlier ones less"},
}};

Value norm_relu(Graph& g, Value x, const std::string& name) {
  return g.relu(g.batch_norm(x, name, kResNetNorm));
}

ConvLayer same_conv(Shape input, int channels, int kernel, int stride) {
  ConvLayer conv = plain_conv(channels, kernel, stride);
  conv.padding = same_padding(input.h, input.w, kernel, stride);
  return conv;
}

/// MBConv with Keras' names. `expanded` becomes the value after the expansion, where there is one.
Value mbconv(Graph& g, Value x, const std::string& name, const EfficientNetStage& stage, bool first,
             float drop, Value& expanded) {
  const int in = g.shape(x).c;
  const int stride = first ? stage.stride : 1;
  Value y = x;
  if (stage.expansion != 1) {
    y = g.conv(y, name + "expand_conv", plain_conv(in * stage.expansion, 1));
    y = g.activation(g.batch_norm(y, name + "expand_bn", kNorm), Activation::silu);
    expanded = y;
  }
  ConvLayer depthwise = same_conv(g.shape(y), g.shape(y).c, stage.kernel, stride);
  depthwise.groups = depthwise.out_channels;
  y = g.conv(y, name + "dwconv", depthwise);
  y = g.activation(g.batch_norm(y, name + "bn", kNorm), Activation::silu);

  ConvLayer squeeze = plain_conv(std::max(1, in / 4), 1);
  squeeze.bias = true;
  Value s = g.conv(g.global_average_pool(y), name + "se_reduce", squeeze);
  squeeze.out_channels = g.shape(y).c;
  s = g.conv(g.activation(s, Activation::silu), name + "se_expand", squeeze);
  y = g.scale(y, g.activation(s, Activation::sigmoid));

  y = g.conv(y, name + "project_conv", plain_conv(stage.out, 1));
  y = g.batch_norm(y, name + "project_bn", kNorm);
  if (stride != 1 || in != stage.out) return y;
  if (drop > 0) y = g.drop_path(y, drop);
  return g.add(y, x);
}

}  // namespace

Graph keras_resnet34_unet(const NetworkSpec& spec, Shape input) {
  constexpr std::array<int, 4> kBlocks{3, 4, 6, 3};
  const std::string prefix = "encoder.";
  Graph g(input);
  Features features(6);
  features[0] = g.input();
  Value x = g.batch_norm(g.input(), prefix + "bn_data", kResNetNorm, false);
  x = norm_relu(g, g.conv(x, prefix + "conv0", plain_conv(64, 7, 2)), prefix + "bn0");
  features[1] = x;
  x = g.max_pool(x, {3, 3, 2, 2, Padding::all(1)});
  for (int stage = 0; stage < 4; ++stage) {
    const int channels = 64 << stage;
    for (int block = 0; block < kBlocks[to_size(stage)]; ++block) {
      const std::string name = fmt::format("{}stage{}_unit{}_", prefix, stage + 1, block + 1);
      const int stride = stage > 0 && block == 0 ? 2 : 1;
      const Value y = norm_relu(g, x, name + "bn1");
      if (stage > 0 && block == 0) features[to_size(stage) + 1] = y;
      // The first unit's shortcut is taken after the activation, without a batch norm.
      const Value shortcut =
          block == 0 ? g.conv(y, name + "sc", plain_conv(channels, 1, stride)) : x;
      Value z = g.conv(y, name + "conv1", plain_conv(channels, 3, stride));
      z = g.conv(norm_relu(g, z, name + "bn2"), name + "conv2", plain_conv(channels, 3));
      x = g.add(z, shortcut);
    }
  }
  features[5] = norm_relu(g, x, prefix + "bn1");
  g.set_output(unet_decoder(g, features, keras_decoder(), spec.classes));
  return g;
}

Graph keras_efficientnet_unet(const NetworkSpec& spec, Shape input) {
  const std::string_view digits =
      std::string_view(spec.name).substr(std::string_view("keras_efficientnet_").size(), 2);
  const EfficientNetVariant& variant = efficientnet_variant(digits);
  const float drop_connect = float_option(spec, kDropConnect[0], 0.0f, 0.9f);
  const std::vector<EfficientNetStage> stages = efficientnet_stages(variant);
  int blocks = 0;
  for (const EfficientNetStage& stage : stages) blocks += stage.repeats;

  const std::string prefix = "encoder.";
  Graph g(input);
  Features features(6);
  features[0] = g.input();
  Value x = g.conv(g.input(), prefix + "stem_conv", same_conv(input, stages.front().in, 3, 2));
  x = g.activation(g.batch_norm(x, prefix + "stem_bn", kNorm), Activation::silu);
  size_t tap = 1;
  int index = 0;
  for (size_t s = 0; s < stages.size(); ++s) {
    for (int i = 0; i < stages[s].repeats; ++i, ++index) {
      const std::string name =
          fmt::format("{}block{}{}_", prefix, s + 1, static_cast<char>('a' + i));
      const float drop = drop_connect * static_cast<float>(index) / static_cast<float>(blocks);
      Value expanded;
      x = mbconv(g, x, name, stages[s], i == 0, drop, expanded);
      if (i == 0 && stages[s].stride == 2) features[tap++] = expanded;
    }
  }
  ConvLayer top = plain_conv(round_channels(variant, 1280), 1);
  x = g.batch_norm(g.conv(x, prefix + "top_conv", top), prefix + "top_bn", kNorm);
  features[5] = g.activation(x, Activation::silu);
  g.set_output(unet_decoder(g, features, keras_decoder(), spec.classes));
  return g;
}

std::span<const NetworkOption> keras_efficientnet_options() { return kDropConnect; }

}  // namespace macadam
