// Fast-SCNN (Poudel et al., "Fast-SCNN: Fast Semantic Segmentation Network", arXiv 1902.04502),
// named as Tramac's Fast-SCNN-pytorch and computed as there: the first convolution has no padding,
// and up-sampling keeps the corners in place.

#include <fmt/format.h>

#include <array>

#include "models/auxiliary_head.h"
#include "models/realtime/realtime.h"

namespace macadam {

namespace {

constexpr std::array<NetworkOption, 1> kOptions{{
    {"dropout", "0.1", "probability of dropping a feature of which the class scores are made"},
}};

/// NAME.N and NAME.N + 1, without a ReLU.
Value numbered(Graph& g, Value x, const std::string& name, int number, const ConvLayer& layer) {
  return conv_norm(g, x, fmt::format("{}.{}", name, number), fmt::format("{}.{}", name, number + 1),
                   layer);
}

Value conv_norm_relu(Graph& g, Value x, const std::string& name, const ConvLayer& layer) {
  return g.relu(numbered(g, x, name + ".conv", 0, layer));
}

ConvLayer depthwise(int channels, int stride) {
  ConvLayer conv = plain_conv(channels, 3, stride);
  conv.groups = channels;
  return conv;
}

/// A depthwise and a pointwise convolution.
Value separable(Graph& g, Value x, const std::string& name, int channels, int stride) {
  x = conv_norm_relu(g, x, name, depthwise(g.shape(x).c, stride));
  return g.relu(numbered(g, x, name + ".conv", 3, plain_conv(channels, 1)));
}

/// MobileNetV2's inverted residual (Sandler et al., 2018).
Value linear_bottleneck(Graph& g, Value x, const std::string& name, int channels, int stride) {
  const int wide = 6 * g.shape(x).c;
  Value y = conv_norm_relu(g, x, name + ".block.0", plain_conv(wide, 1));
  y = conv_norm_relu(g, y, name + ".block.1", depthwise(wide, stride));
  y = numbered(g, y, name + ".block", 2, plain_conv(channels, 1));
  return stride == 1 && g.shape(x).c == channels ? g.add(x, y) : y;
}

/// Means over grids of 1, 2, 3 and 6 rows and columns beside the map.
Value grid_pyramid(Graph& g, Value x, const std::string& name) {
  const int channels = g.shape(x).c;
  constexpr std::array<int, 4> kGrids{1, 2, 3, 6};
  std::vector<Value> maps{x};
  for (size_t i = 0; i < kGrids.size(); ++i) {
    Value y = g.grid_average_pool(x, kGrids[i], kGrids[i]);
    y = conv_norm_relu(g, y, fmt::format("{}.conv{}", name, i + 1), plain_conv(channels / 4, 1));
    maps.push_back(g.upsample_corners(y, x));
  }
  return conv_norm_relu(g, g.concat(maps), name + ".out", plain_conv(channels, 1));
}

Graph build(const NetworkSpec& spec, Shape input) {
  constexpr int kWidth = 128;
  const float dropout = float_option(spec, kOptions[0], 0.0f, 0.9f);
  Graph g(input);
  const auto dropped = [&](Value x) { return dropout > 0 ? g.dropout(x, dropout) : x; };
  const std::string down = "learning_to_downsample.", extractor = "global_feature_extractor.";
  ConvLayer first = plain_conv(32, 3, 2);
  first.padding = {};
  Value x = conv_norm_relu(g, g.input(), down + "conv", first);
  x = separable(g, x, down + "dsconv1", 48, 2);
  const Value high = x = separable(g, x, down + "dsconv2", 64, 2);

  struct Stage {
    int channels, stride;
  };
  constexpr std::array<Stage, 3> kStages{{{64, 2}, {96, 2}, {kWidth, 1}}};
  for (size_t i = 0; i < kStages.size(); ++i) {
    for (int block = 0; block < 3; ++block) {
      x = linear_bottleneck(g, x, fmt::format("{}bottleneck{}.{}", extractor, i + 1, block),
                            kStages[i].channels, block == 0 ? kStages[i].stride : 1);
    }
  }
  x = grid_pyramid(g, x, extractor + "ppm");

  ConvLayer biased = plain_conv(kWidth, 1);
  biased.bias = true;
  x = conv_norm_relu(g, g.upsample_corners(x, high), "feature_fusion.dwconv", depthwise(kWidth, 1));
  x = numbered(g, x, "feature_fusion.conv_lower_res", 0, biased);
  x = g.relu(g.add(x, numbered(g, high, "feature_fusion.conv_higher_res", 0, biased)));
  x = separable(g, x, "classifier.dsconv1", kWidth, 1);
  x = separable(g, x, "classifier.dsconv2", kWidth, 1);
  x = g.conv(dropped(x), "classifier.conv.1", score_conv(spec.classes, 1));
  g.set_output(g.upsample_corners(x, g.input()));
  if (const float weight = auxiliary_weight(spec); weight > 0) {
    x = g.relu(numbered(g, high, "auxlayer", 0, plain_conv(32, 3)));
    x = g.conv(dropped(x), "auxlayer.4", score_conv(spec.classes, 1));
    g.add_auxiliary_output(g.upsample_corners(x, g.input()), weight);
  }
  return g;
}

}  // namespace

std::vector<NetworkEntry> fast_scnn_networks() {
  return {{.name = "fast_scnn",
           .summary = "Fast-SCNN, two branches after a shared beginning",
           .minimum_size = 64,
           .options = kOptions,
           .build = build,
           .family = NetworkFamily::authors,
           .published = "69.4 (zh320)",
           .parts = {.encoder = {"learning_to_downsample.", "global_feature_extractor."},
                     .head = {"classifier.conv."},
                     .auxiliary = {"auxlayer."}}}};
}

}  // namespace macadam
