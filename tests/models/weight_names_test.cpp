// The names that other tools give to the networks' tensors, against lists written by those tools
// (tests/golden/make_network_goldens.py).

#include "models/weight_names.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <optional>
#include <set>
#include <sstream>

#include "tests/paths.h"

using namespace macadam;

namespace {

/// A list of "name<TAB>extents" lines, of Keras' "name<TAB>extents<TAB>our name": tensors with
/// their number of elements, in order.
struct TensorList {
  std::vector<WeightTensor> tensors;
  std::map<std::string, int64_t> elements;
  std::map<std::string, std::string> ours;
};

TensorList read_list(const std::string& list) {
  std::ifstream file(source_path("tests/golden/names/" + list + ".txt"));
  TensorList out;
  for (std::string line; std::getline(file, line);) {
    const size_t tab = line.find('\t');
    const size_t second_tab = std::min(line.find('\t', tab + 1), line.size());
    std::istringstream extents(line.substr(tab + 1, second_tab - tab - 1));
    WeightTensor tensor{line.substr(0, tab), {}};
    if (second_tab < line.size()) out.ours[tensor.name] = line.substr(second_tab + 1);
    for (std::string extent; std::getline(extents, extent, 'x');) {
      tensor.shape.push_back(std::stoll(extent));
    }
    out.elements[tensor.name] = elements(tensor.shape);
    out.tensors.push_back(std::move(tensor));
  }
  return out;
}

struct Case {
  std::string list, network, scheme;
  std::map<std::string, std::string> options{};
};

std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.list; }

class WeightNames : public ::testing::TestWithParam<Case> {};

TEST_P(WeightNames, CoverTheToolsOwnList) {
  const Case& c = GetParam();
  const TensorList list = read_list(c.list);
  ASSERT_GT(list.tensors.size(), 20u);
  const NetworkEntry& entry = find_network(c.network);
  const Graph graph = build_network({c.network, 8, c.options}, {1, 64, 64, 3});
  const std::vector<WeightScheme> schemes = weight_schemes(entry, graph, list.tensors);
  const auto scheme = std::find_if(schemes.begin(), schemes.end(), [&](const WeightScheme& s) {
    return s.name.starts_with(c.scheme);
  });
  ASSERT_NE(scheme, schemes.end());

  std::set<std::string> used;
  for (const ParameterSpec& p : graph.parameters()) {
    const auto source = scheme->source.find(p.name);
    if (source == scheme->source.end()) {
      EXPECT_TRUE(part_of(entry, p) != WeightPart::encoder || p.role == ParameterRole::fixed_scale)
          << p.name << " has no name in this scheme";
      continue;
    }
    const auto found = list.elements.find(source->second);
    if (found == list.elements.end() && scheme->zeros.contains(p.name)) continue;
    if (found == list.elements.end()) {
      ADD_FAILURE() << p.name << ": no " << source->second << " in the list";
      continue;
    }
    EXPECT_EQ(found->second, p.shape.elements()) << p.name;
    if (!list.ours.empty()) {
      EXPECT_EQ(list.ours.at(source->second), p.name);
    }
    EXPECT_TRUE(used.insert(source->second).second) << source->second << " serves twice";
  }
  for (const WeightTensor& tensor : list.tensors) {
    const std::string& name = tensor.name;
    const bool classifier =
        std::ranges::any_of(std::array{"fc.", "_fc.", "classif", "conv_head.", "last_linear."},
                            [&](const char* start) { return name.starts_with(start); });
    EXPECT_TRUE(used.count(name) == 1 || classifier) << name << " is not used";
  }
}

constexpr const char* kSmp = "segmentation_models.pytorch";
constexpr const char* kSmpTimm = "segmentation_models.pytorch (tu-)";
constexpr const char* kUnnamed = "Keras, which named layers itself";
const std::map<std::string, std::string> kAuxiliary{{"auxiliary", "0.4"}};

