// PIDNet-S and -M (Xu et al., "PIDNet: A Real-time Semantic Segmentation Network Inspired by PID
// Controllers", arXiv 2206.02066), named as the authors' PyTorch code. Of that code's two auxiliary
// heads the one of class scores is trained, upon what the code's in-place ReLU leaves there; the
// other finds boundaries, for which there is no loss here: its parameters are carried along. Sizes
// are as DDRNet's.

#include "models/auxiliary_head.h"
#include "models/openmmlab_names.h"
#include "models/realtime/realtime.h"

namespace macadam {

namespace {

Value sequential_conv_norm(Graph& g, Value x, const std::string& name, const ConvLayer& layer) {
  return conv_norm(g, x, name + ".0", name + ".1", layer);
}

/// Pixel attention: of each pixel of `context` as much as it agrees with `detail`.
Value pixel_attention(Graph& g, Value detail, Value context, const std::string& name,
                      int channels) {
  const Value query = sequential_conv_norm(g, context, name + ".f_y", plain_conv(channels, 1));
  const Value key = sequential_conv_norm(g, detail, name + ".f_x", plain_conv(channels, 1));
  const Value agreement = g.dot(key, g.upsample(query, detail, true));
  const Value part = g.activation(agreement, Activation::sigmoid);
  const Value more = g.add(g.upsample(context, detail, true), detail, -1);
  return g.add(detail, g.multiply(more, part));
}

/// Boundary attention: detail at edges, context elsewhere.
Value boundary_attention(Graph& g, Value detail, Value context, Value edges,
                         const std::string& name) {
  const ConvLayer conv = plain_conv(g.shape(detail).c, 1);
  const Value edge = g.activation(edges, Activation::sigmoid);
  const Value inner = g.add(g.add(context, detail), g.multiply(context, edge), -1);
  const Value outer = g.add(context, g.multiply(detail, edge));
  const Value within = sequential_conv_norm(g, inner, name + ".conv_p", conv);
  return g.add(within, sequential_conv_norm(g, outer, name + ".conv_i", conv));
}

/// The parameters of a segmentation_head() that is not computed.
void carry_head(Graph& g, const std::string& name, int channels_in, int channels, int classes) {
  const auto carry_norm = [&](const std::string& norm, int c) {
    const Shape vector{1, 1, 1, c};
    g.carry_parameter(norm + ".weight", vector, ParameterRole::norm_scale);
    g.carry_parameter(norm + ".bias", vector, ParameterRole::norm_shift);
    g.carry_parameter(norm + ".running_mean", vector, ParameterRole::running_mean);
    g.carry_parameter(norm + ".running_var", vector, ParameterRole::running_var);
  };
  carry_norm(name + ".bn1", channels_in);
  g.carry_parameter(name + ".conv1.weight", {channels, 3, 3, channels_in},
                    ParameterRole::conv_weight);
  carry_norm(name + ".bn2", channels);
  g.carry_parameter(name + ".conv2.weight", {classes, 1, 1, channels}, ParameterRole::conv_weight);
  g.carry_parameter(name + ".conv2.bias", {1, 1, 1, classes}, ParameterRole::bias);
}

Graph build(int width, const NetworkSpec& spec, Shape input) {
  constexpr int kHead = 128, kPyramid = 96;
  const int high = 2 * width;
  Graph g(input);
  Value x = quarter_stem(g, g.input(), "conv1", width);
  x = g.relu(residual_layer(g, x, "layer1", Block::basic, width, 2));
  x = g.relu(residual_layer(g, x, "layer2", Block::basic, high, 2, 2));
  Value detail = residual_layer(g, x, "layer3_", Block::basic, high, 2);
  Value edges = residual_block(g, x, "layer3_d", Block::basic, width, 1, false);
  const auto difference = [&](const std::string& name) {
    const Value found = sequential_conv_norm(g, x, name, plain_conv(g.shape(edges).c, 3));
    return g.relu(g.add(edges, g.upsample(found, edges, true)));
  };

  x = g.relu(residual_layer(g, x, "layer3", Block::basic, 4 * width, 3, 2));
  Value compressed = sequential_conv_norm(g, x, "compression3", plain_conv(high, 1));
  detail = g.relu(pixel_attention(g, detail, compressed, "pag3", width));
  edges = difference("diff3");
  const Value tapped = detail;

  x = g.relu(residual_layer(g, x, "layer4", Block::basic, 8 * width, 3, 2));
  detail = residual_layer(g, detail, "layer4_", Block::basic, high, 2);
  edges = residual_layer(g, edges, "layer4_d", Block::bottleneck, width, 1);
  compressed = sequential_conv_norm(g, x, "compression4", plain_conv(high, 1));
  detail = g.relu(pixel_attention(g, detail, compressed, "pag4", width));
  edges = difference("diff4");

  detail = residual_layer(g, detail, "layer5_", Block::bottleneck, high, 1);
  edges = residual_layer(g, edges, "layer5_d", Block::bottleneck, high, 1);
  x = residual_layer(g, x, "layer5", Block::bottleneck, 8 * width, 2, 2);
  x = parallel_pyramid(g, x, kPyramid, 4 * width, numbered_pyramid("spp", "scale_process", false));
  x = boundary_attention(g, detail, g.upsample(x, detail, true), edges, "dfm");
  x = segmentation_head(g, x, "final_layer", kHead, spec.classes);
  g.set_output(at_size_of_image(g, x));
  if (const float weight = auxiliary_weight(spec); weight > 0) {
    x = segmentation_head(g, tapped, "seghead_p", kHead, spec.classes);
    g.add_auxiliary_output(at_size_of_image(g, x), weight);
    carry_head(g, "seghead_d", high, width, 1);
  }
  return g;
}

/// mmsegmentation's auxiliary heads are trained before the ReLU: they have no names here.
std::vector<EncoderNames> other_names() {
  return openmmlab_names(with_dual_resolution({
      .blocks = {{"layer3.", "backbone.i_branch_layers.0."},
                 {"layer4.", "backbone.i_branch_layers.1."},
                 {"layer5.", "backbone.i_branch_layers.2."},
                 {"layer3_.", "backbone.p_branch_layers.0."},
                 {"layer4_.", "backbone.p_branch_layers.1."},
                 {"layer5_.", "backbone.p_branch_layers.2."},
                 {"layer3_d.", "backbone.d_branch_layers.0."},
                 {"layer4_d.", "backbone.d_branch_layers.1."},
                 {"layer5_d.", "backbone.d_branch_layers.2."}},
      .downsample_is_a_unit = true,
      .units = {{"diff3", 0, false, "backbone.diff_1"},
                {"diff4", 0, false, "backbone.diff_2"},
                {"pag3.f_x", 0, false, "backbone.pag_1.f_p"},
                {"pag3.f_y", 0, false, "backbone.pag_1.f_i"},
                {"pag4.f_x", 0, false, "backbone.pag_2.f_p"},
                {"pag4.f_y", 0, false, "backbone.pag_2.f_i"},
                {"dfm.conv_p", 0, false, "backbone.dfm.f_p"},
                {"dfm.conv_i", 0, false, "backbone.dfm.f_i"},
                {"spp.scale_process", 0, true, "backbone.spp.processes"}},
      .rest = {{"final_layer.bn1", "decode_head.i_head.conv.bn"},
               {"final_layer.conv1", "decode_head.i_head.conv.conv"},
               {"final_layer.bn2", "decode_head.i_head.norm"},
               {"final_layer.conv2", "decode_head.conv_seg"}},
  }));
}

NetworkEntry network(std::string name, std::string_view summary, std::string_view published,
                     int width) {
  return {
      .name = std::move(name),
      .summary = summary,
      .minimum_size = 64,
      .build = [width](const NetworkSpec& spec, Shape input) { return build(width, spec, input); },
      .family = NetworkFamily::authors,
      .published = published,
      .layer_names = other_names(),
      // What is trained as a classifier on ImageNet: not the branch of edges.
      .parts = {.encoder = {"conv1.", "layer1.", "layer2.", "layer3.", "layer4.", "layer5.",
                            "layer3_.", "layer4_.", "layer5_.", "compression", "pag"},
                .head = {"final_layer."},
                .auxiliary = {"seghead_p.", "seghead_d."}}};
}

}  // namespace

std::vector<NetworkEntry> pidnet_networks() {
  return {network("pidnet_s", "PIDNet-S, branches of detail, context and edges", "78.8 (Xu et al.)",
                  32),
          network("pidnet_m", "PIDNet-M, twice as wide", "79.9 (Xu et al.)", 64)};
}

}  // namespace macadam
