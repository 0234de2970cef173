// Loading by name: what fits, what is missing, and what is of another network.

#include "models/weight_import.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ctime>
#include <functional>
#include <set>
#include <stdexcept>

#include "models/conversion.h"
#include "models/weights/hdf5_file.h"
#include "tests/base/temporary_folder.h"
#include "tests/models/rule_weights.h"
#include "tests/paths.h"

using namespace macadam;
using macadam::testing::rule_values;
using macadam::testing::TemporaryFolder;

namespace {

const NetworkSpec kMobileNet{"mobilenet_v2_unet", 8, {}};
constexpr Shape kImage{1, 64, 64, 3};

/// Tensors of a file under construction.
struct Tensors {
  std::map<std::string, ModelTensor> content;

  void write(const std::filesystem::path& path) const {
    std::map<std::string, StoredTensor> stored;
    for (const auto& [name, tensor] : content) {
      stored[name] = {StoredType::f32, tensor.shape, std::as_bytes(std::span(tensor.values))};
    }
    write_safetensors(path, stored, {});
  }
};

/// A network's parameters by the rule; `rename` gives their names in the file, or "" to leave one
/// out.
Tensors tensors_of(const NetworkSpec& spec,
                   const std::function<std::string(const std::string&)>& rename) {
  const Graph graph = build_network(spec, kImage);
  Tensors tensors;
  for (const ParameterSpec& p : graph.parameters()) {
    const std::string name = rename(p.name);
    if (!name.empty()) tensors.content[name] = {p.file_shape(), rule_values(p)};
  }
  return tensors;
}

std::string encoder_alone(const std::string& name) {
  return name.starts_with("encoder.") ? name.substr(8) : "";
}
std::string as_it_is(const std::string& name) { return name; }

class WeightImports : public ::testing::Test {
 protected:
  WeightImport load(const Tensors& tensors, const NetworkSpec& spec = kMobileNet,
                    bool partial = false) {
    tensors.write(file_);
    return WeightImport(file_, spec, build_network(spec, kImage), partial);
  }
  /// The message of the InputError that loading throws.
  std::string complaint(const Tensors& tensors, const NetworkSpec& spec = kMobileNet) {
    try {
      const WeightImport weights = load(tensors, spec);
      weights.for_each([](size_t, std::span<const float>, bool) {});
    } catch (const InputError& error) {
      const std::string message = error.what();
      EXPECT_EQ(message.find('\n'), std::string::npos) << message;
      EXPECT_NE(message.find("weights.safetensors"), std::string::npos) << message;
      return message;
    }
    ADD_FAILURE() << "no error";
    return {};
  }
  static bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  TemporaryFolder folder_;
  std::filesystem::path file_ = folder_ / "weights.safetensors";
};

TEST_F(WeightImports, AnEncoderLoadsByItsOwnNames) {
  Tensors tensors = tensors_of(kMobileNet, encoder_alone);
  tensors.content["classifier.1.bias"] = {{1000}, std::vector<float>(1000)};
  const WeightImport weights = load(tensors);
  const Graph graph = build_network(kMobileNet, kImage);
  size_t loaded = 0;
  weights.for_each([&](size_t i, std::span<const float> values, bool) {
    const std::vector<float> expected = rule_values(graph.parameters()[i]);
    ASSERT_TRUE(std::equal(values.begin(), values.end(), expected.begin(), expected.end()))
        << graph.parameters()[i].name;
    ++loaded;
  });
  const ImportReport& report = weights.report();
  EXPECT_EQ(loaded, report.encoder_loaded);
  EXPECT_EQ(loaded, tensors.content.size() - 1);
  EXPECT_EQ(report.scheme, "torchvision");
  EXPECT_EQ(report.decoder_loaded + report.head_loaded, 0u);
  EXPECT_EQ(report.missing.size(), graph.parameters().size() - loaded);
  EXPECT_EQ(report.unused, std::vector<std::string>{"classifier.1.bias"});
}

TEST_F(WeightImports, PrefixesOfOtherToolsAreSeenThrough) {
  for (const char* prefix : {"encoder.", "backbone."}) {
    const WeightImport weights = load(tensors_of(kMobileNet, [&](const std::string& name) {
      const std::string inside = encoder_alone(name);
      return inside.empty() ? "" : prefix + inside;
    }));
    EXPECT_GT(weights.report().encoder_loaded, 200u) << prefix;
  }
}

TEST_F(WeightImports, AnotherClassCountStartsTheHeadAnew) {
  const NetworkSpec nineteen{"mobilenet_v2_unet", 19, {}};
  const WeightImport weights = load(tensors_of(nineteen, as_it_is));
  EXPECT_EQ(weights.report().reinitialized,
            (std::vector<std::string>{"segmentation_head.0.weight", "segmentation_head.0.bias"}));
  EXPECT_TRUE(weights.report().missing.empty());
  EXPECT_TRUE(contains(weights.report().text(), "starts anew"));
}

TEST_F(WeightImports, AnIncompleteEncoderIsRefusedUnlessPartial) {
  const auto without_one = [](const std::string& name) {
    return name == "encoder.features.5.conv.0.0.weight" ? "" : encoder_alone(name);
  };
  const Tensors tensors = tensors_of(kMobileNet, without_one);
  const std::string message = complaint(tensors);
  EXPECT_TRUE(contains(message, "encoder is incomplete") &&
              contains(message, "'encoder.features.5.conv.0.0.weight'"))
      << message;
  EXPECT_GT(load(tensors, kMobileNet, true).report().encoder_loaded, 200u);
}

TEST_F(WeightImports, AnIncompleteDecoderIsRefused) {
  const Tensors tensors = tensors_of(kMobileNet, [](const std::string& name) {
    return name.starts_with("decoder.blocks.2") ? "" : name;
  });
  EXPECT_TRUE(contains(complaint(tensors), "decoder is incomplete"));
}

TEST_F(WeightImports, AnotherNetworkIsNamed) {
  const std::string other = complaint(tensors_of({"resnet18_unet", 8, {}}, encoder_alone));
  EXPECT_TRUE(contains(other, "look like resnet18_unet")) << other;
  const Tensors larger = tensors_of({"resnet34_unet", 8, {}}, encoder_alone);
  const std::string sister = complaint(larger, {"resnet18_unet", 8, {}});
  EXPECT_TRUE(contains(sister, "another network") && contains(sister, "resnet34_unet")) << sister;
  Tensors nothing;
  nothing.content["a.b"] = {{2}, {1, 2}};
  EXPECT_TRUE(contains(complaint(nothing), "no tensor of the file fits"));
}

TEST_F(WeightImports, SistersOfAnotherFamilyAreNamed) {
  const NetworkSpec swiftnet{"swiftnet_rn18", 8, {}}, unet{"resnet18_unet", 8, {}};
  const std::string deeper =
      complaint(tensors_of({"resnet34_unet", 8, {}}, encoder_alone), swiftnet);
  EXPECT_TRUE(contains(deeper, "another network") && contains(deeper, "resnet34_unet")) << deeper;
  const Tensors whole = tensors_of(swiftnet, as_it_is);
  const std::string other = complaint(whole, unet);
  EXPECT_TRUE(contains(other, "look like swiftnet_rn18")) << other;
  EXPECT_TRUE(load(whole, swiftnet).report().missing.empty());
  // The encoder is both's.
  Tensors encoder = tensors_of(unet, encoder_alone);
  encoder.content["fc.bias"] = {{1000}, std::vector<float>(1000)};
  for (const NetworkSpec& spec : {swiftnet, unet}) {
    const ImportReport report = load(encoder, spec).report();
    EXPECT_EQ(report.scheme, "torchvision");
    EXPECT_EQ(report.unused, std::vector<std::string>{"fc.bias"});
  }
}

// To tell them from each other by comparing all pairs is a matter of many minutes.
TEST_F(WeightImports, ManyPrefixesAreTakenInPassing) {
  constexpr int kPrefixes = 60'000;
  constexpr double kSeconds = 60;
  Tensors tensors;
  for (int i = 0; i < kPrefixes; ++i) {
    tensors.content[std::to_string(i) + ".bn1.bias"] = {{1}, {1}};
  }
  const std::clock_t start = std::clock();
  EXPECT_TRUE(contains(complaint(tensors, {"resnet18_unet", 8, {}}), "no tensor of the file fits"));
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, kSeconds);
}