INSTANTIATE_TEST_SUITE_P(
    Tools, WeightNames,
    ::testing::Values(
        Case{"smp_vgg16_unet", "vgg16_unet", kSmp},                      //
        Case{"smp_vgg16_bn_unet", "vgg16_bn_unet", kSmp},                //
        Case{"smp_resnet18_unet", "resnet18_unet", kSmp},                //
        Case{"smp_resnet34_unet", "resnet34_unet", kSmp},                //
        Case{"smp_resnet50_unet", "resnet50_unet", kSmp},                //
        Case{"smp_se_resnet50_unet", "se_resnet50_unet", kSmp},          //
        Case{"smp_mobilenet_v2_unet", "mobilenet_v2_unet", kSmp},        //
        Case{"smp_efficientnet_b0_unet", "efficientnet_b0_unet", kSmp},  //
        Case{"smp_efficientnet_b3_unet", "efficientnet_b3_unet", kSmp},  //
        Case{"smp_mobilenet_v1_unet", "mobilenet_v1_unet", kSmp},
        Case{"smp_xception_unet", "xception_unet", kSmp},
        Case{"smp_inception_v4_unet", "inception_v4_unet", kSmp},
        Case{"smp_inception_resnet_v2_unet", "inception_resnet_v2_unet", kSmp},
        Case{"smp_mobilenet_v3_large_unet", "mobilenet_v3_large_unet", kSmp},
        Case{"smp_mobilenet_v3_small_unet", "mobilenet_v3_small_unet", kSmp},
        Case{"torchvision_vgg16", "vgg16_unet", "torchvision"},        //
        Case{"torchvision_vgg16_bn", "vgg16_bn_unet", "torchvision"},  //
        Case{"torchvision_resnet18", "resnet18_unet", "torchvision"},  //
        Case{"torchvision_resnet34", "resnet34_unet", "torchvision"},  //
        Case{"torchvision_resnet50", "resnet50_unet", "torchvision"},  //
        Case{"torchvision_mobilenet_v2", "mobilenet_v2_unet", "torchvision"},
        Case{"torchvision_mobilenet_v3_large", "mobilenet_v3_large_unet", "torchvision"},
        Case{"torchvision_mobilenet_v3_small", "mobilenet_v3_small_unet", "torchvision"},
        Case{"torchvision_efficientnet_b0", "efficientnet_b0_unet", "torchvision"},
        Case{"torchvision_efficientnet_b3", "efficientnet_b3_unet", "torchvision"},
        Case{"efficientnet_pytorch_b0", "efficientnet_b0_unet", "efficientnet_pytorch"},
        Case{"efficientnet_pytorch_b3", "efficientnet_b3_unet", "efficientnet_pytorch"},
        Case{"efficientnet_pytorch_lite0", "efficientnet_lite0_unet", "efficientnet_pytorch"},
        Case{"efficientnet_pytorch_lite2", "efficientnet_lite2_unet", "efficientnet_pytorch"},
        Case{"timm_tf_efficientnet_lite2", "efficientnet_lite2_unet", "timm"},
        Case{"timm_mobilenetv1_100", "mobilenet_v1_unet", "timm"},
        Case{"timm_legacy_xception", "xception_unet", "Cadene"},
        Case{"timm_inception_v4", "inception_v4_unet", "Cadene"},
        Case{"timm_inception_resnet_v2", "inception_resnet_v2_unet", "Cadene"},
        Case{"timm_mobilenetv3_large_100", "mobilenet_v3_large_unet", "timm"},
        Case{"timm_mobilenetv3_small_100", "mobilenet_v3_small_unet", "timm"},
        Case{"timm_tf_efficientnet_b0", "efficientnet_b0_unet", "timm"},
        Case{"timm_tf_efficientnet_b3", "efficientnet_b3_unet", "timm"},
        Case{"timm_tf_efficientnet_lite0", "efficientnet_lite0_unet", "timm"},
        Case{"smp_resnet101_unet", "resnet101_unet", kSmp},
        Case{"smp_resnext50_32x4d_unet", "resnext50_32x4d_unet", kSmp},
        Case{"smp_tu_resnext50_32x4d_unet", "resnext50_32x4d_unet", kSmpTimm},
        Case{"torchvision_resnet101", "resnet101_unet", "torchvision"},
        Case{"torchvision_resnext50_32x4d", "resnext50_32x4d_unet", "torchvision"},
        Case{"timm_resnext50_32x4d", "resnext50_32x4d_unet", "torchvision"},
        Case{"smp_se_resnext50_32x4d_unet", "se_resnext50_32x4d_unet", kSmp},
        Case{"timm_legacy_seresnext50_32x4d", "se_resnext50_32x4d_unet", "Cadene"},
        Case{"timm_seresnext50_32x4d", "se_resnext50_32x4d_unet", "timm"},
        Case{"smp_densenet121_unet", "densenet121_unet", kSmp},
        Case{"smp_tu_densenet121_unet", "densenet121_unet", kSmpTimm},
        Case{"torchvision_densenet121", "densenet121_unet", "torchvision and timm"},
        Case{"torchvision_densenet121_file", "densenet121_unet", "torchvision (its files)"},
        Case{"timm_densenet121", "densenet121_unet", "torchvision and timm"},
        Case{"timm_legacy_seresnet50", "se_resnet50_unet", "Cadene"},
        Case{"timm_seresnet50", "se_resnet50_unet", "timm"},
        Case{"smp_tu_seresnet50_unet", "se_resnet50_unet", kSmpTimm},
        Case{"authors_ddrnet23_slim", "ddrnet23_slim", "its authors", kAuxiliary},
        Case{"authors_ddrnet39", "ddrnet39", "its authors", kAuxiliary},
        Case{"authors_pidnet_s", "pidnet_s", "its authors", kAuxiliary},
        Case{"authors_fast_scnn", "fast_scnn", "its authors", kAuxiliary},
        Case{"authors_gcnet_s", "gcnet_s", "its authors", kAuxiliary},
        Case{"authors_swiftnet_rn18", "swiftnet_rn18", "its authors"},
        Case{"torchvision_resnet18", "swiftnet_rn18", "torchvision"},
        Case{"mmsegmentation_ddrnet23_slim", "ddrnet23_slim", "mmsegmentation", kAuxiliary},
        Case{"mmsegmentation_pidnet_s", "pidnet_s", "mmsegmentation"},
        Case{"keras_resnet34_unet", "keras_resnet34_unet", "Keras"},
        Case{"keras_efficientnet_b0_unet", "keras_efficientnet_b0_unet", "Keras"},
        Case{"keras_vgg16_unet", "keras_vgg16_unet", "Keras"},
        Case{"keras_mobilenet_unet", "keras_mobilenet_unet", "Keras"},
        Case{"keras_mobilenetv2_unet", "keras_mobilenetv2_unet", "Keras"},
        Case{"keras_densenet121_unet", "keras_densenet121_unet", "Keras"},
        Case{"keras_seresnet50_unet", "keras_seresnet50_unet", kUnnamed},
        Case{"keras_inceptionv3_unet", "keras_inceptionv3_unet", kUnnamed},
        Case{"keras_inceptionresnetv2_unet", "keras_inceptionresnetv2_unet", kUnnamed}),
    [](const auto& tested) { return tested.param.list + "_for_" + tested.param.network; });

