// GCNet (Yang et al., "Golden Cudgel Network for Real-Time Semantic Segmentation", CVPR 2025),
// named as the authors' code upon OpenMMLab's. A block's branches add up to one convolution
// (fold_branches in engine/graph/rewrite.h). The code's in-place ReLU comes before the branches of
// either resolution take in each other.

#include <fmt/format.h>

#include "models/auxiliary_head.h"
#include "models/realtime/realtime.h"

namespace macadam {

namespace {

struct Variant {
  int width, head;
  int more;  // blocks of each stage but those of the low resolution at /16 and /32
};

Value unit(Graph& g, Value x, const std::string& name, const ConvLayer& layer) {
  return conv_norm(g, x, name + ".conv", name + ".bn", layer);
}

NormConv unit_names(const std::string& name) { return {name + ".bn", name + ".conv"}; }

/// Branches that add up: twice a 3x3 convolution and a 1x1 behind it, two of 1x1, and where the
/// shape stays the value itself, each behind its batch norm.
Value block(Graph& g, Value x, const std::string& name, int channels, int stride) {
  const auto path = [&](const std::string& branch, int kernel) {
    const Value y = unit(g, x, branch + ".conv1", plain_conv(channels, kernel, stride));
    return unit(g, y, branch + ".conv2", plain_conv(channels, 1));
  };
  Value sum = path(name + ".path_3x3_1", 3);
  sum = g.add(sum, path(name + ".path_3x3_2", 3));
  sum = g.add(sum, path(name + ".path_1x1", 1));
  if (stride != 1 || g.shape(x).c != channels) return sum;
  return g.add(sum, g.batch_norm(x, name + ".path_residual"));
}

struct Stage {
  int channels, blocks, stride;
  int first = 0;     // the first block's number
  bool relu = true;  // behind the last block
};
Value stage(Graph& g, Value x, const std::string& name, const Stage& s) {
  for (int i = 0; i < s.blocks; ++i) {
    x = block(g, x, fmt::format("backbone.{}.{}", name, s.first + i), s.channels,
              i == 0 ? s.stride : 1);
    if (s.relu || i < s.blocks - 1) x = g.relu(x);
  }
  return x;
}

Value head(Graph& g, Value x, const std::string& name, const std::string& scores, int channels,
           int classes) {
  x = g.relu(g.batch_norm(x, name + ".0"));
  x = g.relu(unit(g, x, name + ".2", plain_conv(channels, 3)));
  return at_size_of_image(g, g.conv(x, scores, score_conv(classes, 1)));
}

Graph build(const Variant& v, const NetworkSpec& spec, Shape input) {
  const int width = v.width, blocks = 4 + v.more;
  Graph g(input);
  Value x = g.relu(unit(g, g.input(), "backbone.stem.0", plain_conv(width, 3, 2)));
  x = g.relu(unit(g, x, "backbone.stem.1", plain_conv(width, 3, 2)));
  x = stage(g, x, "stem", {width, blocks, 1, 2});
  x = stage(g, x, "stem", {2 * width, blocks, 2, 2 + blocks});

  Value low = x, high = x, tapped = x;
  for (int i = 0; i < 2; ++i) {
    const int wide = (4 << i) * width;
    low = stage(g, low, fmt::format("semantic_branch_layers.{}", i), {wide, 5, 2});
    high = stage(g, high, fmt::format("detail_branch_layers.{}", i), {2 * width, blocks, 1});
    const Value up =
        unit(g, low, fmt::format("backbone.compression_{}", i + 1), plain_conv(2 * width, 1));
    const std::string down = fmt::format("backbone.down_{}", i + 1);
    Value halved = unit(g, high, i == 0 ? down : down + ".0", plain_conv(4 * width, 3, 2));
    if (i == 1) halved = unit(g, g.relu(halved), down + ".1", plain_conv(wide, 3, 2));
    low = g.relu(g.add(low, halved));
    high = g.add(high, g.upsample(up, high, true));
    if (i == 0) tapped = high;
    high = g.relu(high);
  }
  const int last = 2 + v.more;
  high = stage(g, high, "detail_branch_layers.2", {4 * width, last, 1, 0, false});
  low = stage(g, low, "semantic_branch_layers.2", {16 * width, last, 2, 0, false});
  const std::string spp = "backbone.spp.";
  low = deep_pyramid(
      g, low, 128, 4 * width,
      {.scale =
           [&](int i) {
             return unit_names(fmt::format("{}scales.{}{}", spp, i, i == 0 ? "" : ".1"));
           },
       .process = [&](int i) { return unit_names(fmt::format("{}processes.{}", spp, i - 1)); },
       .compression = unit_names(spp + "compression"),
       .shortcut = unit_names(spp + "shortcut")});
  x = g.add(high, g.upsample(low, high, true));
  g.set_output(head(g, x, "decode_head.head", "decode_head.conv_seg", v.head, spec.classes));
  if (const float weight = auxiliary_weight(spec); weight > 0) {
    g.add_auxiliary_output(head(g, tapped, "decode_head.aux_head_c4", "decode_head.aux_cls_seg_c4",
                                v.head, spec.classes),
                           weight);
  }
  return g;
}

NetworkEntry network(std::string name, std::string_view summary, std::string_view published,
                     const Variant& variant) {
  return {.name = std::move(name),
          .summary = summary,
          .minimum_size = 64,
          .build = [variant](const NetworkSpec& spec,
                             Shape input) { return build(variant, spec, input); },
          .family = NetworkFamily::authors,
          .published = published,
          .parts = {.encoder = {"backbone.stem.", "backbone.semantic_branch_layers.",
                                "backbone.detail_branch_layers.", "backbone.compression_",
                                "backbone.down_"},
                    .head = {"decode_head.head.", "decode_head.conv_seg."},
                    .auxiliary = {"decode_head.aux_"}}};
}

}  // namespace

std::vector<NetworkEntry> gcnet_networks() {
  return {network("gcnet_s", "GCNet-S, two resolutions, blocks that fold into one convolution",
                  "76.9 (Yang et al.)", {32, 64, 0}),
          network("gcnet_m", "GCNet-M, twice as wide", "78.9 (Yang et al.)", {64, 128, 0}),
          network("gcnet_l", "GCNet-L, deeper", "79.6 (Yang et al.)", {64, 256, 1})};
}

}  // namespace macadam
