#include "tests/engine/small_networks.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <random>

#include "base/to_size.h"

namespace macadam::testing {

namespace {

ConvLayer conv3(int channels, bool bias = true) {
  ConvLayer conv;
  conv.out_channels = channels;
  conv.bias = bias;
  return conv;
}

ConvLayer conv1(int channels, bool bias = true) {
  ConvLayer conv = conv3(channels, bias);
  conv.kernel_h = conv.kernel_w = 1;
  conv.padding = {};
  return conv;
}

PoolDesc pool(int kernel, int stride, int padding) {
  return {.kernel_h = kernel,
          .kernel_w = kernel,
          .stride_h = stride,
          .stride_w = stride,
          .padding = Padding::all(padding)};
}

/// Grows a graph by one random layer at a time.
class RandomBuilder {
 public:
  RandomBuilder(uint32_t seed, Shape input, int classes)
      : random_(seed), graph_(input), classes_(classes), values_{graph_.input()} {}

  Graph build() {
    for (int i = 0; i < 12; ++i) values_.push_back(layer());
    graph_.set_output(head(values_.back(), "head"));
    if (below(4) == 0) graph_.relu(graph_.output());  // somebody else reads the scores
    if (below(3) == 0) {
      const Value scores = head(pick(), "auxiliary");
      graph_.add_auxiliary_output(scores, 0.4f);
      if (below(3) == 0) graph_.relu(scores);
    }
    return std::move(graph_);
  }

 private:
  int below(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }
  std::string name() { return fmt::format("layer{}", names_++); }
  Shape shape(Value v) const { return graph_.shape(v); }

  /// Recent values are likelier, so that the graph becomes deep.
  Value pick() {
    const int n = static_cast<int>(values_.size());
    return values_[to_size(n - 1 - std::min(below(n), below(n)))];
  }
  std::vector<Value> alike(Value v, bool channels) {
    std::vector<Value> found;
    for (Value other : values_) {
      const Shape a = shape(v), b = shape(other);
      if (a.h == b.h && a.w == b.w && (!channels || a.c == b.c)) found.push_back(other);
    }
    return found;
  }

  Value conv(Value x) {
    ConvLayer layer = below(3) == 0 ? conv1(4 + 4 * below(3)) : conv3(4 + 4 * below(3));
    layer.bias = below(4) != 0;
    if (shape(x).c % 2 == 0 && below(3) == 0) layer.groups = 2;
    if (layer.kernel_h == 3) {
      if (shape(x).h >= 4 && shape(x).w >= 4 && below(4) == 0) {
        layer.stride = 2;
        layer.padding = {below(2), 1, below(2), 1};
      } else if (below(4) == 0) {
        layer.dilation = 2;
        layer.padding = Padding::all(2);
      }
    }
    return graph_.conv(x, name(), layer);
  }

  Value resize(Value x) {
    const Shape target = shape(pick());
    return graph_.upsample(x, target.h, target.w, below(2) == 0);
  }

  Value layer() {
    const Value x = pick();
    const bool large = shape(x).h >= 4 && shape(x).w >= 4;
    switch (below(20)) {
      case 0:
      case 1: return graph_.relu(conv(x));
      case 2: return conv(x);
      case 3: return norm(x);
      case 4: return graph_.relu(norm(conv(x)));
      case 5: return graph_.dropout(graph_.relu(conv(x)), 0.3f);
      case 6: return graph_.dropout(x, 0.25f);
      case 7: return large ? graph_.max_pool(x, any_windows()) : conv(x);
      case 8: return large ? graph_.average_pool(x, any_windows()) : graph_.relu(x);
      case 9: return resize(x);
      case 10: {
        const std::vector<Value> others = alike(x, true);
        const Value sum = graph_.add(x, others[to_size(below(static_cast<int>(others.size())))],
                                     below(3) == 0 ? 0.25f : 1.0f);
        return below(2) ? graph_.relu(sum) : sum;
      }
      case 11: return squeeze_excite(x);
      case 12: return image_pooling(x);
      case 13: return conv_transpose(x);
      case 14: return graph_.activation(below(2) ? norm(x) : conv(x), any_activation());
      case 15: {
        const Value branch = graph_.drop_path(conv_like(x), 0.4f);
        return below(2) ? graph_.add(branch, x) : branch;
      }
      case 16: return product(x);
      case 17: return flat_ = graph_.grid_average_pool(conv_like(x), 1 + below(4), 1 + below(5));
      case 18: return graph_.upsample_corners(x, pick());
      default: return join(x);
    }
  }