TEST(WeightNamesByOrder, FollowTheFileWhateverTheNumbers) {
  const NetworkEntry& entry = find_network("keras_unet");
  const Graph graph = build_network({"keras_unet", 8, {}}, {1, 64, 64, 3});
  // Four encoder, four decoder convolutions and the head, which is one for other classes.
  constexpr std::array<int64_t, 9> inputs{3, 64, 128, 256, 256, 768, 384, 192, 64};
  constexpr std::array<int64_t, 9> outputs{64, 128, 256, 256, 512, 256, 128, 64, 51};
  std::vector<WeightTensor> tensors;
  for (size_t i = 0; i < 9; ++i) {
    const std::string number = std::to_string(i + 31);
    const std::string conv = i == 7 ? "seg_feats" : "conv2d_" + number;
    tensors.push_back({conv + "/kernel", {3, 3, inputs[i], outputs[i]}});
    tensors.push_back({conv + "/bias", {outputs[i]}});
    if (i == 8) break;
    tensors.push_back({"batch_normalization_" + number + "/gamma", {outputs[i]}});
    tensors.push_back({"batch_normalization_" + number + "/beta", {outputs[i]}});
  }
  const std::vector<WeightScheme> schemes = weight_schemes(entry, graph, tensors);
  ASSERT_EQ(schemes.size(), 2u);
  const auto& source = schemes[1].source;
  EXPECT_EQ(source.at("encoder.conv1.weight"), "conv2d_31/kernel");
  EXPECT_EQ(source.at("encoder.bn4.weight"), "batch_normalization_34/gamma");
  EXPECT_EQ(source.at("encoder.bn4.running_var"), "batch_normalization_34/moving_variance");
  EXPECT_EQ(source.at("decoder.conv1.bias"), "conv2d_35/bias");
  EXPECT_EQ(source.at("decoder.conv4.bias"), "seg_feats/bias");
  EXPECT_EQ(source.at("decoder.bn4.bias"), "batch_normalization_38/beta");
  EXPECT_EQ(source.at("head.conv.weight"), "conv2d_39/kernel");
}

/// The scheme of that name, if there is one.
std::optional<WeightScheme> scheme_of(const std::string& network, const std::string& name,
                                      std::span<const WeightTensor> tensors) {
  const Graph graph = build_network({network, 8, {}}, {1, 64, 64, 3});
  for (const WeightScheme& scheme : weight_schemes(find_network(network), graph, tensors)) {
    if (scheme.name == name) return scheme;
  }
  return std::nullopt;
}

