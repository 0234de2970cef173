#include "models/realtime/realtime.h"

#include <fmt/format.h>

namespace macadam {

Value norm_relu_conv(Graph& g, Value x, const NormConv& names, const ConvLayer& layer) {
  return g.conv(g.relu(g.batch_norm(x, names.norm)), names.conv, layer);
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

Value deep_pyramid(Graph& g, Value x, int channels, int channels_out, const PyramidNames& names) {
  constexpr int kLevels = 5;
  std::vector<Value> levels{norm_relu_conv(g, x, names.scale(0), plain_conv(channels, 1))};
  for (int i = 1; i < kLevels; ++i) {
    const int stride = 1 << i, kernel = 2 * stride + 1;
    const PoolDesc windows{.kernel_h = kernel,
                           .kernel_w = kernel,
                           .stride_h = stride,
                           .stride_w = stride,
                           .padding = Padding::all(stride),
                           .count_padding = true};
    const bool whole = i == kLevels - 1;
    Value y = whole ? g.global_average_pool(x) : g.average_pool(x, windows);
    y = g.upsample(norm_relu_conv(g, y, names.scale(i), plain_conv(channels, 1)), x, true);
    levels.push_back(
        norm_relu_conv(g, g.add(y, levels.back()), names.process(i), plain_conv(channels, 3)));
  }
  const Value joined =
      norm_relu_conv(g, g.concat(levels), names.compression, plain_conv(channels_out, 1));
  return g.add(joined, norm_relu_conv(g, x, names.shortcut, plain_conv(channels_out, 1)));
}

Value segmentation_head(Graph& g, Value x, const std::string& name, int channels, int classes) {
  x = norm_relu_conv(g, x, {name + ".bn1", name + ".conv1"}, plain_conv(channels, 3));
  return norm_relu_conv(g, x, {name + ".bn2", name + ".conv2"}, score_conv(classes, 1));
}

Value at_size_of_image(Graph& g, Value scores) { return g.upsample(scores, g.input(), true); }

}  // namespace macadam
