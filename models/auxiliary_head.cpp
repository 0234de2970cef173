#include "models/auxiliary_head.h"

#include <algorithm>
#include <string>

#include "models/encoders/encoder.h"

namespace macadam {

namespace {

/// The last value of an eighth of the input's size, or of the smallest size above that.
Value deep_features(const Graph& g) {
  const Shape image = g.shape(g.input());
  Value found = g.input();
  for (const Node& node : g.nodes()) {
    const Shape shape = g.shape(node.output), best = g.shape(found);
    if (shape.h < image.h / 8 || shape.w < image.w / 8) continue;
    if (shape.h <= best.h && shape.w <= best.w) found = node.output;
  }
  return found;
}

}  // namespace

float auxiliary_weight(const NetworkSpec& spec) {
  return float_option(spec, kAuxiliaryOption, 0, 10);
}

void add_auxiliary_head(Graph& g, int classes, float weight) {
  const Value features = deep_features(g);
  const Shape scores = g.shape(g.output());
  const std::string prefix(kAuxiliaryPrefix);
  const int channels = std::max(16, g.shape(features).c / 4);
  Value x = g.conv(features, prefix + "conv", plain_conv(channels, 3));
  x = g.dropout(g.relu(g.batch_norm(x, prefix + "norm")), 0.1f);
  x = g.conv(x, prefix + "head", score_conv(classes, 1));
  if (g.shape(x) != scores) x = g.upsample(x, scores.h, scores.w, true);
  g.add_auxiliary_output(x, weight);
}

}  // namespace macadam