/// The list with other layers' names. `ours` are the parameters by these.
TensorList renamed(
    const TensorList& list,
    const std::function<std::string(const std::string& layer, const std::string& kind)>& rename) {
  TensorList out;
  for (const WeightTensor& tensor : list.tensors) {
    const size_t slash = tensor.name.rfind('/');
    const std::string layer = tensor.name.substr(0, slash), kind = tensor.name.substr(slash + 1);
    const std::string name = rename(layer, kind);
    out.tensors.push_back({name, tensor.shape});
    out.ours[name] = list.ours.at(tensor.name);
  }
  return out;
}

/// As a .weights.h5 gives it that knows no names: "conv2d", "conv2d_1", ... in the order of the
/// layers.
TensorList without_names(const TensorList& list) {
  std::map<std::string, int> numbers;
  std::map<std::string, std::string> layers;
  return renamed(list, [&](const std::string& layer, const std::string& kind) {
    if (layers.count(layer) == 0) {
      const std::string base = kind == "kernel"             ? "conv2d"
                               : kind == "depthwise_kernel" ? "depthwise_conv2d"
                                                            : "batch_normalization";
      const int number = numbers[base]++;
      layers[layer] = number == 0 ? base : base + "_" + std::to_string(number);
    }
    return layers[layer] + "/" + kind;
  });
}

void expect_found(const TensorList& list, const std::optional<WeightScheme>& scheme) {
  ASSERT_TRUE(scheme);
  for (const auto& [name, parameter] : list.ours) {
    const auto found = scheme->source.find(parameter);
    ASSERT_NE(found, scheme->source.end()) << parameter;
    EXPECT_EQ(found->second, name) << parameter;
  }
}

class KerasLists : public ::testing::TestWithParam<std::string> {
 protected:
  std::string network_ = "keras_" + GetParam() + "_unet";
  TensorList list_ = read_list(network_);
};

TEST_P(KerasLists, AreFoundWhereKerasNamedAllLayersItself) {
  const TensorList unnamed = without_names(list_);
  const auto scheme = scheme_of(network_, kUnnamed, unnamed.tensors);
  expect_found(unnamed, scheme);
  EXPECT_EQ(scheme->normalization, find_network(network_).normalization);
  // One layer less, or more, is another network.
  const auto less = std::span(unnamed.tensors).first(unnamed.tensors.size() - 12);
  EXPECT_FALSE(scheme_of(network_, kUnnamed, less));
  const auto later = std::span(unnamed.tensors).last(unnamed.tensors.size() - 2);
  EXPECT_FALSE(scheme_of(network_, kUnnamed, later));
  std::vector<WeightTensor> more = unnamed.tensors;
  more.push_back({"conv2d_900/kernel", {5, 5, 7, 7}});
  more.push_back({"conv2d_901/kernel", {5, 5, 7, 7}});
  EXPECT_FALSE(scheme_of(network_, kUnnamed, more));
}

TEST_P(KerasLists, AreFoundWhereTheFileHasTheEncoderAlone) {
  TensorList encoder;
  const TensorList unnamed = without_names(list_);
  for (const WeightTensor& tensor : unnamed.tensors) {
    const std::string& ours = unnamed.ours.at(tensor.name);
    if (part_of(find_network(network_), {.name = ours, .shape = {}}) != WeightPart::encoder)
      continue;
    encoder.tensors.push_back(tensor);
    encoder.ours[tensor.name] = ours;
  }
  expect_found(encoder, scheme_of(network_, kUnnamed, encoder.tensors));
}

INSTANTIATE_TEST_SUITE_P(Keras, KerasLists,
                         ::testing::Values("resnet34", "efficientnet_b0", "vgg16", "mobilenet",
                                           "mobilenetv2", "densenet121", "seresnet50",
                                           "inceptionv3", "inceptionresnetv2"),
                         [](const auto& tested) { return tested.param; });

// Of a process that had made other networks before, or of a Keras that begins with "conv2d".
TEST(WeightNamesByOrder, FollowTheNumbersAndNotTheFileWhereKerasCounted) {
  for (const int first : {0, 95}) {
    const TensorList list = read_list("keras_inceptionresnetv2_unet");
    const TensorList counted =
        renamed(list, [&](const std::string& layer, const std::string& kind) {
          const size_t digits = layer.rfind('_') + 1;
          const bool automatic =
              layer.starts_with("conv2d_") || layer.starts_with("batch_normalization_");
          if (!automatic) return layer + "/" + kind;
          const int number = std::stoi(layer.substr(digits)) - 1 + first;
          const std::string base = layer.substr(0, digits - 1);
          return base + (number == 0 ? "" : "_" + std::to_string(number)) + "/" + kind;
        });
    expect_found(counted, scheme_of("keras_inceptionresnetv2_unet", kUnnamed, counted.tensors));
  }
}