TEST_F(WeightImports, WrongShapesAreNamed) {
  Tensors tensors = tensors_of(kMobileNet, encoder_alone);
  ModelTensor& tensor = tensors.content["features.3.conv.2.weight"];
  std::swap(tensor.shape[0], tensor.shape[1]);
  const std::string message = complaint(tensors);
  EXPECT_TRUE(contains(message, "wrong shape") &&
              contains(message, "'encoder.features.3.conv.2.weight'"))
      << message;
}

TEST_F(WeightImports, NotANumberIsNamed) {
  Tensors tensors = tensors_of(kMobileNet, encoder_alone);
  tensors.content["features.3.conv.2.weight"].values[5] = NAN;
  EXPECT_TRUE(contains(complaint(tensors), "features.3.conv.2.weight"));
}

TEST_F(WeightImports, AFullyConnectedLayerIsAConvolution) {
  const NetworkSpec classifier{"resnet34", 10, {}};
  Tensors tensors = tensors_of(classifier, as_it_is);
  ModelTensor& matrix = tensors.content["fc.weight"];
  ASSERT_EQ(matrix.shape, (TensorShape{10, 512, 1, 1}));
  matrix.shape = {10, 512};
  EXPECT_TRUE(load(tensors, classifier).report().missing.empty());
}