  /// A product of two values, of a value and itself, or of a value and how much it is like another.
  Value product(Value x) {
    const std::vector<Value> others = alike(x, true);
    const Value other = others[to_size(below(static_cast<int>(others.size())))];
    const Value gate = graph_.activation(other, Activation::sigmoid);
    if (below(2) == 0) return graph_.multiply(x, gate);
    const Value alike = graph_.activation(graph_.dot(x, gate), Activation::sigmoid);
    return below(3) == 0 ? alike : graph_.multiply(x, alike);
  }

  /// Sometimes with a fixed scale, sometimes with statistics that are not the batch's. Few pixels
  /// have no statistics to speak of: their normalised values are rounding errors enlarged.
  Value norm(Value x) {
    if (shape(x).pixels() < 8) return x;
    BatchNormDesc desc;
    desc.frozen = below(4) == 0;
    return graph_.batch_norm(x, name(), desc, below(4) != 0);
  }
  Activation any_activation() {
    constexpr Activation kinds[] = {Activation::relu6, Activation::sigmoid, Activation::silu,
                                    Activation::hardswish, Activation::hardsigmoid};
    return kinds[below(5)];
  }
  PoolDesc any_windows() {
    constexpr std::array<Padding, 3> paddings{{{}, {0, 1, 0, 1}, {1, 1, 1, 1}}};
    PoolDesc desc = pool(2 + below(2), 1 + below(2), 0);
    desc.padding = paddings[to_size(below(3))];
    desc.ceil_mode = below(2) == 0;
    desc.count_padding = below(2) == 0;
    return desc;
  }
  Value squeeze_excite(Value x) {
    const int channels = shape(x).c;
    Value f = graph_.global_average_pool(x);
    f = graph_.activation(graph_.conv(f, name(), conv1(4)), any_activation());
    f = graph_.activation(graph_.conv(f, name(), conv1(channels)),
                          below(2) ? Activation::sigmoid : Activation::hardsigmoid);
    return graph_.scale(below(2) ? conv_like(x) : x, f);
  }
  /// The mean of an image, alone or spread over it again.
  Value image_pooling(Value x) {
    const Value mean = graph_.global_average_pool(x);
    flat_ = below(3) == 0 ? mean : graph_.upsample(mean, x, below(2) == 0);
    return flat_;
  }
  Value conv_transpose(Value x) {
    ConvTransposeLayer layer;
    layer.out_channels = 4 + 4 * below(2);
    layer.kernel = 1 + below(3);
    layer.stride = 1 + below(2);
    layer.bias = below(2) == 0;
    const Shape in = shape(graph_.input());
    return shape(x).w <= in.w ? graph_.conv_transpose(x, name(), layer) : conv(x);
  }

  /// A concatenation of two or three values, of all sources and sometimes of one twice.
  Value join(Value x) {
    const std::vector<Value> others = alike(x, false);
    std::vector<Value> parts{x};
    for (int i = 0; i <= below(2); ++i) {
      parts.push_back(others[to_size(below(static_cast<int>(others.size())))]);
    }
    if (below(2)) parts.push_back(graph_.relu(conv_same(x)));
    int channels = 0;
    for (Value v : parts) channels += shape(v).c;
    return channels <= 48 ? graph_.concat(parts) : conv(x);
  }
  Value conv_same(Value x) { return graph_.conv(x, name(), conv3(4)); }
  Value conv_like(Value x) { return graph_.conv(x, name(), conv3(shape(x).c)); }

  /// Scores at the input's size, out of every kind of layer. Of a few means of an image alone, a
  /// batch norm would have a few values to take its statistics of.
  Value head(Value features, const std::string& name) {
    const Shape in = shape(graph_.input());
    Value x = graph_.upsample(features, in.h, in.w, true);
    if (below(2) == 0 || features == flat_) x = graph_.concat({x, graph_.input()});
    const Value scores = graph_.conv(x, name, conv1(classes_));
    switch (below(6)) {
      case 0: return graph_.relu(scores);
      case 1: return graph_.relu(graph_.batch_norm(scores, name + "_norm"));
      case 2: return graph_.add(scores, graph_.conv(x, name + "2", conv1(classes_)));
      case 3: {
        const Value part = graph_.conv(x, name + "2", conv3(classes_ / 2));
        return graph_.concat({graph_.relu(graph_.batch_norm(part, name + "_norm")),
                              graph_.conv(x, name + "3", conv1(classes_ - classes_ / 2))});
      }
      default: return scores;
    }
  }

