// A network in one file: features of five scales, which the decoder adds to its own instead of
// joining them (after LinkNet: Chaurasia and Culurciello, 2017).
//
//   cp examples/linknet.cpp models/realtime/ && cmake --build --preset release
//   build/release/macadam info linknet
//   build/release/macadam train CONFIG.toml network=linknet

#include <array>

#include "base/to_size.h"
#include "models/realtime/realtime.h"

namespace macadam {

std::vector<NetworkEntry> linknet_networks();

namespace {

constexpr std::array<std::string_view, 3> kWidths{"16", "32", "64"};
constexpr std::array<NetworkOption, 1> kOptions{{{"width", "32", "channels at half the size"}}};

Value block(Graph& g, Value x, const std::string& name, int channels, int stride = 1) {
  return g.relu(conv_norm(g, x, name + ".conv", name + ".norm", plain_conv(channels, 3, stride)));
}

Graph build(const NetworkSpec& spec, Shape input) {
  const int width = 16 << choice_option(spec, kOptions[0], kWidths);
  constexpr int kScales = 4;
  Graph g(input);
  Value x = block(g, g.input(), "encoder.stem", width, 2);
  std::vector<Value> skips;
  for (int i = 0; i < kScales; ++i) {
    skips.push_back(x);
    const std::string name = "encoder.layer" + std::to_string(i + 1);
    x = residual_layer(g, x, name, Block::basic, width << (i + 1), 2, 2);
  }
  for (int i = kScales - 1; i >= 0; --i) {
    const std::string name = "decoder.block" + std::to_string(i + 1);
    const Value up = g.upsample(block(g, x, name, width << i), skips[to_size(i)], true);
    x = g.relu(g.add(up, skips[to_size(i)]));
  }
  g.set_output(at_size_of_image(g, g.conv(x, "head", score_conv(spec.classes, 1))));
  return g;
}

}  // namespace

std::vector<NetworkEntry> linknet_networks() {
  return {{.name = "linknet",
           .summary = "residual blocks, a decoder that adds what it skips",
           .options = kOptions,
           .build = build}};
}

}  // namespace macadam