/// A network's parameters as a tool writes them, mostly those of the encoder.
Tensors encoder_of(const std::string& tool, const NetworkSpec& spec) {
  const auto schemes = weight_schemes(find_network(spec.name), build_network(spec, kImage), {});
  const auto scheme = std::ranges::find(schemes, tool, &WeightScheme::name);
  if (scheme == schemes.end()) throw std::logic_error("no " + tool);
  return tensors_of(spec, [&](const std::string& name) {
    const auto source = scheme->source.find(name);
    return source == scheme->source.end() ? "" : source->second;
  });
}

TEST_F(WeightImports, TheToolsOptionsComeWithTheWeights) {
  const NetworkSpec spec{"efficientnet_b0_unet", 8, {}};
  const WeightImport weights = load(encoder_of("torchvision", spec), spec);
  EXPECT_EQ(weights.report().scheme, "torchvision");
  EXPECT_EQ(needs_of(weights, spec).options.at("padding"), "symmetric");
  NetworkSpec own = spec;
  own.options["padding"] = "same";
  EXPECT_EQ(needs_of(weights, own).options.count("padding"), 0u) << "the user's choice stands";
}

TEST_F(WeightImports, MobileNetV3IsToldByItsToolsNames) {
  for (const std::string network : {"mobilenet_v3_large_unet", "mobilenet_v3_small_unet"}) {
    const NetworkSpec spec{network, 8, {}};
    for (const std::string tool : {"timm", "torchvision"}) {
      Tensors tensors = encoder_of(tool, spec);
      tensors.content["classifier.bias"] = {{1000}, std::vector<float>(1000)};
      const WeightImport weights = load(tensors, spec);
      EXPECT_EQ(weights.report().scheme, tool);
      EXPECT_EQ(weights.report().encoder_loaded, tensors.content.size() - 1);
      EXPECT_EQ(network_of(*open_weights(file_)), network);
      const auto options = needs_of(weights, spec).options;
      EXPECT_EQ(options.count("norm_eps") > 0 ? options.at("norm_eps") : "",
                tool == "torchvision" ? "1e-3" : "");
    }
  }
}

// segmentation_models.pytorch's Unets upon timm's encoders, whose tensors have the same shapes:
// they have other paddings and taps than those upon its own.
TEST_F(WeightImports, ATwinWithOtherPaddingsAndTapsIsRefused) {
  const std::map<std::string, std::string> beginnings{
      {"xception_unet", "encoder.model.body."}, {"inception_resnet_v2_unet", "encoder.model."}};
  for (const auto& twins : beginnings) {
    const NetworkSpec spec{twins.first, 8, {}};
    const std::string& beginning = twins.second;
    const Tensors twin = tensors_of(spec, [&](const std::string& name) {
      const std::string inside = encoder_alone(name);
      return inside.empty() ? name : beginning + inside;
    });
    const std::string message = complaint(twin, spec);
    EXPECT_TRUE(contains(message, "decoder") && contains(message, "another network") &&
                contains(message, beginning) && contains(message, "--partial"))
        << message;
    const ImportReport alone = load(twin, spec, true).report();
    EXPECT_GT(alone.encoder_loaded, 200u);
    EXPECT_EQ(alone.decoder_loaded + alone.head_loaded, 0u);
  }
}