  std::mt19937 random_;
  Graph graph_;
  int classes_;
  int names_ = 0;
  std::vector<Value> values_;
  Value flat_;  // the last means
};

}  // namespace

Graph small_unet(Shape input, int classes, float dropout) {
  Graph g(input);
  Value skip = g.relu(g.conv(g.input(), "down.conv1", conv3(8)));
  if (dropout > 0) skip = g.dropout(skip, dropout);
  skip = g.relu(g.conv(skip, "down.conv2", conv3(8)));
  Value x = g.relu(g.conv(g.max_pool(skip), "bottom", conv3(16)));
  if (dropout > 0) x = g.dropout(x, dropout);
  x = g.concat({g.upsample(x, input.h, input.w), skip});
  x = g.relu(g.conv(x, "up", conv3(8)));
  g.set_output(g.conv(x, "head", conv1(classes)));
  return g;
}

Graph small_auxiliary(Shape input, int classes) {
  Graph g = small_unet(input, classes, 0.2f);
  const auto add = [&](Value features, const std::string& name, float weight) {
    const Value x = g.relu(g.batch_norm(g.conv(features, name + ".conv", conv3(8, false)), name));
    const Value scores = g.conv(x, name + ".head", conv1(classes));
    const Shape shape = g.shape(scores);
    const bool small = shape.h != input.h || shape.w != input.w;
    g.add_auxiliary_output(small ? g.upsample(scores, input.h, input.w, true) : scores, weight);
  };
  const auto relu_behind = [&](std::string_view name) {
    const auto conv = std::ranges::find(g.nodes(), name, &Node::name);
    return std::next(conv)->output;
  };
  add(relu_behind("bottom"), "deep", 0.4f);
  add(relu_behind("up"), "wide", 0.25f);
  return g;
}

Graph small_resnet(Shape input, int classes) {
  Graph g(input);
  ConvLayer strided = conv3(8, false);
  strided.stride = 2;
  strided.padding = {0, 1, 0, 1};  // as TensorFlow pads
  ConvLayer dilated = conv3(8);
  dilated.dilation = 2;
  dilated.padding = Padding::all(2);
  ConvLayer grouped = conv3(8, false);
  grouped.groups = 4;

  // Read by a convolution, a pool, an addition and a concatenation.
  const Value stem = g.relu(g.batch_norm(g.conv(g.input(), "stem", conv3(8, false)), "stem_norm"));
  Value x = g.batch_norm(g.conv(stem, "block1.conv1", dilated), "block1.norm");
  x = g.relu(g.add(x, stem));
  x = g.relu(g.batch_norm(g.conv(x, "block2.conv1", strided), "block2.norm1"));
  x = g.dropout(g.batch_norm(g.conv(x, "block2.conv2", grouped), "block2.norm2"), 0.25f);
  x = g.add(x, g.average_pool(stem, pool(2, 2, 0)));
  x = g.max_pool(x, pool(3, 2, 1));
  x = g.concat({g.upsample(x, input.h, input.w, true), stem});
  x = g.dropout(g.relu(g.conv(x, "fuse", conv3(8))), 0.25f);
  x = g.conv(x, "head", conv1(classes));
  g.set_output(g.upsample(x, input.h, input.w, true));
  return g;
}

Graph half_scores(Shape input, int classes) {
  Graph g(input);
  ConvLayer conv;
  conv.out_channels = 16;
  const Value x = g.relu(g.conv(g.max_pool(g.input()), "body", conv));
  conv.out_channels = classes;
  g.set_output(g.upsample(g.conv(x, "head", conv), g.input(), true));
  return g;
}

Graph small_efficientnet(Shape input, int classes) {
  Graph g(input);
  ConvLayer strided = conv3(8, false), depthwise = conv3(16, false);
  strided.stride = 2;
  strided.padding = {0, 1, 0, 1};
  depthwise.groups = 16;
  const auto silu = [&](Value v) { return g.activation(v, Activation::silu); };

  const Value skip = silu(g.batch_norm(g.conv(g.input(), "stem", conv3(8, false)), "stem_norm"));
  const Value x = g.batch_norm(g.conv(skip, "down", strided), "down_norm");
  Value b = silu(g.batch_norm(g.conv(x, "expand", conv1(16, false)), "expand_norm", {}, false));
  b = silu(g.batch_norm(g.conv(b, "depthwise", depthwise), "depthwise_norm"));
  Value f = silu(g.conv(g.global_average_pool(b), "squeeze", conv1(4)));
  f = g.activation(g.conv(f, "excite", conv1(16)), Activation::sigmoid);
  b = g.batch_norm(g.conv(g.scale(b, f), "project", conv1(8, false)), "project_norm");
  b = g.add(g.drop_path(b, 0.3f), x);
  const Value image = g.upsample(g.global_average_pool(b), b, true);
  ConvTransposeLayer up;
  up.out_channels = 8;
  b = g.activation(g.conv_transpose(g.concat({b, image}), "up", up), Activation::relu6);
  b = g.relu(g.batch_norm(g.conv(g.concat({b, skip}), "fuse", conv3(8)), "fuse_norm"));
  ConvTransposeLayer smooth;
  smooth.out_channels = classes;
  smooth.kernel = 3;
  smooth.stride = 1;
  smooth.bias = false;
  b = g.conv_transpose(b, "smooth", smooth);  // two pixels more on either axis
  g.carry_parameter("unused.weight", {4, 1, 1, 8}, ParameterRole::conv_weight);
  g.set_output(g.upsample(b, input.h, input.w, true));
  return g;
}

Graph small_inception(Shape input, int classes) {
  Graph g(input);
  ConvLayer strided = conv3(8, false), row = conv1(8, false), column = conv1(12),
            depthwise = conv3(12);
  strided.stride = 2;
  row.kernel_w = 7;
  row.padding = {3, 3, 0, 0};
  column.kernel_h = 7;
  column.padding = {0, 0, 3, 3};
  depthwise.groups = 12;
  const auto hard = [&](Value v) { return g.activation(v, Activation::hardswish); };

  const Value skip = hard(g.batch_norm(g.conv(g.input(), "stem", strided), "stem_norm"));
  Value x = g.relu(g.batch_norm(g.conv(skip, "row", row), "row_norm"));
  x = g.conv(x, "column", column);
  PoolDesc same = pool(3, 1, 1), last = pool(2, 2, 0);
  same.count_padding = true;
  last.ceil_mode = true;
  const Value pooled = g.conv(g.average_pool(skip, same), "pool_branch", conv1(12, false));
  x = g.relu(g.add(pooled, x, 0.17f));

  Value b = hard(g.conv(x, "depthwise", depthwise));
  Value f = g.relu(g.conv(g.global_average_pool(b), "squeeze", conv1(4)));
  f = g.activation(g.conv(f, "excite", conv1(12)), Activation::hardsigmoid);
  b = g.add(g.scale(b, f), x, 0.5f);
  Value y = g.relu(g.conv(b, "joined", conv3(8)));
  y = g.concat({g.max_pool(y, last), g.average_pool(b, last)});
  y = g.upsample(g.activation(g.conv(y, "deep", conv3(8)), Activation::hardsigmoid), b);
  x = g.conv(g.concat({y, skip}), "head", conv1(classes));
  g.set_output(g.upsample(x, input.h, input.w, true));
  return g;
}

Graph small_densenet(Shape input, int classes) {
  Graph g(input);
  const auto norm_silu = [&](Value v, const std::string& name) {
    return g.activation(g.batch_norm(v, name), Activation::silu);
  };
  const auto layer = [&](Value v, const std::string& name) {
    const Value y = g.conv(norm_silu(v, name + ".norm1"), name + ".conv1", conv1(8, false));
    return g.concat({v, g.conv(norm_silu(y, name + ".norm2"), name + ".conv2", conv3(4, false))});
  };
  const Value stem = norm_silu(g.conv(g.input(), "stem", conv3(8, false)), "stem_norm");
  Value x = layer(g.max_pool(stem, pool(3, 2, 1)), "block1.layer1");
  const Value block = x = layer(layer(x, "block1.layer2"), "block1.layer3");
  const Value tap = norm_silu(x, "transition");
  x = g.average_pool(g.conv(tap, "transition_conv", conv1(8, false)), pool(2, 2, 0));
  x = g.batch_norm(layer(layer(x, "block2.layer1"), "block2.layer2"), "last");
  x = norm_silu(g.conv(g.concat({g.upsample(x, tap), tap, block}), "up1", conv3(8)), "up1_norm");
  x = g.concat({g.upsample(x, stem), stem});
  g.set_output(g.conv(x, "head", conv1(classes)));
  return g;
}

Graph small_dual(Shape input, int classes) {
  Graph g(input);
  ConvLayer strided = conv3(8, false);
  strided.stride = 2;
  const auto norm = [&](Value x, const std::string& name, const ConvLayer& conv) {
    return g.batch_norm(g.conv(x, name, conv), name + "_norm");
  };
  const auto silu = [&](Value x) { return g.activation(x, Activation::silu); };
  const Value stem = g.relu(norm(g.input(), "stem", strided));
  // The sums are read before and behind their activation.
  Value low = norm(stem, "low", strided), high = norm(stem, "high", conv3(8, false));
  const Value up = g.upsample(norm(silu(low), "compression", conv1(8, false)), high, true);
  low = g.add(low, norm(silu(high), "down", strided));
  const Value tapped = high = g.add(high, up);

  PoolDesc windows = pool(5, 2, 2);
  windows.count_padding = true;
  const Value whole = g.conv(g.grid_average_pool(low, 1, 1), "whole", conv1(8));
  const Value grid = g.conv(g.grid_average_pool(low, 2), "grid", conv1(8));
  Value means = g.add(g.upsample(g.average_pool(low, windows), low, true),
                      g.upsample_corners(g.add(g.upsample(whole, grid), grid), low));
  means = g.upsample(silu(g.batch_norm(means, "means_norm")), high, true);

  // Of each pixel as much of the means as they agree, and detail where there are edges.
  const Value agreement = g.activation(
      g.dot(norm(high, "f_x", conv1(4)), norm(means, "f_y", conv1(4))), Activation::sigmoid);
  Value x = g.add(high, g.multiply(g.add(means, high, -1), agreement));
  const Value edges = g.activation(norm(high, "edges", conv3(8, false)), Activation::sigmoid);
  x = g.add(g.add(x, means), g.multiply(edges, means), -1);
  g.set_output(g.upsample(g.conv(silu(x), "head", conv1(classes)), g.input(), true));
  const Value scores = g.conv(silu(tapped), "extra", conv1(classes));
  g.add_auxiliary_output(g.upsample(scores, g.input(), true), 0.4f);
  return g;
}

Graph small_branches(Shape input, int classes) {
  Graph g(input);
  const auto silu = [&](Value x) { return g.activation(x, Activation::silu); };
  const auto norm = [&](Value x, const std::string& name, const ConvLayer& conv) {
    return g.batch_norm(g.conv(x, name, conv), name + "_norm");
  };
  const auto strided = [](ConvLayer conv) {
    conv.stride = 2;
    return conv;
  };
  // RepVGG's.
  const Value stem = silu(norm(g.input(), "stem", conv3(8, false)));
  Value x = g.add(norm(stem, "a3", conv3(8, false)), norm(stem, "a1", conv1(8)));
  const Value a = silu(g.add(x, g.batch_norm(stem, "a_norm")));
  // Of two convolutions each, one of them without a norm; then a bias alone.
  const auto two = [&](Value from, const std::string& name, const ConvLayer& first) {
    return norm(g.conv(from, name, first), name + "_second", conv1(12, false));
  };
  x = g.add(two(a, "b3", strided(conv3(12))),
            norm(g.batch_norm(g.conv(a, "b5", strided(conv3(8))), "b5_norm"), "b6", conv1(12)));
  const Value b = silu(g.add(x, two(a, "b1", strided(conv1(12, false)))));
  x = silu(g.add(g.conv(b, "c3", conv3(12)), g.conv(b, "c1", conv1(12, false))));
  // A branch that somebody else reads, and a padded convolution behind a shift.
  const Value read = g.conv(x, "d1", conv1(12));
  x = silu(g.add(read, g.conv(g.batch_norm(x, "d_norm"), "d3", conv3(12))));
  x = g.add(x, silu(read));
  g.set_output(g.upsample(g.conv(x, "head", conv1(classes)), g.input(), true));
  return g;
}

Graph random_graph(uint32_t seed, Shape input, int classes) {
  return RandomBuilder(seed, input, classes).build();
}

}  // namespace macadam::testing
