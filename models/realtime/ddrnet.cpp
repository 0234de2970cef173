// DDRNet (Hong et al., "Deep Dual-resolution Networks for Real-time and Accurate Semantic
// Segmentation of Road Scenes", arXiv 2101.06085), named as the authors' PyTorch code. That rounds
// an eighth of the size down and takes multiples of 8 alone; rounded up, as the convolutions do it,
// the network is the same there and takes every size.

#include <fmt/format.h>

#include <array>

#include "models/auxiliary_head.h"
#include "models/openmmlab_names.h"
#include "models/realtime/realtime.h"

namespace macadam {

namespace {

/// A part of both branches, after which each takes in the other.
struct Part {
  std::string name;  // "3": layer3, layer3_, compression3, down3
  int wide;          // channels of the low resolution, in units of the width
  int blocks;        // of either branch
};

struct Variant {
  int width;
  int head;                    // channels
  std::array<int, 2> shallow;  // blocks of layer1 and layer2
  std::vector<Part> parts;     // the last of them at /32, the others at /16
};

/// Both branches' sums with the other, before a ReLU.
void exchange(Graph& g, Value& low, Value& high, const Part& part, int width) {
  const std::string compression = "compression" + part.name, down = "down" + part.name;
  Value up = conv_norm(g, g.relu(low), compression + ".0", compression + ".1",
                       plain_conv(g.shape(high).c, 1));
  Value halved = conv_norm(g, g.relu(high), down + ".0", down + ".1", plain_conv(4 * width, 3, 2));
  if (part.wide == 8) {
    halved = conv_norm(g, g.relu(halved), down + ".3", down + ".4", plain_conv(8 * width, 3, 2));
  }
  low = g.add(low, halved);
  high = g.add(high, g.upsample(up, high, true));
}

Graph build(const Variant& v, const NetworkSpec& spec, Shape input) {
  const int width = v.width;
  Graph g(input);
  Value x = quarter_stem(g, g.input(), "conv1", width);
  x = g.relu(residual_layer(g, x, "layer1", Block::basic, width, v.shallow[0]));
  x = g.relu(residual_layer(g, x, "layer2", Block::basic, 2 * width, v.shallow[1], 2));

  Value low = x, high = x, tapped = x;
  for (const Part& part : v.parts) {
    const int channels = part.wide * width, stride = g.shape(low).c == channels ? 1 : 2;
    low = residual_layer(g, low, "layer" + part.name, Block::basic, channels, part.blocks, stride);
    high = residual_layer(g, high, fmt::format("layer{}_", part.name), Block::basic, 2 * width,
                          part.blocks);
    exchange(g, low, high, part, width);
    if (part.wide == 4) tapped = high;
    low = g.relu(low);
    high = g.relu(high);
  }
  high = residual_layer(g, high, "layer5_", Block::bottleneck, 2 * width, 1);
  low = residual_layer(g, low, "layer5", Block::bottleneck, 8 * width, 1, 2);
  low = deep_pyramid(g, low, 128, 4 * width, numbered_pyramid("spp", "process", true));
  x = g.add(g.upsample(low, high, true), high);
  x = segmentation_head(g, x, "final_layer", v.head, spec.classes);
  g.set_output(at_size_of_image(g, x));
  if (const float weight = auxiliary_weight(spec); weight > 0) {
    x = segmentation_head(g, tapped, "seghead_extra", v.head, spec.classes);
    g.add_auxiliary_output(at_size_of_image(g, x), weight);
  }
  return g;
}

/// mmsegmentation has the two of them whose /16 is one part.
std::vector<EncoderNames> other_names() {
  return openmmlab_names(with_dual_resolution({
      .blocks = {{"layer3.", "backbone.context_branch_layers.0."},
                 {"layer4.", "backbone.context_branch_layers.1."},
                 {"layer5.", "backbone.context_branch_layers.2."},
                 {"layer3_.", "backbone.spatial_branch_layers.0."},
                 {"layer4_.", "backbone.spatial_branch_layers.1."},
                 {"layer5_.", "backbone.spatial_branch_layers.2."}},
      .downsample_is_a_unit = false,
      .units = {{"down3", 0, false, "backbone.down_1"},
                {"down4", 0, false, "backbone.down_2.0"},
                {"down4", 3, false, "backbone.down_2.1"},
                {"spp.process1", 0, true, "backbone.spp.processes.0"},
                {"spp.process2", 0, true, "backbone.spp.processes.1"},
                {"spp.process3", 0, true, "backbone.spp.processes.2"},
                {"spp.process4", 0, true, "backbone.spp.processes.3"}},
      .rest = {{"final_layer.bn1", "decode_head.head.0.bn"},
               {"final_layer.conv1", "decode_head.head.0.conv"},
               {"final_layer.bn2", "decode_head.head.1"},
               {"final_layer.conv2", "decode_head.conv_seg"},
               {"seghead_extra.bn1", "decode_head.aux_head.0.bn"},
               {"seghead_extra.conv1", "decode_head.aux_head.0.conv"},
               {"seghead_extra.bn2", "decode_head.aux_head.1"},
               {"seghead_extra.conv2", "decode_head.aux_cls_seg"}},
  }));
}

NetworkEntry network(std::string name, std::string_view summary, std::string_view published,
                     const Variant& variant) {
  return {.name = std::move(name),
          .summary = summary,
          .minimum_size = 64,  // its smallest map has a pixel
          .build = [variant](const NetworkSpec& spec,
                             Shape input) { return build(variant, spec, input); },
          .family = NetworkFamily::authors,
          .published = published,
          .layer_names = other_names(),
          // What is trained as a classifier on ImageNet.
          .parts = {.encoder = {"conv1.", "layer", "compression", "down"},
                    .head = {"final_layer."},
                    .auxiliary = {"seghead_extra."}}};
}

}  // namespace

std::vector<NetworkEntry> ddrnet_networks() {
  const std::vector<Part> two{{"3", 4, 2}, {"4", 8, 2}};
  return {
      network("ddrnet23_slim", "DDRNet-23-slim, two resolutions", "77.8 (Hong et al.)",
              {32, 64, {2, 2}, two}),
      network("ddrnet23", "DDRNet-23, twice as wide", "79.5 (Hong et al.)", {64, 128, {2, 2}, two}),
      network("ddrnet39", "DDRNet-39, deeper", "81.3 (super-gradients)",
              {64, 256, {3, 4}, {{"3_1", 4, 3}, {"3_2", 4, 3}, {"4", 8, 3}}})};
}

}  // namespace macadam