TEST_F(WeightImports, NetworksFromTensorFlowTakeImagesFromMinusOneToOne) {
  for (const char* network :
       {"mobilenet_v1_unet", "xception_unet", "inception_v4_unet", "inception_resnet_v2_unet"}) {
    const NetworkSpec spec{network, 8, {}};
    for (const bool alone : {true, false}) {
      const WeightImport weights = load(tensors_of(spec, alone ? encoder_alone : as_it_is), spec);
      EXPECT_EQ(weights.report().decoder_loaded > 0, !alone);
      EXPECT_EQ(needs_of(weights, spec).normalization,
                (Normalization{{0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}}))
          << network;
    }
  }
}

// timm's seresnet50 has the shapes of Cadene's se_resnet50, and is another network.
TEST_F(WeightImports, TwinsAreToldApartByTheirNames) {
  const NetworkSpec spec{"se_resnet50_unet", 8, {}};
  const auto layout = [&](const WeightImport& weights) {
    const auto options = needs_of(weights, spec).options;
    return options.count("layout") > 0 ? options.at("layout") : "";
  };
  const WeightImport cadene = load(encoder_of("Cadene (timm legacy_)", spec), spec);
  EXPECT_EQ(cadene.report().unused.size() + cadene.report().decoder_loaded, 0u);
  EXPECT_EQ(layout(cadene), "");
  const WeightImport timm = load(encoder_of("timm", spec), spec);
  EXPECT_EQ(timm.report().unused.size() + timm.report().decoder_loaded, 0u);
  EXPECT_EQ(timm.report().encoder_loaded, cadene.report().encoder_loaded);
  EXPECT_EQ(layout(timm), "torch");
  const WeightImport whole = load(encoder_of("segmentation_models.pytorch (tu-)", spec), spec);
  EXPECT_EQ(whole.report().unused.size() + whole.report().missing.size(), 0u);
  EXPECT_EQ(layout(whole), "torch");
}

// torchvision's files and timm's of DenseNet are of the one network; a Unet upon timm's has other
// taps. timm's resnext50 is torchvision's.
TEST_F(WeightImports, ATwinThatTapsOtherwiseSetsTheOption) {
  const NetworkSpec dense{"densenet121_unet", 8, {}};
  for (const char* tool : {"torchvision and timm", "torchvision (its files)"}) {
    const WeightImport alone = load(encoder_of(tool, dense), dense);
    EXPECT_EQ(alone.report().scheme, tool);
    EXPECT_EQ(alone.report().unused.size() + alone.report().decoder_loaded, 0u);
    EXPECT_TRUE(needs_of(alone, dense).options.empty()) << tool;
  }
  const std::string unet = "segmentation_models.pytorch (tu-)";
  const WeightImport twin = load(encoder_of(unet, dense), dense);
  EXPECT_EQ(twin.report().unused.size() + twin.report().missing.size(), 0u);
  EXPECT_EQ(needs_of(twin, dense).options.at("taps"), "concat");

  const NetworkSpec next{"resnext50_32x4d_unet", 8, {}};
  const WeightImport same = load(encoder_of(unet, next), next);
  EXPECT_EQ(same.report().unused.size() + same.report().missing.size(), 0u);
  EXPECT_TRUE(needs_of(same, next).options.empty());
}

TEST_F(WeightImports, WiderAndDeeperSistersAreNamed) {
  const std::vector<std::string> sisters{"resnet50_unet", "resnet101_unet", "resnext50_32x4d_unet",
                                         "se_resnext50_32x4d_unet", "se_resnet50_unet"};
  for (size_t i = 0; i < sisters.size(); ++i) {
    const std::string& other = sisters[(i + 1) % sisters.size()];
    const std::string message =
        complaint(tensors_of({sisters[i], 8, {}}, encoder_alone), {other, 8, {}});
    EXPECT_TRUE(contains(message, "look like " + sisters[i])) << other << ": " << message;
  }
}

TEST_F(WeightImports, GatesMakeAnotherNetwork) {
  const NetworkSpec with{"se_resnet50_unet", 8, {}}, without{"resnet50_unet", 8, {}};
  const std::string more = complaint(encoder_of("timm", with), without);
  EXPECT_TRUE(contains(more, "look like se_resnet50_unet")) << more;
  const std::string less = complaint(encoder_of("torchvision", without), with);
  EXPECT_TRUE(contains(less, "look like resnet50_unet")) << less;
}

