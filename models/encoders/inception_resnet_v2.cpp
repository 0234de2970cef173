// Inception-ResNet-v2 (Szegedy et al., 2017), named as in Cadene's pretrained-models.pytorch, with
// the paddings and taps of segmentation_models.pytorch.

#include "models/encoders/inception.h"

namespace macadam {

namespace {

class Body : public InceptionBuilder {
 public:
  using InceptionBuilder::InceptionBuilder;

  Value mixed_5b(Value x, const std::string& name) const {
    return concat({conv(x, name + ".branch0", {96}),
                   branch(x, name + ".branch1", {{48}, {64, 5, 5}}),
                   branch(x, name + ".branch2", {{64}, {96, 3, 3}, {96, 3, 3}}),
                   pooled_branch(x, name + ".branch3", 64)});
  }

  Value block35(Value x, const std::string& name) const {
    const Value y =
        concat({conv(x, name + ".branch0", {32}), branch(x, name + ".branch1", {{32}, {32, 3, 3}}),
                branch(x, name + ".branch2", {{32}, {48, 3, 3}, {64, 3, 3}})});
    return g_.relu(residual(x, y, name, 0.17f));
  }

  Value mixed_6a(Value x, const std::string& name) const {
    return concat({conv(x, name + ".branch0", {384, 3, 3, 2}),
                   branch(x, name + ".branch1", {{256}, {256, 3, 3}, {384, 3, 3, 2}}),
                   max_pool(x)});
  }

  Value block17(Value x, const std::string& name) const {
    const Value y = concat({conv(x, name + ".branch0", {192}),
                            branch(x, name + ".branch1", {{128}, {160, 1, 7}, {192, 7, 1}})});
    return g_.relu(residual(x, y, name, 0.10f));
  }

  Value mixed_7a(Value x, const std::string& name) const {
    return concat({branch(x, name + ".branch0", {{256}, {384, 3, 3, 2}}),
                   branch(x, name + ".branch1", {{256}, {288, 3, 3, 2}}),
                   branch(x, name + ".branch2", {{256}, {288, 3, 3}, {320, 3, 3, 2}}),
                   max_pool(x)});
  }

  /// Without the activation behind it, which the last one lacks.
  Value block8(Value x, const std::string& name, float scale) const {
    const Value y = concat({conv(x, name + ".branch0", {192}),
                            branch(x, name + ".branch1", {{192}, {224, 1, 3}, {256, 3, 1}})});
    return residual(x, y, name, scale);
  }

 private:
  /// x + scale * conv2d(branches): a 1x1 convolution with a bias and no batch norm (section 3.3).
  Value residual(Value x, Value branches, const std::string& name, float scale) const {
    ConvLayer layer = plain_conv(g_.shape(x).c, 1);
    layer.bias = true;
    return g_.add(x, g_.conv(branches, name + ".conv2d", layer), scale);
  }
};

/// The taps are the image, conv2d_2b, conv2d_4a, the ends of repeat and repeat_1, and conv2d_7b:
/// 64, 192, 320, 1088 and 1536 channels.
Features inception_resnet_v2(Graph& g, Value image, const std::string& prefix) {
  const Body body(g);
  const auto each = [&](const char* repeat, int times, auto block) {
    for (int i = 0; i < times; ++i) block(fmt::format("{}{}.{}", prefix, repeat, i));
  };
  Features features{image};
  Value x = body.conv(image, prefix + "conv2d_1a", {32, 3, 3, 2});
  x = body.conv(x, prefix + "conv2d_2a", {32, 3, 3});
  x = body.conv(x, prefix + "conv2d_2b", {64, 3, 3});
  features.push_back(x);
  x = body.conv(body.max_pool(x), prefix + "conv2d_3b", {80});
  x = body.conv(x, prefix + "conv2d_4a", {192, 3, 3});
  features.push_back(x);
  x = body.mixed_5b(body.max_pool(x), prefix + "mixed_5b");
  each("repeat", 10, [&](const std::string& name) { x = body.block35(x, name); });
  features.push_back(x);
  x = body.mixed_6a(x, prefix + "mixed_6a");
  each("repeat_1", 20, [&](const std::string& name) { x = body.block17(x, name); });
  features.push_back(x);
  x = body.mixed_7a(x, prefix + "mixed_7a");
  each("repeat_2", 9, [&](const std::string& name) { x = g.relu(body.block8(x, name, 0.20f)); });
  x = body.block8(x, prefix + "block8", 1);
  features.push_back(body.conv(x, prefix + "conv2d_7b", {1536}));
  return features;
}

}  // namespace

std::vector<Encoder> inception_resnet_v2_encoders() {
  EncoderNames cadene = own_names("Cadene, timm");
  cadene.normalization = kMinusOneToOne;
  return {{.name = "inception_resnet_v2",
           .summary = "Inception-ResNet-v2 encoder, scaled residuals",
           .features = [](Graph& g, Value image, const std::string& prefix,
                          const NetworkSpec&) { return inception_resnet_v2(g, image, prefix); },
           .names = {std::move(cadene)},
           .normalization = kMinusOneToOne}};
}

}  // namespace macadam
