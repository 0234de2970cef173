#include "models/encoder_unets.h"

#include <array>

#include "models/encoders/efficientnet.h"
#include "models/encoders/mobilenet_v2.h"
#include "models/encoders/resnet.h"
#include "models/encoders/vgg.h"
#include "models/unet_decoder.h"

namespace macadam {

namespace {

constexpr const char* kEncoder = "encoder.";

constexpr std::array<NetworkOption, 3> kEfficientNetOptions{{
    {"drop_connect", "0.2", "probability of dropping the last residual branch; earlier ones less"},
    {"padding", "fixed",
     "of depthwise convolutions: fixed (segmentation_models.pytorch), same (Keras, timm's tf_ "
     "models) or symmetric (torchvision)"},
    {"norm_eps", "1e-3", "epsilon of the encoder's batch norms; 1e-5 in torchvision's b0 to b4"},
}};
constexpr std::array<NetworkOption, 1> kExpandFirst{{
    {"expand_first", "false", "a 1x1 convolution 32 -> 32 before the first depthwise one"},
}};

template <bool batch_norm>
Graph vgg16_unet(const NetworkSpec& spec, Shape input) {
  Graph g(input);
  Features features = vgg16(g, g.input(), kEncoder, batch_norm);
  features.back() = unet_center(g, features.back());
  g.set_output(unet_decoder(g, features, smp_decoder(), spec.classes));
  return g;
}

template <const ResNetVariant& variant>
Graph resnet_unet(const NetworkSpec& spec, Shape input) {
  Graph g(input);
  const Features features = resnet(g, g.input(), kEncoder, variant);
  g.set_output(unet_decoder(g, features, smp_decoder(), spec.classes));
  return g;
}

/// "b0" of "efficientnet_b0_unet" or "efficientnet_b0".
std::string_view variant_of(std::string_view network) {
  network.remove_prefix(std::string_view("efficientnet_").size());
  return network.substr(0, network.find('_'));
}

EfficientNetOptions efficientnet_options(const NetworkSpec& spec) {
  constexpr std::array<std::string_view, 3> kPaddings{"fixed", "same", "symmetric"};
  EfficientNetOptions options;
  options.drop_connect = float_option(spec, kEfficientNetOptions[0], 0.0f, 0.9f);
  options.padding =
      static_cast<EfficientNetPadding>(choice_option(spec, kEfficientNetOptions[1], kPaddings));
  options.norm_eps = float_option(spec, kEfficientNetOptions[2], 1e-8f, 1.0f);
  return options;
}

Graph efficientnet_unet(const NetworkSpec& spec, Shape input) {
  const EfficientNetVariant& variant = efficientnet_variant(variant_of(spec.name));
  Graph g(input);
  const Features features =
      efficientnet(g, g.input(), kEncoder, variant, efficientnet_options(spec));
  carry_efficientnet_head(g, features.back(), kEncoder, variant);
  g.set_output(unet_decoder(g, features, smp_decoder(), spec.classes));
  return g;
}

Graph mobilenet_v2_unet(const NetworkSpec& spec, Shape input) {
  Graph g(input);
  const Features features =
      mobilenet_v2(g, g.input(), kEncoder, bool_option(spec, kExpandFirst[0]));
  g.set_output(unet_decoder(g, features, smp_decoder(), spec.classes));
  return g;
}

Graph vgg16_classifier(const NetworkSpec& spec, Shape input) {
  Graph g(input);
  const Features features = vgg16(g, g.input(), "", false);
  g.set_output(vgg16_head(g, features.back(), "", spec.classes));
  return g;
}

/// A fully connected layer upon the mean over the image.
Value pooled_head(Graph& g, Value x, const std::string& name, float dropout, int classes) {
  ConvLayer full = plain_conv(classes, 1);
  full.bias = true;
  x = g.global_average_pool(x);
  if (dropout > 0) x = g.dropout(x, dropout);
  return g.conv(x, name, full);
}

Graph resnet34_classifier(const NetworkSpec& spec, Shape input) {
  Graph g(input);
  const Features features = resnet(g, g.input(), "", kResNet34);
  g.set_output(pooled_head(g, features.back(), "fc", 0, spec.classes));
  return g;
}

Graph efficientnet_classifier(const NetworkSpec& spec, Shape input) {
  const EfficientNetVariant& variant = efficientnet_variant(variant_of(spec.name));
  Graph g(input);
  const EfficientNetOptions options = efficientnet_options(spec);
  const Features features = efficientnet(g, g.input(), "", variant, options);
  const Value top = efficientnet_head(g, features.back(), "", variant, options);
  g.set_output(pooled_head(g, top, "_fc", 0.2f, spec.classes));
  return g;
}

NetworkEntry entry(std::string_view name, std::string_view summary,
                   Graph (*build)(const NetworkSpec&, Shape),
                   std::span<const NetworkOption> options = {}) {
  return {.name = name,
          .summary = summary,
          .minimum_size = 32,
          .options = options,
          .build = build,
          .family = NetworkFamily::smp};
}

NetworkEntry classifier(std::string_view name, std::string_view summary,
                        Graph (*build)(const NetworkSpec&, Shape),
                        std::span<const NetworkOption> options = {}) {
  NetworkEntry made = entry(name, summary, build, options);
  made.task = Task::classification;
  return made;
}

}  // namespace

std::vector<NetworkEntry> encoder_unets() {
  constexpr std::string_view kEfficientNet = "EfficientNet encoder, squeeze-excite and SiLU";
  return {
      entry("vgg16_unet", "VGG16 encoder", vgg16_unet<false>),
      entry("vgg16_bn_unet", "VGG16 encoder with batch norm", vgg16_unet<true>),
      entry("resnet18_unet", "ResNet18 encoder", resnet_unet<kResNet18>),
      entry("resnet34_unet", "ResNet34 encoder", resnet_unet<kResNet34>),
      entry("resnet50_unet", "ResNet50 encoder, bottlenecks", resnet_unet<kResNet50>),
      entry("efficientnet_b0_unet", kEfficientNet, efficientnet_unet, kEfficientNetOptions),
      entry("efficientnet_b1_unet", kEfficientNet, efficientnet_unet, kEfficientNetOptions),
      entry("efficientnet_b2_unet", kEfficientNet, efficientnet_unet, kEfficientNetOptions),
      entry("efficientnet_b3_unet", kEfficientNet, efficientnet_unet, kEfficientNetOptions),
      entry("efficientnet_b4_unet", kEfficientNet, efficientnet_unet, kEfficientNetOptions),
      entry("efficientnet_b5_unet", kEfficientNet, efficientnet_unet, kEfficientNetOptions),
      entry("efficientnet_b6_unet", kEfficientNet, efficientnet_unet, kEfficientNetOptions),
      entry("efficientnet_b7_unet", kEfficientNet, efficientnet_unet, kEfficientNetOptions),
      entry("efficientnet_lite0_unet", "EfficientNet-Lite0 encoder, ReLU6, no squeeze-excite",
            efficientnet_unet, kEfficientNetOptions),
      entry("mobilenet_v2_unet", "MobileNetV2 encoder", mobilenet_v2_unet, kExpandFirst),
  };
}

std::vector<NetworkEntry> classifiers() {
  return {
      classifier("vgg16", "classifier of 224x224 images", vgg16_classifier),
      classifier("resnet34", "classifier", resnet34_classifier),
      classifier("efficientnet_b0", "classifier", efficientnet_classifier, kEfficientNetOptions),
  };
}

}  // namespace macadam