// Lightning, DataParallel, torch.compile and attributes of people's own put something before all
// names, and losses and metrics beside them.
TEST_F(WeightImports, WhateverStandsBeforeTheNames) {
  for (const std::string prefix :
       {"net.", "module.", "model.", "net.module._orig_mod.", "student.backbone.", "state_dict."}) {
    for (const bool alone : {true, false}) {
      Tensors tensors = tensors_of(kMobileNet, [&](const std::string& name) {
        const std::string own = alone ? encoder_alone(name) : as_it_is(name);
        return own.empty() ? own : prefix + own;
      });
      tensors.content["criterion.weight"] = {{8}, std::vector<float>(8, 1)};
      const WeightImport weights = load(tensors);
      EXPECT_EQ(weights.report().unused, std::vector<std::string>{"criterion.weight"}) << prefix;
      EXPECT_EQ(weights.report().decoder_loaded > 0, !alone) << prefix;
      EXPECT_EQ(network_of(*open_weights(file_)), "mobilenet_v2_unet") << prefix;
    }
  }
}

// DDRNet's authors publish what they trained on ImageNet, and on Cityscapes with its loss.
TEST_F(WeightImports, AuthorsFilesHoldAPartOrMore) {
  const NetworkSpec spec{"ddrnet23_slim", 8, {}};
  const auto in_encoder = [graph = build_network(spec, kImage)](const std::string& name) {
    return std::ranges::find(graph.parameters(), name, &ParameterSpec::name)->encoder;
  };
  Tensors imagenet = tensors_of(
      spec, [&](const std::string& name) { return in_encoder(name) ? "module." + name : ""; });
  const size_t encoder = imagenet.content.size();
  imagenet.content["module.linear.weight"] = {{1000, 1}, std::vector<float>(1000)};
  const ImportReport part = load(imagenet, spec).report();
  EXPECT_EQ(part.encoder_loaded, encoder);
  EXPECT_EQ(part.decoder_loaded + part.head_loaded, 0u);
  EXPECT_EQ(part.unused, std::vector<std::string>{"linear.weight"});
  EXPECT_EQ(network_of(*open_weights(file_)), "ddrnet23_slim");

  Tensors cityscapes = tensors_of({"ddrnet23_slim", 19, {{"auxiliary", "0.4"}}},
                                  [](const std::string& name) { return "model." + name; });
  cityscapes.content["loss.criterion.weight"] = {{19}, std::vector<float>(19, 1)};
  const ImportReport whole = load(cityscapes, spec).report();
  EXPECT_TRUE(whole.missing.empty());
  EXPECT_EQ(whole.scheme, "its authors (as Macadam)");
  EXPECT_EQ(whole.reinitialized,
            (std::vector<std::string>{"final_layer.conv2.weight", "final_layer.conv2.bias"}));
  EXPECT_EQ(whole.unused.back(), "model.seghead_extra.conv2.weight");
  EXPECT_TRUE(contains(complaint(cityscapes, {"ddrnet23", 8, {}}), "look like ddrnet23_slim"));
}

// What the authors' switch_to_deploy() leaves of a block cannot be trained.
TEST_F(WeightImports, DeployedBlocksAreIncomplete) {
  const NetworkSpec spec{"gcnet_s", 8, {}};
  Tensors deployed = tensors_of(spec, [](const std::string& name) {
    return name.find(".path_") == name.npos ? name : std::string();
  });
  deployed.content["backbone.stem.2.reparam_3x3.weight"] = {{32, 32, 3, 3},
                                                            std::vector<float>(32 * 32 * 9)};
  const std::string message = complaint(deployed, spec);
  EXPECT_TRUE(contains(message, "the encoder is incomplete")) << message;
  EXPECT_TRUE(contains(message, "backbone.stem.2.path_3x3_1.conv1.conv.weight")) << message;
  EXPECT_TRUE(contains(message, "give weights of gcnet_s")) << message;
}

