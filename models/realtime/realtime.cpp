#include "models/realtime/realtime.h"

#include <fmt/format.h>

namespace macadam {

NormConv sequential(std::string_view name, int first) {
  return {fmt::format("{}.{}", name, first), fmt::format("{}.{}", name, first + 2)};
}

Value norm_relu_conv(Graph& g, Value x, const NormConv& names, const ConvLayer& layer,
                     const BatchNormDesc& norm) {
  return g.conv(g.relu(g.batch_norm(x, names.norm, norm)), names.conv, layer);
}

Value quarter_stem(Graph& g, Value image, const std::string& name, int channels) {
  Value x = image;
  for (const int i : {0, 3}) {
    ConvLayer conv = plain_conv(channels, 3, 2);
    conv.bias = true;
    x = g.relu(
        conv_norm(g, x, fmt::format("{}.{}", name, i), fmt::format("{}.{}", name, i + 1), conv));
  }
  return x;
}

Value residual_block(Graph& g, Value x, const std::string& name, Block kind, int channels,
                     int stride, bool relu) {
  const bool wide = kind == Block::bottleneck;
  const int out = wide ? 2 * channels : channels;
  Value y = x;
  if (wide) {
    y = g.relu(conv_norm(g, y, name + ".conv1", name + ".bn1", plain_conv(channels, 1)));
    y = g.relu(conv_norm(g, y, name + ".conv2", name + ".bn2", plain_conv(channels, 3, stride)));
    y = conv_norm(g, y, name + ".conv3", name + ".bn3", plain_conv(out, 1));
  } else {
    y = g.relu(conv_norm(g, y, name + ".conv1", name + ".bn1", plain_conv(channels, 3, stride)));
    y = conv_norm(g, y, name + ".conv2", name + ".bn2", plain_conv(channels, 3));
  }
  Value shortcut = x;
  if (stride != 1 || g.shape(x).c != out) {
    shortcut =
        conv_norm(g, x, name + ".downsample.0", name + ".downsample.1", plain_conv(out, 1, stride));
  }
  y = g.add(y, shortcut);
  return relu ? g.relu(y) : y;
}

Value residual_layer(Graph& g, Value x, const std::string& name, Block kind, int channels,
                     int blocks, int stride) {
  for (int i = 0; i < blocks; ++i) {
    const bool first = i == 0, last = i == blocks - 1;
    const bool relu = first ? kind == Block::basic : !last;
    x = residual_block(g, x, fmt::format("{}.{}", name, i), kind, channels, first ? stride : 1,
                       relu);
  }
  return x;
}

PyramidNames numbered_pyramid(const std::string& spp, const std::string& process, bool several) {
  return {.scale =
              [=](int level) {
                return sequential(fmt::format("{}.scale{}", spp, level), level == 0 ? 0 : 1);
              },
          .process =
              [=](int level) {
                const std::string number = several ? std::to_string(level) : "";
                return sequential(fmt::format("{}.{}{}", spp, process, number), 0);
              },
          .compression = sequential(spp + ".compression", 0),
          .shortcut = sequential(spp + ".shortcut", 0)};
}

namespace {

constexpr int kPyramidLevels = 5;

/// The level's means, or the map itself, at the size of the map.
Value pyramid_level(Graph& g, Value x, int level, int channels, const PyramidNames& names) {
  const auto narrowed = [&](Value y) {
    return norm_relu_conv(g, y, names.scale(level), plain_conv(channels, 1));
  };
  if (level == 0) return narrowed(x);
  const int stride = 1 << level, kernel = 2 * stride + 1;
  const PoolDesc windows{.kernel_h = kernel,
                         .kernel_w = kernel,
                         .stride_h = stride,
                         .stride_w = stride,
                         .padding = Padding::all(stride),
                         .count_padding = true};
  const bool whole = level == kPyramidLevels - 1;
  const Value means = whole ? g.global_average_pool(x) : g.average_pool(x, windows);
  return g.upsample(narrowed(means), x, true);
}

Value joined_levels(Graph& g, Value x, std::vector<Value> levels, int channels_out,
                    const PyramidNames& names) {
  const ConvLayer conv = plain_conv(channels_out, 1);
  const Value joined = norm_relu_conv(g, g.concat(std::move(levels)), names.compression, conv);
  return g.add(joined, norm_relu_conv(g, x, names.shortcut, conv));
}

}  // namespace

Value deep_pyramid(Graph& g, Value x, int channels, int channels_out, const PyramidNames& names) {
  std::vector<Value> levels{pyramid_level(g, x, 0, channels, names)};
  for (int i = 1; i < kPyramidLevels; ++i) {
    const Value sum = g.add(pyramid_level(g, x, i, channels, names), levels.back());
    levels.push_back(norm_relu_conv(g, sum, names.process(i), plain_conv(channels, 3)));
  }
  return joined_levels(g, x, std::move(levels), channels_out, names);
}

Value parallel_pyramid(Graph& g, Value x, int channels, int channels_out,
                       const PyramidNames& names) {
  const Value first = pyramid_level(g, x, 0, channels, names);
  std::vector<Value> means;
  for (int i = 1; i < kPyramidLevels; ++i) {
    means.push_back(g.add(pyramid_level(g, x, i, channels, names), first));
  }
  ConvLayer grouped = plain_conv((kPyramidLevels - 1) * channels, 3);
  grouped.groups = kPyramidLevels - 1;
  const Value processed = norm_relu_conv(g, g.concat(means), names.process(0), grouped);
  return joined_levels(g, x, {first, processed}, channels_out, names);
}

Value segmentation_head(Graph& g, Value x, const std::string& name, int channels, int classes) {
  x = norm_relu_conv(g, x, {name + ".bn1", name + ".conv1"}, plain_conv(channels, 3));
  return norm_relu_conv(g, x, {name + ".bn2", name + ".conv2"}, score_conv(classes, 1));
}

Value at_size_of_image(Graph& g, Value scores) { return g.upsample(scores, g.input(), true); }

}  // namespace macadam