// Keras 3 calls the kernel of a depthwise convolution "kernel" in an .h5.
TEST(WeightNames, OfDepthwiseKernelsInKeras3) {
  const auto as_keras3 = [](const TensorList& list) {
    return renamed(list, [](const std::string& layer, const std::string& kind) {
      return layer + "/" + (kind == "depthwise_kernel" ? "kernel" : kind);
    });
  };
  const TensorList list = read_list("keras_mobilenet_unet");
  const TensorList named = as_keras3(list), unnamed = as_keras3(without_names(list));
  expect_found(named, scheme_of("keras_mobilenet_unet", "Keras", named.tensors));
  expect_found(unnamed, scheme_of("keras_mobilenet_unet", kUnnamed, unnamed.tensors));
}

TEST(WeightNamesByOrder, KeepLayersWithNamesOfTheirOwn) {
  const NetworkEntry& entry = find_network("keras_vgg_unet");
  const Graph graph = build_network({"keras_vgg_unet", 8, {}}, {1, 64, 64, 3});
  const std::vector<WeightTensor> tensors{{"block1_conv1/kernel", {3, 3, 3, 64}},
                                          {"conv2d/kernel", {3, 3, 512, 512}},
                                          {"batch_normalization/gamma", {512}},
                                          {"conv2d_1/kernel", {3, 3, 768, 256}}};
  const WeightScheme scheme = weight_schemes(entry, graph, tensors)[1];
  const auto& source = scheme.source;
  EXPECT_EQ(source.at("encoder.block1_conv1.weight"), "block1_conv1/kernel");
  EXPECT_EQ(source.at("encoder.block4_conv3.bias"), "block4_conv3/bias");
  EXPECT_EQ(source.at("decoder.conv1.weight"), "conv2d/kernel");
  EXPECT_EQ(source.at("decoder.conv2.weight"), "conv2d_1/kernel");
  EXPECT_EQ(source.at("decoder.bn1.weight"), "batch_normalization/gamma");
  EXPECT_FALSE(scheme.normalization.bgr);
}

TEST(WeightNamesByOrder, TakeNoLayersOfAnotherNetwork) {
  const NetworkEntry& entry = find_network("keras_vgg_unet");
  const Graph graph = build_network({"keras_vgg_unet", 8, {}}, {1, 64, 64, 3});
  const std::vector<WeightTensor> tensors{{"block1_conv1/kernel", {3, 3, 3, 64}},
                                          {"conv2d/kernel", {3, 3, 512, 512}},
                                          {"conv2d_1/kernel", {1, 1, 128, 1}}};
  const WeightScheme scheme = weight_schemes(entry, graph, tensors)[1];
  const auto& source = scheme.source;
  EXPECT_EQ(source.at("encoder.block1_conv1.weight"), "block1_conv1/kernel");
  EXPECT_EQ(source.count("decoder.conv1.weight"), 0u);
  EXPECT_EQ(source.count("decoder.conv2.weight"), 0u);
  EXPECT_TRUE(scheme.normalization.bgr) << "VGG16's own";
}

TEST(WeightParts, AreToldByTheName) {
  const auto part = [](const char* network, const char* parameter) {
    return part_of(find_network(network), {.name = parameter, .shape = {}});
  };
  EXPECT_EQ(part("resnet18_unet", "encoder.conv1.weight"), WeightPart::encoder);
  EXPECT_EQ(part("resnet18_unet", "decoder.blocks.0.conv1.0.weight"), WeightPart::decoder);
  EXPECT_EQ(part("resnet18_unet", "segmentation_head.0.bias"), WeightPart::head);
  EXPECT_EQ(part("resnet18_unet", "auxiliary.head.weight"), WeightPart::head);
  EXPECT_EQ(part("unet", "head.weight"), WeightPart::head);
  EXPECT_EQ(part("unet", "down1.conv1.weight"), WeightPart::decoder);
  EXPECT_EQ(part("ddrnet23", "down4.0.weight"), WeightPart::encoder);
  EXPECT_EQ(part("ddrnet23", "layer3_.0.bn1.running_mean"), WeightPart::encoder);
  EXPECT_EQ(part("ddrnet23", "spp.shortcut.2.weight"), WeightPart::decoder);
  EXPECT_EQ(part("ddrnet23", "final_layer.conv1.weight"), WeightPart::head);
  EXPECT_EQ(part("ddrnet23", "seghead_extra.bn1.weight"), WeightPart::head);
}

}  // namespace
