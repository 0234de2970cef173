// segmentation_models' own InceptionV3 (Szegedy et al., 2016) and InceptionResNetV2 (Szegedy et
// al., 2017): padding "same" everywhere, batch norms without a factor. The library names few of
// their layers; the n-th convolution of branch b of block NAME is called NAME_branchB_N here.

#include <fmt/format.h>

#include <vector>

#include "models/keras/backbone.h"

namespace macadam {

namespace {

struct BranchConv {
  int channels, rows = 1, columns = 1, stride = 1;
};
enum class BranchPool : uint8_t { none, average, max };

/// A pooling, if any, convolutions one behind the other, and a 1x3 and a 3x1 convolution side by
/// side behind these, if any.
struct Branch {
  std::vector<BranchConv> convs;
  int fork_channels = 0;
  BranchPool pool = BranchPool::none;
};
using Branches = std::vector<Branch>;

class Body {
 public:
  explicit Body(Graph& g) : g_(g) {}

  Value conv(Value x, const std::string& name, const BranchConv& layer) const {
    ConvLayer conv = plain_conv(layer.channels, 1, layer.stride);
    conv.kernel_h = layer.rows;
    conv.kernel_w = layer.columns;
    conv.padding = same_padding(g_.shape(x), layer.rows, layer.columns, layer.stride);
    x = g_.conv(x, prefix_ + name, conv);
    return g_.relu(g_.batch_norm(x, prefix_ + name + "_bn", kKerasNorm, false));
  }

  /// The layers that both networks begin with; their features at /2 (64 channels) and /4 (192) are
  /// taps.
  Value stem(Features& features) const {
    Value x = conv(g_.input(), "stem1", {32, 3, 3, 2});
    x = conv(x, "stem2", {32, 3, 3});
    x = conv(x, "stem3", {64, 3, 3});
    features.push_back(x);
    x = conv(halve(x), "stem4", {80});
    x = conv(x, "stem5", {192, 3, 3});
    features.push_back(x);
    return halve(x);
  }

  /// All branches of x, joined.
  Value mixed(Value x, const std::string& name, const Branches& branches) const {
    std::vector<Value> ends;
    for (size_t b = 0; b < branches.size(); ++b) {
      const Branch& branch = branches[b];
      const std::string beginning = fmt::format("{}_branch{}_", name, b);
      Value y = x;
      if (branch.pool == BranchPool::max) y = halve(y);
      if (branch.pool == BranchPool::average) {
        y = g_.average_pool(y, {3, 3, 1, 1, same_padding(g_.shape(y), 3, 3, 1)});
      }
      int number = 0;
      for (const BranchConv& layer : branch.convs) {
        y = conv(y, beginning + std::to_string(++number), layer);
      }
      if (branch.fork_channels > 0) {
        const Value wide = conv(y, beginning + "wide", {branch.fork_channels, 1, 3});
        const Value tall = conv(y, beginning + "tall", {branch.fork_channels, 3, 1});
        y = g_.concat({wide, tall});
      }
      ends.push_back(y);
    }
    return g_.concat(ends);
  }

  /// x + factor * (a 1x1 convolution, with a bias, of the branches).
  Value residual(Value x, const std::string& name, const Branches& branches, float factor) const {
    ConvLayer up = plain_conv(g_.shape(x).c, 1);
    up.bias = true;
    const Value y = g_.conv(mixed(x, name, branches), prefix_ + name + "_conv", up);
    return g_.add(x, y, factor);
  }
  /// `count` of them, each with a ReLU.
  Value residuals(Value x, const std::string& name, const Branches& branches, float factor,
                  int count) const {
    for (int i = 1; i <= count; ++i) {
      x = g_.relu(residual(x, fmt::format("{}_{}", name, i), branches, factor));
    }
    return x;
  }

 private:
  Value halve(Value x) const {
    return g_.max_pool(x, {3, 3, 2, 2, same_padding(g_.shape(x), 3, 3, 2)});
  }