// mmsegmentation's stem has no biases: they are 0, and nothing is missing.
TEST_F(WeightImports, OpenMmlabsFilesLackBiasesThatAreZero) {
  const NetworkSpec spec{"ddrnet23_slim", 8, {}};
  const Graph graph = build_network(spec, kImage);
  for (const char* tool : {"mmsegmentation", "OpenMMLab's backbone"}) {
    const auto schemes = weight_schemes(find_network(spec.name), graph, {});
    const auto scheme = std::ranges::find(schemes, tool, &WeightScheme::name);
    ASSERT_NE(scheme, schemes.end());
    ASSERT_EQ(scheme->zeros.size(), 2u);
    const WeightImport weights =
        load(tensors_of(spec,
                        [&](const std::string& name) {
                          const auto source = scheme->source.find(name);
                          const bool there =
                              source != scheme->source.end() && !scheme->zeros.contains(name);
                          return there ? source->second : "";
                        }),
             spec);
    EXPECT_EQ(weights.report().scheme, tool);
    for (const std::string& name : weights.report().missing) {
      EXPECT_TRUE(name.starts_with("final_layer.")) << name;
    }
    EXPECT_TRUE(weights.report().unused.empty());
  }
}

TEST_F(WeightImports, WeightsOfNothingAreSummedUp) {
  Tensors tensors;
  for (const char* name : {"a", "b", "c", "d"}) tensors.content[name] = {{2}, {1, 2}};
  try {
    load(tensors);
    ADD_FAILURE() << "loaded";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("4 tensors, the first 'a' [2], 'b' [2], 'c' [2]"),
              std::string::npos)
        << error.what();
  }
}

/// keras-applications' VGG16 as tests/golden/make_weight_files.py writes it.
class KerasVgg16 : public WeightImports {
 protected:
  void SetUp() override {
    if (!has_hdf5()) GTEST_SKIP() << "built without HDF5";
    std::filesystem::copy_file(source_path("tests/golden/weights/keras_vgg16.h5"), file_);
    // Most of its numbers are fill values; a file is refused that is too short for its tensors.
    constexpr uintmax_t kRoom = 8 << 20;
    std::filesystem::resize_file(file_, kRoom);
  }

  WeightImport load_keras(const std::string& network) {
    const NetworkSpec spec{network, 8, {}};
    return WeightImport(file_, spec, build_network(spec, kImage));
  }
  /// The loaded parameters of a network by name.
  static std::map<std::string, std::vector<float>> values(const WeightImport& weights,
                                                          const std::string& network) {
    const Graph graph = build_network({network, 8, {}}, kImage);
    std::map<std::string, std::vector<float>> loaded;
    weights.for_each([&](size_t i, std::span<const float> from, bool) {
      loaded[graph.parameters()[i].name].assign(from.begin(), from.end());
    });
    return loaded;
  }
};

TEST_F(KerasVgg16, GivesKerasVggUnetFourOfItsFiveBlocks) {
  const WeightImport weights = load_keras("keras_vgg_unet");
  const ImportReport& report = weights.report();
  EXPECT_EQ(report.encoder_loaded, 20u);
  EXPECT_EQ(report.decoder_loaded + report.head_loaded, 0u);
  EXPECT_EQ(report.unused, (std::vector<std::string>{"block5_conv1/kernel", "block5_conv1/bias",
                                                     "block5_conv2/kernel", "block5_conv2/bias",
                                                     "block5_conv3/kernel", "block5_conv3/bias"}));
  for (const std::string& name : report.missing) {
    EXPECT_FALSE(name.starts_with("encoder.")) << name;
  }

  const auto loaded = values(weights, "keras_vgg_unet");
  const std::vector<float>& first = loaded.at("encoder.block1_conv1.weight");
  constexpr size_t kIn = 3, kOut = 64, kPixels = 9;
  ASSERT_EQ(first.size(), kOut * kIn * kPixels);
  for (size_t k = 0, to = 0; k < kOut; ++k) {
    for (size_t c = 0; c < kIn; ++c) {
      for (size_t pixel = 0; pixel < kPixels; ++pixel, ++to) {
        const size_t from = (pixel * kIn + c) * kOut + k;
        ASSERT_EQ(first[to], static_cast<float>(from) / 4) << k << " " << c << " " << pixel;
      }
    }
  }
  const std::vector<float>& last = loaded.at("encoder.block4_conv3.weight");
  ASSERT_EQ(last.size(), 512u * 512 * kPixels);
  EXPECT_EQ(last.front(), 9.0f / 8);
  EXPECT_EQ(last.back(), 9.0f / 8);
  EXPECT_EQ(loaded.at("encoder.block4_conv3.bias")[1], 9.25f);
}

