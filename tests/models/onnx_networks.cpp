#include "tests/models/onnx_networks.h"

#include <fmt/format.h>

#include "engine/plan/parameters.h"
#include "tests/engine/hashed.h"

namespace macadam::testing {

namespace {

ConvLayer plain(int channels, int kernel = 1, bool bias = true) {
  ConvLayer conv;
  conv.out_channels = channels;
  conv.kernel_h = conv.kernel_w = kernel;
  conv.padding = Padding::all(kernel / 2);
  conv.bias = bias;
  return conv;
}

/// Convolutions, batch norms and gates at half the size.
Value encoder(Graph& g) {
  Value x = g.batch_norm(g.input(), "image_norm", {}, false);
  ConvLayer stem = plain(8, 3, false);
  stem.stride = 2;
  stem.padding = {0, 1, 0, 1};
  x = g.relu(g.batch_norm(g.conv(x, "stem", stem), "stem_norm"));

  ConvLayer depthwise = plain(8, 5);
  depthwise.groups = 8;
  depthwise.padding = {1, 3, 4, 0};
  BatchNormDesc norm;
  norm.eps = 1e-3f;
  const Value a = g.activation(
      g.batch_norm(g.dropout(g.conv(x, "depthwise", depthwise), 0.1f), "depthwise_norm", norm),
      Activation::silu);
  const Value squeezed =
      g.activation(g.conv(g.global_average_pool(a), "squeeze", plain(2)), Activation::silu);
  const Value gates = g.activation(g.conv(squeezed, "excite", plain(8)), Activation::sigmoid);
  x = g.add(g.drop_path(g.scale(a, gates), 0.2f), x);

  ConvLayer dilated = plain(8, 3, false);
  dilated.dilation = 2;
  dilated.padding = Padding::all(2);
  const Value twice = g.conv(x, "twice_read", dilated);
  return g.activation(g.add(g.batch_norm(twice, "kept_norm"), twice), Activation::relu6);
}

}  // namespace

Graph every_layer(Shape input, int classes) {
  Graph g(input);
  const Value skip = encoder(g);
  PoolDesc window;
  window.kernel_h = 3;
  window.kernel_w = 2;
  window.padding = {1, 0, 1, 2};
  PoolDesc same;
  same.kernel_h = same.kernel_w = 3;
  same.stride_h = same.stride_w = 1;
  same.padding = Padding::all(1);
  const Value pooled =
      g.concat({g.max_pool(skip, window), g.average_pool(g.average_pool(skip, same), window)});
  const Value image_level = g.conv(g.global_average_pool(pooled), "image_level", plain(4));

  const Value up = g.concat({g.upsample(pooled, skip), g.upsample(pooled, skip, true), skip,
                             g.upsample(image_level, skip, true)});
  ConvTransposeLayer twice_the_size;
  twice_the_size.out_channels = 6;
  const Value fine = g.conv_transpose(up, "up", twice_the_size);
  const Value normed = g.batch_norm(fine, "up_norm");
  const Value all =
      g.concat({normed, g.upsample(pooled, g.input()), g.conv(g.input(), "side", plain(2))});
  g.carry_parameter("classifier.weight", {10, 1, 1, 8}, ParameterRole::conv_weight);
  g.set_output(g.conv(g.dropout(all, 0.5f), "head", plain(classes, 3)));
  return g;
}

Graph every_window(Shape input, int classes, bool one_size) {
  Graph g(input);
  ConvLayer row = plain(6), column = plain(8);
  row.kernel_w = 7;
  row.padding = {3, 3, 0, 0};
  column.kernel_h = 7;
  column.padding = {0, 0, 3, 3};
  const Value x = g.activation(g.conv(g.input(), "row", row), Activation::hardswish);
  const Value y = g.batch_norm(g.conv(x, "column", column), "norm");

  std::vector<Value> parts;
  for (const Padding& padding : {Padding{}, Padding{1, 0, 1, 0}, Padding{1, 1, 0, 1}}) {
    if (!one_size && padding.right > 0) continue;
    PoolDesc desc{.kernel_h = 3, .kernel_w = 3, .padding = padding, .ceil_mode = true};
    parts.push_back(g.upsample(g.max_pool(y, desc), y));
    parts.push_back(g.upsample(g.average_pool(y, desc), y));
    desc.count_padding = true;
    parts.push_back(g.upsample(g.average_pool(y, desc), y));
    desc.stride_h = 4;  // fewer rows; a last window may be dropped
    parts.push_back(g.upsample(g.average_pool(y, desc), y));
  }
  PoolDesc same{
      .kernel_h = 3, .kernel_w = 2, .stride_h = 1, .stride_w = 1, .padding = {1, 0, 0, 2}};
  same.count_padding = true;
  parts.push_back(g.average_pool(y, same));

  Value sum = g.conv(g.concat(parts), "parts", plain(8));
  sum = g.relu(g.add(y, sum, 0.17f));
  const Value squeezed = g.relu(g.conv(g.global_average_pool(sum), "squeeze", plain(2)));
  const Value gates = g.activation(g.conv(squeezed, "excite", plain(8)), Activation::hardsigmoid);
  g.set_output(g.conv(g.add(g.scale(sum, gates), sum, 0.17f), "head", plain(classes, 3)));
  return g;
}

std::map<std::string, ModelTensor> hashed_parameters(const Graph& graph) {
  Stream stream;
  Parameters parameters(graph.parameters(), stream, false);
  set_hashed_values(parameters);
  std::map<std::string, ModelTensor> result;
  for (size_t p = 0; p < parameters.size(); ++p) {
    const ParameterSpec& spec = parameters.specs()[p];
    result[spec.name] = {spec.file_shape(), parameters.read(p, Parameters::Field::value)};
  }
  return result;
}

ModelInfo model_info(std::string network, int classes, Shape input) {
  ModelInfo info;
  info.macadam_version = "1.2.3";
  info.network = std::move(network);
  for (int i = 0; i < classes; ++i) {
    info.class_names.push_back(fmt::format("class \"{}\"", i));
    info.palette.push_back({static_cast<uint8_t>(i), 100, 200});
    info.inverse_ids.push_back(static_cast<uint8_t>(i));
  }
  info.label_set = "test";
  info.height = input.h;
  info.width = input.w;
  info.precision = "fp32";
  return info;
}

}  // namespace macadam::testing
