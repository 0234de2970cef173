// SwiftNet of a single scale upon ResNet-18 (Orsic et al., "In Defense of Pre-trained ImageNet
// Architectures for Real-time Semantic Segmentation of Road-driving Images", CVPR 2019), named as
// the authors' PyTorch code. In the paper skips are taken before a ReLU, which that code's in-place
// ReLU overwrites: they are torchvision's features.

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "models/realtime/realtime.h"

namespace macadam {

namespace {

constexpr std::string_view kBackbone = "backbone.";
// Of torchvision's ResNet, upon which the authors' own layers stand.
constexpr std::array<std::string_view, 3> kResnet{"backbone.conv1", "backbone.bn1",
                                                  "backbone.layer"};
constexpr Normalization kCityscapes{{73.15f, 82.90f, 72.3f}, {47.67f, 48.49f, 47.73f}, 255};

Graph build(const Encoder& resnet, const NetworkSpec& spec, Shape input) {
  constexpr int kWidth = 128;
  Graph g(input);
  const auto unit = [&](const std::string& name, Value x, const ConvLayer& conv,
                        const BatchNormDesc& norm = {}) {
    return norm_relu_conv(g, x, {name + ".norm", name + ".conv"}, conv, norm);
  };
  const Features features = resnet.features(g, g.input(), std::string(kBackbone), spec);

  // Means over grids of 8, 4 and 2 rows.
  const std::string spp = "backbone.spp.spp.spp";
  const BatchNormDesc slow{.momentum = 0.005f};
  Value x = unit(spp + "_bn", features[5], plain_conv(kWidth, 1), slow);
  std::vector<Value> levels{x};
  for (int i = 0; i < 3; ++i) {
    const Value means = g.grid_average_pool(x, 8 >> i);
    levels.push_back(
        g.upsample(unit(spp + std::to_string(i), means, plain_conv(42, 1), slow), x, true));
  }
  x = unit(spp + "_fuse", g.concat(levels), plain_conv(kWidth, 1), slow);

  for (size_t i = 0; i < 3; ++i) {
    const std::string name = fmt::format("backbone.upsample.{}", i);
    const Value skip = features[4 - i];
    x = g.add(g.upsample(x, skip, true), unit(name + ".bottleneck", skip, plain_conv(kWidth, 1)));
    x = unit(name + ".blend_conv", x, plain_conv(kWidth, 3));
  }
  g.set_output(at_size_of_image(g, unit("logits", x, score_conv(spec.classes, 1))));
  return g;
}

std::optional<std::string> torchvision_name(std::string_view layer) {
  const auto begins = [&](std::string_view part) { return layer.starts_with(part); };
  if (std::ranges::none_of(kResnet, begins)) return std::nullopt;
  return std::string(layer.substr(kBackbone.size()));
}

}  // namespace

std::vector<NetworkEntry> swiftnet_rn18_networks() {
  const auto build_upon = [resnet = find_encoder("resnet18")](const NetworkSpec& spec,
                                                              Shape input) {
    return build(resnet, spec, input);
  };
  return {{.name = "swiftnet_rn18",
           .summary = "SwiftNet of one scale upon ResNet18",
           .minimum_size = 64,
           .build = build_upon,
           .family = NetworkFamily::authors,
           .published = "75.4 (Orsic et al.)",
           .normalization = kCityscapes,
           .layer_names = {{.tool = "torchvision", .layer = torchvision_name}},
           .parts = {.encoder = {kResnet.begin(), kResnet.end()}, .head = {"logits."}}}};
}

}  // namespace macadam