TEST_F(KerasVgg16, GivesVgg16UnetTheWholeOfIt) {
  const WeightImport weights = load_keras("vgg16_unet");
  EXPECT_EQ(weights.report().encoder_loaded, 26u);
  EXPECT_TRUE(weights.report().unused.empty());
  const auto loaded = values(weights, "vgg16_unet");
  EXPECT_EQ(loaded.at("encoder.features.28.weight").front(), 12.0f / 8);
  EXPECT_EQ(loaded.at("encoder.features.28.bias")[4], 13.0f);
  EXPECT_EQ(network_of(*open_weights(file_)), "vgg16_unet");
}

TEST_F(KerasVgg16, IsForBlueGreenRedWithoutItsMean) {
  for (const char* network : {"keras_vgg_unet", "vgg16_unet"}) {
    const WeightImport weights = load_keras(network);
    EXPECT_EQ(weights.report().scheme, "Keras VGG16");
    const Normalization normalization = needs_of(weights, {network, 8, {}}).normalization;
    EXPECT_TRUE(normalization.bgr) << network;
    EXPECT_EQ(normalization.range, 255) << network;
    EXPECT_EQ(normalization.mean, (std::array<float, 3>{103.939f, 116.779f, 123.68f})) << network;
    EXPECT_EQ(normalization.std, (std::array<float, 3>{1, 1, 1})) << network;
  }
}

class Conversions : public WeightImports {
 protected:
  ModelInfo info() const {
    ModelInfo info;
    info.macadam_version = "test";
    info.network = "mobilenet_v2_unet";
    for (int i = 0; i < 8; ++i) {
      info.class_names.push_back("class " + std::to_string(i));
      info.palette.push_back({static_cast<uint8_t>(i), 0, 0});
      info.inverse_ids.push_back(static_cast<uint8_t>(i));
    }
    info.label_set = "custom";
    info.height = info.width = 64;
    info.precision = "fp32";
    info.seed = 7;
    return info;
  }
};

TEST_F(Conversions, AModelHoldsTheWeightsAndInitialValues) {
  tensors_of(kMobileNet, encoder_alone).write(file_);
  const auto model_file = folder_ / "model.safetensors";
  EXPECT_FALSE(is_model_file(file_));
  convert_weights(file_, model_file, info(), false);
  ASSERT_TRUE(is_model_file(model_file));
  const Model model = load_model(model_file);
  const Graph graph = build_network(kMobileNet, kImage);
  ASSERT_EQ(model.parameters.size(), graph.parameters().size());
  for (const ParameterSpec& p : graph.parameters()) {
    const bool loaded = p.encoder;
    EXPECT_EQ(model.parameters.at(p.name).values, loaded ? rule_values(p) : initial_values(p, 7))
        << p.name;
  }
}

TEST_F(Conversions, NothingIsWrittenWhenItFails) {
  tensors_of({"resnet18_unet", 8, {}}, encoder_alone).write(file_);
  const auto model_file = folder_ / "model.safetensors";
  EXPECT_THROW(convert_weights(file_, model_file, info(), false), InputError);
  EXPECT_EQ(folder_.entries().size(), 1u);
}

TEST_F(Conversions, PyTorchGetsItsNamesAndCounters) {
  tensors_of(kMobileNet, as_it_is).write(file_);
  const auto model_file = folder_ / "model.safetensors", torch_file = folder_ / "smp.safetensors";
  convert_weights(file_, model_file, info(), false);
  export_pytorch(torch_file, load_model(model_file), model_file.string());
  const SafetensorsFile written(torch_file);
  size_t statistics = 0, counters = 0;
  for (const auto& [name, tensor] : written.tensors()) {
    statistics += name.ends_with("running_mean") ? 1 : 0;
    if (name.ends_with("num_batches_tracked")) {
      ++counters;
      EXPECT_EQ(tensor.type, StoredType::i64);
      EXPECT_TRUE(tensor.shape.empty());
    }
  }
  EXPECT_EQ(counters, statistics);
  EXPECT_EQ(written.tensors().size() - counters,
            build_network(kMobileNet, kImage).parameters().size());
  EXPECT_FALSE(is_model_file(torch_file));

  Model own = load_model(model_file);
  own.info.network = "unet_mini";
  EXPECT_THROW(export_pytorch(torch_file, own, "x"), InputError);
}

