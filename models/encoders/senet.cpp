// SE-ResNet and SE-ResNeXt (Hu et al., 2018): residual bottlenecks with squeeze and excitation
// before the addition. Named as in Cadene's pretrained-models.pytorch and
// segmentation_models.pytorch.

#include <fmt/format.h>

#include <array>

#include "base/to_size.h"
#include "models/encoders/encoder.h"

namespace macadam {

namespace {

struct SENetVariant {
  std::array<int, 4> blocks;
  int groups = 1, group_width = 64;  // of the 3x3 convolutions; group_width in the first stage
  bool strides_first = false;        // in caffe's layout: the 1x1 convolution before has the stride
};

constexpr std::array<NetworkOption, 1> kOptions{{
    {"layout", "caffe",
     "caffe (Cadene, segmentation_models.pytorch): SE-ResNet's stride lies on a block's first "
     "convolution, and the max pooling has no padding; torch (timm's seresnet50, seresnext50): "
     "the stride lies on the 3x3 convolution, and the max pooling is padded"},
}};

bool is_caffe(const NetworkSpec& spec) {
  constexpr std::array<std::string_view, 2> kLayouts{"caffe", "torch"};
  return choice_option(spec, kOptions[0], kLayouts) == 0;
}

/// The network under construction.
class Body {
 public:
  Body(Graph& g, const SENetVariant& variant, bool caffe)
      : g_(g), variant_(variant), caffe_(caffe) {}

  Value max_pool(Value x) const {
    PoolDesc pool{.kernel_h = 3, .kernel_w = 3};
    pool.ceil_mode = caffe_;
    if (!caffe_) pool.padding = Padding::all(1);
    return g_.max_pool(x, pool);
  }

  /// 1x1, 3x3 and a wider 1x1 convolution, gates, and the shortcut.
  Value block(Value x, const std::string& name, int stage, int stride) const {
    const int width = (variant_.groups * variant_.group_width) << stage, out = 256 << stage;
    const bool first = caffe_ && variant_.strides_first;
    Value y = g_.relu(
        conv_norm(g_, x, name + ".conv1", name + ".bn1", plain_conv(width, 1, first ? stride : 1)));
    ConvLayer grouped = plain_conv(width, 3, first ? 1 : stride);
    grouped.groups = variant_.groups;
    y = g_.relu(conv_norm(g_, y, name + ".conv2", name + ".bn2", grouped));
    y = conv_norm(g_, y, name + ".conv3", name + ".bn3", plain_conv(out, 1));
    y = squeeze_excite(y, name + ".se_module");
    Value shortcut = x;
    if (stride != 1 || g_.shape(x).c != out) {
      shortcut = conv_norm(g_, x, name + ".downsample.0", name + ".downsample.1",
                           plain_conv(out, 1, stride));
    }
    return g_.relu(g_.add(y, shortcut));
  }

 private:
  Value squeeze_excite(Value x, const std::string& name) const {
    constexpr int kReduction = 16;
    ConvLayer conv = plain_conv(g_.shape(x).c / kReduction, 1);
    conv.bias = true;
    const Value squeezed = g_.relu(g_.conv(g_.global_average_pool(x), name + ".fc1", conv));
    conv.out_channels = g_.shape(x).c;
    const Value gates = g_.activation(g_.conv(squeezed, name + ".fc2", conv), Activation::sigmoid);
    return g_.scale(x, gates);
  }

  Graph& g_;
  const SENetVariant& variant_;
  bool caffe_;
};

/// The taps are the image, the first ReLU (64 channels at /2) and layer1 … layer4 (256 … 2048).
Features senet(Graph& g, Value image, const std::string& prefix, const SENetVariant& variant,
               bool caffe) {
  const Body body(g, variant, caffe);
  Features features{image};
  Value x = g.relu(
      conv_norm(g, image, prefix + "layer0.conv1", prefix + "layer0.bn1", plain_conv(64, 7, 2)));
  features.push_back(x);
  x = body.max_pool(x);
  for (int stage = 0; stage < 4; ++stage) {
    for (int block = 0; block < variant.blocks[to_size(stage)]; ++block) {
      x = body.block(x, fmt::format("{}layer{}.{}", prefix, stage + 1, block), stage,
                     stage > 0 && block == 0 ? 2 : 1);
    }
    features.push_back(x);
  }
  return features;
}

/// timm's: a stem without a name, and "se" for "se_module".
std::optional<std::string> timm_layer(std::string_view layer) {
  constexpr std::string_view kStem = "layer0.", kGates = ".se_module.";
  if (layer.starts_with(kStem)) return std::string(layer.substr(kStem.size()));
  const size_t gates = layer.find(kGates);
  if (gates == layer.npos) return std::string(layer);
  return fmt::format("{}.se.{}", layer.substr(0, gates), layer.substr(gates + kGates.size()));
}

Encoder encoder(std::string name, std::string_view summary, const SENetVariant& variant) {
  return {.name = std::move(name),
          .summary = summary,
          .options = kOptions,
          .features =
              [variant](Graph& g, Value image, const std::string& prefix, const NetworkSpec& spec) {
                return senet(g, image, prefix, variant, is_caffe(spec));
              },
          .names = {own_names("Cadene (timm legacy_)"),
                    {.tool = "timm",
                     .layer = timm_layer,
                     .options = {{"layout", "torch"}},
                     .unet_prefix = "encoder.model."}}};
}

}  // namespace

std::vector<Encoder> senet_encoders() {
  return {encoder("se_resnet50", "SE-ResNet50 encoder, bottlenecks with squeeze-excite",
                  {.blocks = {3, 4, 6, 3}, .strides_first = true}),
          encoder("se_resnext50_32x4d",
                  "SE-ResNeXt50 encoder, bottlenecks of 32 groups with squeeze-excite",
                  {.blocks = {3, 4, 6, 3}, .groups = 32, .group_width = 4})};
}

}  // namespace macadam