  Graph& g_;
  std::string prefix_{kBackbone};
};

Branch pooled(BranchPool pool, std::vector<BranchConv> convs) {
  return {.convs = std::move(convs), .pool = pool};
}

/// The taps after the stem's are mixed2 (288 channels), mixed7 (768) and mixed10 (2048).
Features inception_v3(Graph& g) {
  const Body body(g);
  Features features{g.input()};
  Value x = body.stem(features);
  int number = 0;
  const auto next = [&](const Branches& branches) {
    x = body.mixed(x, fmt::format("mixed{}", number++), branches);
  };
  for (const int pooled_channels : {32, 64, 64}) {
    next({{{{64}}},
          {{{48}, {64, 5, 5}}},
          {{{64}, {96, 3, 3}, {96, 3, 3}}},
          pooled(BranchPool::average, {{pooled_channels}})});
  }
  features.push_back(x);
  next({{{{384, 3, 3, 2}}}, {{{64}, {96, 3, 3}, {96, 3, 3, 2}}}, pooled(BranchPool::max, {})});
  for (const int c : {128, 160, 160, 192}) {
    next({{{{192}}},
          {{{c}, {c, 1, 7}, {192, 7, 1}}},
          {{{c}, {c, 7, 1}, {c, 1, 7}, {c, 7, 1}, {192, 1, 7}}},
          pooled(BranchPool::average, {{192}})});
  }
  features.push_back(x);
  next({{{{192}, {320, 3, 3, 2}}},
        {{{192}, {192, 1, 7}, {192, 7, 1}, {192, 3, 3, 2}}},
        pooled(BranchPool::max, {})});
  for (int i = 0; i < 2; ++i) {
    next({{{{320}}},
          {{{384}}, 384},
          {{{448}, {384, 3, 3}}, 384},
          pooled(BranchPool::average, {{192}})});
  }
  features.push_back(x);
  return features;
}

/// The taps after the stem's are the last block35 (320 channels), the last block17 (1088) and
/// conv_7b (1536).
Features inception_resnet_v2(Graph& g) {
  const Body body(g);
  Features features{g.input()};
  Value x = body.stem(features);
  x = body.mixed(x, "mixed_5b",
                 {{{{96}}},
                  {{{48}, {64, 5, 5}}},
                  {{{64}, {96, 3, 3}, {96, 3, 3}}},
                  pooled(BranchPool::average, {{64}})});
  x = body.residuals(x, "block35",
                     {{{{32}}}, {{{32}, {32, 3, 3}}}, {{{32}, {48, 3, 3}, {64, 3, 3}}}}, 0.17f, 10);
  features.push_back(x);
  x = body.mixed(
      x, "mixed_6a",
      {{{{384, 3, 3, 2}}}, {{{256}, {256, 3, 3}, {384, 3, 3, 2}}}, pooled(BranchPool::max, {})});
  x = body.residuals(x, "block17", {{{{192}}}, {{{128}, {160, 1, 7}, {192, 7, 1}}}}, 0.1f, 20);
  features.push_back(x);
  x = body.mixed(x, "mixed_7a",
                 {{{{256}, {384, 3, 3, 2}}},
                  {{{256}, {288, 3, 3, 2}}},
                  {{{256}, {288, 3, 3}, {320, 3, 3, 2}}},
                  pooled(BranchPool::max, {})});
  const Branches block8{{{{192}}}, {{{192}, {224, 1, 3}, {256, 3, 1}}}};
  x = body.residuals(x, "block8", block8, 0.2f, 9);
  x = body.residual(x, "block8_10", block8, 1);  // without a ReLU
  features.push_back(body.conv(x, "conv_7b", {1536}));
  return features;
}

}  // namespace

std::vector<Backbone> inception_backbones() {
  return {{.name = "inceptionv3",
           .summary = "segmentation_models (Keras), InceptionV3",
           .normalization = kFromMinusOneToOne,
           .features = [](Graph& g, const NetworkSpec&) { return inception_v3(g); }},
          {.name = "inceptionresnetv2",
           .summary = "segmentation_models (Keras), InceptionResNetV2",
           .normalization = kFromMinusOneToOne,
           .features = [](Graph& g, const NetworkSpec&) { return inception_resnet_v2(g); }}};
}

}  // namespace macadam