// Whether something trains it or not.
TEST_F(Conversions, PyTorchGetsWhatTheAuthorsCodeAlwaysHolds) {
  const auto model_file = folder_ / "model.safetensors", torch_file = folder_ / "torch.safetensors";
  const auto exported = [&](const NetworkSpec& spec, const Normalization& normalization) {
    tensors_of(spec, as_it_is).write(file_);
    ModelInfo info = Conversions::info();
    info.network = spec.name;
    convert_weights(file_, model_file, info, false);
    Model model = load_model(model_file);
    model.info.normalization = normalization;
    export_pytorch(torch_file, model, "mine.safetensors");
    return SafetensorsFile(torch_file);
  };
  const NetworkSpec gcnet{"gcnet_s", 8, {}}, headed{"gcnet_s", 8, {{"auxiliary", "0.4"}}};
  const SafetensorsFile whole = exported(gcnet, {});
  const Graph graph = build_network(headed, kImage);
  size_t counters = 0;
  for (const ParameterSpec& p : graph.parameters()) {
    const auto found = whole.tensors().find(p.name);
    ASSERT_NE(found, whole.tensors().end()) << p.name;
    EXPECT_EQ(found->second.shape, p.file_shape()) << p.name;
    counters += p.role == ParameterRole::running_mean ? 1 : 0;
  }
  EXPECT_EQ(whole.tensors().size(), graph.parameters().size() + counters);
  EXPECT_EQ(whole.tensors().count("decode_head.aux_head_c4.2.bn.num_batches_tracked"), 1u);

  const NetworkSpec swiftnet{"swiftnet_rn18", 8, {}};
  const auto buffer = [](const SafetensorsFile& file, const char* name) {
    const auto& tensor = file.tensors().at(name);
    EXPECT_EQ(tensor.shape, (TensorShape{1, 3, 1, 1})) << name;
    std::vector<float> values(3);
    std::memcpy(values.data(), tensor.data.data(), sizeof(float) * 3);
    return values;
  };
  const SafetensorsFile cityscapes =
      exported(swiftnet, find_network("swiftnet_rn18").normalization);
  EXPECT_EQ(buffer(cityscapes, "backbone.img_mean"), (std::vector{73.15f, 82.90f, 72.3f}));
  EXPECT_EQ(buffer(cityscapes, "backbone.img_std"), (std::vector{47.67f, 48.49f, 47.73f}));
  const SafetensorsFile imagenet = exported(swiftnet, {});
  EXPECT_NEAR(buffer(imagenet, "backbone.img_mean")[0], 123.675f, 1e-3f) << "of bytes";
  EXPECT_NEAR(buffer(imagenet, "backbone.img_std")[2], 57.375f, 1e-3f);
}

TEST_F(Conversions, PyTorchGetsTheUnetThatComputesTheSame) {
  const auto model_file = folder_ / "model.safetensors", torch_file = folder_ / "smp.safetensors";
  const auto exported = [&](const NetworkSpec& spec) {
    tensors_of({spec.name, 8, {}}, as_it_is).write(file_);
    ModelInfo info = Conversions::info();
    info.network = spec.name;
    info.network_options = spec.options;
    convert_weights(file_, model_file, info, false);
    export_pytorch(torch_file, load_model(model_file), "mine.safetensors");
    std::set<std::string> names;
    const SafetensorsFile written(torch_file);
    for (const auto& [name, tensor] : written.tensors()) names.insert(name);
    return names;
  };
  const auto cadene = exported({"se_resnet50_unet", 8, {}});
  EXPECT_EQ(cadene.count("encoder.layer4.2.se_module.fc2.bias"), 1u);
  const auto timm = exported({"se_resnet50_unet", 8, {{"layout", "torch"}}});
  EXPECT_EQ(timm.size(), cadene.size());
  EXPECT_EQ(timm.count("encoder.model.layer4.2.se.fc2.bias"), 1u);
  EXPECT_EQ(timm.count("encoder.model.bn1.num_batches_tracked"), 1u);
  EXPECT_EQ(timm.count("segmentation_head.0.weight"), 1u);

  const std::string network = "efficientnet_b0_unet";
  EXPECT_NO_THROW(exported({network, 8, {{"norm_eps", "0.001"}, {"drop_connect", "0"}}}));
  try {
    exported({network, 8, {{"padding", "symmetric"}}});
    ADD_FAILURE() << "exported what smp computes otherwise";
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_TRUE(contains(message, "padding = symmetric") && contains(message, ".onnx") &&
                contains(message, "mine.safetensors"))
        << message;
  }
}

}  // namespace
