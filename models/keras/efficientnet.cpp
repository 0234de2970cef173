// qubvel/efficientnet: EfficientNet (Tan and Le, 2019) with TensorFlow's padding, tapped at its six
// times wider expansions.

#include "models/encoders/efficientnet.h"

#include <fmt/format.h>

#include <array>

#include "models/keras/backbone.h"

namespace macadam {

namespace {

constexpr std::array<NetworkOption, 1> kDropConnect{{
    {"drop_connect", "0.2", "probability of dropping the last residual branch; earlier ones less"},
}};

Value norm_silu(Graph& g, Value x, const std::string& name) {
  return g.activation(g.batch_norm(x, name, kKerasNorm), Activation::silu);
}

/// MBConv with Keras' names. `expanded` becomes the value after the expansion, where there is one.
Value mbconv(Graph& g, Value x, const std::string& name, const EfficientNetStage& stage, bool first,
             float drop, Value& expanded) {
  const int in = g.shape(x).c;
  const int stride = first ? stage.stride : 1;
  Value y = x;
  if (stage.expansion != 1) {
    y = g.conv(y, name + "expand_conv", plain_conv(in * stage.expansion, 1));
    expanded = y = norm_silu(g, y, name + "expand_bn");
  }
  y = g.conv(y, name + "dwconv", same_depthwise_conv(g.shape(y), stage.kernel, stride));
  y = norm_silu(g, y, name + "bn");

  ConvLayer squeeze = plain_conv(std::max(1, in / 4), 1);
  squeeze.bias = true;
  Value s = g.conv(g.global_average_pool(y), name + "se_reduce", squeeze);
  squeeze.out_channels = g.shape(y).c;
  s = g.conv(g.activation(s, Activation::silu), name + "se_expand", squeeze);
  y = g.scale(y, g.activation(s, Activation::sigmoid));

  y = g.conv(y, name + "project_conv", plain_conv(stage.out, 1));
  y = g.batch_norm(y, name + "project_bn", kKerasNorm);
  if (stride != 1 || in != stage.out) return y;
  if (drop > 0) y = g.drop_path(y, drop);
  return g.add(y, x);
}

Features efficientnet(Graph& g, const EfficientNetVariant& variant, const NetworkSpec& spec) {
  const float drop_connect = float_option(spec, kDropConnect[0], 0.0f, 0.9f);
  const std::vector<EfficientNetStage> stages = efficientnet_stages(variant);
  int blocks = 0;
  for (const EfficientNetStage& stage : stages) blocks += stage.repeats;

  const std::string prefix(kBackbone);
  Features features{g.input()};
  const ConvLayer stem = same_conv(g.shape(g.input()), stages.front().in, 3, 2);
  Value x = norm_silu(g, g.conv(g.input(), prefix + "stem_conv", stem), prefix + "stem_bn");
  int index = 0;
  for (size_t s = 0; s < stages.size(); ++s) {
    for (int i = 0; i < stages[s].repeats; ++i, ++index) {
      const std::string name =
          fmt::format("{}block{}{}_", prefix, s + 1, static_cast<char>('a' + i));
      const float drop = drop_connect * static_cast<float>(index) / static_cast<float>(blocks);
      Value expanded;
      x = mbconv(g, x, name, stages[s], i == 0, drop, expanded);
      if (i == 0 && stages[s].stride == 2) features.push_back(expanded);
    }
  }
  x = g.conv(x, prefix + "top_conv", plain_conv(round_channels(variant, 1280), 1));
  features.push_back(norm_silu(g, x, prefix + "top_bn"));
  return features;
}

}  // namespace

std::vector<Backbone> efficientnet_backbones() {
  std::vector<Backbone> made;
  for (const std::string variant : {"b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"}) {
    made.push_back({.name = "efficientnet_" + variant,
                    .summary = "segmentation_models (Keras), EfficientNet tapped at its expansions",
                    .normalization = kImageNet,
                    .options = kDropConnect,
                    .features = [variant](Graph& g, const NetworkSpec& spec) {
                      return efficientnet(g, efficientnet_variant(variant), spec);
                    }});
  }
  return made;
}

}  // namespace macadam
