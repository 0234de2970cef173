#include "models/encoders/encoder.h"

#include <algorithm>

namespace macadam {

int multiple_of_eight(double channels) {
  const int rounded = std::max(8, static_cast<int>(channels + 4) / 8 * 8);
  return rounded < 0.9 * channels ? rounded + 8 : rounded;
}

ConvLayer plain_conv(int channels, int kernel, int stride) {
  ConvLayer conv;
  conv.out_channels = channels;
  conv.kernel_h = conv.kernel_w = kernel;
  conv.stride = stride;
  conv.padding = Padding::all(kernel / 2);
  conv.bias = false;
  return conv;
}

Value conv_norm(Graph& g, Value x, const std::string& conv, const std::string& norm,
                const ConvLayer& layer) {
  return g.batch_norm(g.conv(x, conv, layer), norm);
}

ConvLayer score_conv(int classes, int kernel) {
  ConvLayer conv = plain_conv(classes, kernel);
  conv.bias = true;
  conv.init = Init::glorot_uniform;
  return conv;
}

Value pooled_scores(Graph& g, Value x, const std::string& name, float dropout, int classes) {
  ConvLayer full = plain_conv(classes, 1);
  full.bias = true;
  x = g.global_average_pool(x);
  if (dropout > 0) x = g.dropout(x, dropout);
  return g.conv(x, name, full);
}

Encoder find_encoder(std::string_view name) {
  const std::vector<Encoder> all = all_encoders();
  const auto found = std::ranges::find(all, name, &Encoder::name);
  require(found != all.end(), "an encoder of the folder");
  return *found;
}

EncoderNames own_names(std::string tool, std::string_view beginning) {
  return {.tool = std::move(tool), .layer = [begins = beginning.size()](std::string_view layer) {
            return std::optional<std::string>(layer.substr(begins));
          }};
}

std::optional<std::string> look_up(std::span<const LayerName> table, std::string_view layer) {
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&](const LayerName& row) { return row.first == layer; });
  if (found == table.end()) return std::nullopt;
  return std::string(found->second);
}

Padding same_padding(int height, int width, int kernel, int stride) {
  const auto total = [&](int size) {
    const int out = (size + stride - 1) / stride;
    return std::max((out - 1) * stride + kernel - size, 0);
  };
  const int rows = total(height), columns = total(width);
  return {columns / 2, columns - columns / 2, rows / 2, rows - rows / 2};
}

}  // namespace macadam
