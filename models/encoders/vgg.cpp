#include "models/encoders/vgg.h"

#include <fmt/format.h>

#include <array>

#include "models/encoders/encoder.h"
#include "models/unet_decoder.h"

namespace macadam {

namespace {

/// The taps are the ReLU outputs before each pooling, 64, 128, 256, 512 and 512 channels, and the
/// last pooling's output (/32); the tap at /1 has the first 64 channels in place of the image.
Features vgg16(Graph& g, Value image, const std::string& prefix, bool batch_norm) {
  struct Block {
    int channels, convs;
  };
  constexpr std::array<Block, 5> kBlocks{{{64, 2}, {128, 2}, {256, 3}, {512, 3}, {512, 3}}};

  Features features;
  Value x = image;
  int index = 0;  // torchvision numbers every layer of nn.Sequential
  for (const Block& block : kBlocks) {
    for (int i = 0; i < block.convs; ++i) {
      ConvLayer conv;
      conv.out_channels = block.channels;
      x = g.conv(x, fmt::format("{}features.{}", prefix, index++), conv);
      if (batch_norm) x = g.batch_norm(x, fmt::format("{}features.{}", prefix, index++));
      x = g.relu(x);
      ++index;
    }
    features.push_back(x);
    x = g.max_pool(x);
    ++index;
  }
  features.push_back(x);
  return features;
}

/// torchvision's classifier upon the features of a 224x224 image.
Value vgg16_head(Graph& g, Value pooled, const std::string& prefix, int classes) {
  const Shape shape = g.shape(pooled);
  if (shape.h != 7 || shape.w != 7) {
    throw InputError("the VGG16 classifier takes images of 224x224", "size", "use 224x224");
  }
  // A fully connected layer over 7x7 pixels is a convolution with a 7x7 kernel.
  ConvLayer full = plain_conv(4096, 7);
  full.padding = {};
  full.bias = true;
  Value x = g.dropout(g.relu(g.conv(pooled, prefix + "classifier.0", full)), 0.5f);
  full.kernel_h = full.kernel_w = 1;
  x = g.dropout(g.relu(g.conv(x, prefix + "classifier.3", full)), 0.5f);
  full.out_channels = classes;
  return g.conv(x, prefix + "classifier.6", full);
}

/// "block2_conv1" of "features.5" in torchvision's vgg16.
std::optional<std::string> keras_layer(std::string_view layer) {
  constexpr std::array<LayerName, 13> kLayers{{{"features.0", "block1_conv1"},
                                               {"features.2", "block1_conv2"},
                                               {"features.5", "block2_conv1"},
                                               {"features.7", "block2_conv2"},
                                               {"features.10", "block3_conv1"},
                                               {"features.12", "block3_conv2"},
                                               {"features.14", "block3_conv3"},
                                               {"features.17", "block4_conv1"},
                                               {"features.19", "block4_conv2"},
                                               {"features.21", "block4_conv3"},
                                               {"features.24", "block5_conv1"},
                                               {"features.26", "block5_conv2"},
                                               {"features.28", "block5_conv3"}}};
  return look_up(kLayers, layer);
}

Encoder encoder(std::string name, std::string_view summary, bool batch_norm) {
  return {
      .name = std::move(name),
      .summary = summary,
      .features = [batch_norm](Graph& g, Value image, const std::string& prefix,
                               const NetworkSpec&) { return vgg16(g, image, prefix, batch_norm); },
      .before_decoder =
          [](Graph& g, Features& features, const std::string&) {
            features.back() = unet_center(g, features.back());
          },
      .names = {own_names("torchvision")}};
}

}  // namespace

std::vector<Encoder> vgg_encoders() {
  std::vector<Encoder> made{
      encoder("vgg16", "VGG16 encoder", false),
      encoder("vgg16_bn", "VGG16 encoder with batch norm", true),
  };
  made[0].classify = [](Graph& g, const Features& features, const NetworkSpec& spec) {
    return vgg16_head(g, features.back(), "", spec.classes);
  };
  made[0].classifier_summary = "classifier of 224x224 images";
  made[0].names.push_back({.tool = std::string(kKerasVgg),
                           .layer = keras_layer,
                           .keras = true,
                           .normalization = kKerasVggImages});
  return made;
}

}  // namespace macadam
