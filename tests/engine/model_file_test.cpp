#include "engine/model/model_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/to_size.h"
#include "tests/base/temporary_folder.h"

using namespace macadam;
using macadam::testing::TemporaryFolder;

namespace {

ModelInfo example_info() {
  ModelInfo info;
  info.macadam_version = "0.1.0";
  info.network = "unet_mini";
  info.network_options = {{"dropout", "0.2"}};
  info.class_names = {"flat", "himmel \"ü\""};
  info.palette = {{128, 64, 128}, {70, 130, 180}};
  info.inverse_ids = {7, 23};
  info.label_set = "custom";
  info.void_is_class = true;
  info.height = 256;
  info.width = 512;
  info.normalization = {{0.1f, 0.2f, 0.3f}, {0.4f, 0.5f, 0.6f}, 255, true};
  info.precision = "bf16";
  info.seed = std::numeric_limits<uint64_t>::max();
  info.epoch = 12;
  info.step = 1'000'000'000'000;
  info.metrics = {{"miou_present", 0.1}, {"val_loss", 1.0 / 3}};
  info.progress = {{"best", 0.25}};
  return info;
}

const std::vector<float> kWeights{0, 1, 2, 3, 4, 5, 6, 7};
const std::vector<float> kMoments{0.5f, 0.25f};

void save_example(const std::filesystem::path& path) {
  save_model(path, example_info(), {{"conv.weight", {{2, 2, 1, 2}, kWeights}}},
             {{"moment1.conv.bias", {{2}, kMoments}}});
}

std::string complaint(const std::string& bytes) {
  try {
    parse_model(std::as_bytes(std::span(bytes)), "m.safetensors", ModelPart::everything);
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_NE(message.find("m.safetensors"), std::string::npos) << message;
    return message;
  }
  ADD_FAILURE() << "the file was accepted";
  return {};
}

std::string info_complaint(const std::string& json) {
  try {
    parse_model_info(json, "m.safetensors");
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

/// The example's description with one field changed.
std::string with(const char* key, const nlohmann::json& value) {
  auto json = nlohmann::json::parse(to_json(example_info()));
  json[key] = value;
  return json.dump();
}

}  // namespace

TEST(ModelInfo, ComesBackAsItWas) {
  EXPECT_EQ(parse_model_info(to_json(example_info()), "f"), example_info());
}

TEST(ModelInfo, MetricsMayBeNotANumber) {
  ModelInfo info = example_info();
  info.metrics["miou_present"] = std::nan("");
  const ModelInfo read = parse_model_info(to_json(info), "f");
  EXPECT_TRUE(std::isnan(read.metrics.at("miou_present")));
}

TEST(ModelInfo, EveryFieldIsNeededAndTyped) {
  const auto json = nlohmann::json::parse(to_json(example_info()));
  for (const auto& [key, value] : json.items()) {
    auto without = json;
    without.erase(key);
    EXPECT_NE(info_complaint(without.dump()).find("does not say its '" + key + "'"),
              std::string::npos)
        << key;
    auto wrong = json;
    wrong[key] = value.is_object() ? nlohmann::json(1) : nlohmann::json::object();
    EXPECT_NE(info_complaint(wrong.dump()).find("'" + key + "' is not"), std::string::npos) << key;
  }
}

TEST(ModelInfo, ValuesAreBounded) {
  const auto refused = [](const char* key, const nlohmann::json& value) {
    const std::string message = info_complaint(with(key, value));
    return message.find(std::string("'") + key + "'") != std::string::npos;
  };
  EXPECT_TRUE(refused("height", 0));
  EXPECT_TRUE(refused("width", 1 << 20));
  EXPECT_TRUE(refused("width", 512.5));
  EXPECT_TRUE(refused("epoch", -1));
  EXPECT_TRUE(refused("step", std::numeric_limits<uint64_t>::max()));
  EXPECT_TRUE(refused("seed", -1));
  EXPECT_TRUE(refused("std", {1, 0, 1}));
  EXPECT_TRUE(refused("mean", {1, 1}));
  EXPECT_TRUE(refused("mean", {1, 1, 1e300}));
  EXPECT_TRUE(refused("range", 0));
  EXPECT_TRUE(refused("range", 1e300));
  EXPECT_TRUE(refused("bgr", 1));
  EXPECT_TRUE(refused("class_names", nlohmann::json::array()));
  EXPECT_TRUE(refused("class_names", {"one"}) || refused("palette", {{1, 2, 3}}));
  EXPECT_TRUE(refused("palette", {{1, 2, 256}, {1, 2, 3}}));
  EXPECT_TRUE(refused("palette", {{1, 2}, {1, 2, 3}}));
  EXPECT_TRUE(refused("inverse_ids", {1}));
  EXPECT_TRUE(refused("network_options", {{"a", 1}}));
  EXPECT_TRUE(refused("metrics", {{"a", "b"}}));
}

TEST(ModelInfo, NewerFormatAsksForAnUpdate) {
  const std::string message = info_complaint(with("format_version", kModelFormatVersion + 1));
  EXPECT_NE(message.find("update macadam"), std::string::npos) << message;
}

TEST(ModelInfo, TheFirstFormatMeansRedGreenBlueFromZeroToOne) {
  auto json = nlohmann::json::parse(with("format_version", 1));
  json.erase("range");
  json.erase("bgr");
  ModelInfo expected = example_info();
  expected.normalization.range = 1;
  expected.normalization.bgr = false;
  EXPECT_EQ(parse_model_info(json.dump(), "f"), expected);
}

TEST(ModelInfo, HostileJsonIsRefused) {
  EXPECT_NE(info_complaint("{\"a\":1,\"a\":2}").find("'a' twice"), std::string::npos);
  EXPECT_NE(info_complaint("{\"a\":{\"b\":1,\"b\":2}}").find("'b' twice"), std::string::npos);
  EXPECT_NE(info_complaint(std::string(100'000, '[')).find("deep"), std::string::npos);
  EXPECT_NE(info_complaint(std::string(2 << 20, ' ')).find("too long"), std::string::npos);
  EXPECT_NE(info_complaint("[]").find("not a JSON object"), std::string::npos);
  EXPECT_NE(info_complaint("nonsense").find("not JSON"), std::string::npos);
  EXPECT_NE(info_complaint("{\"format_version\":1e999}").find("not JSON"), std::string::npos);
}

TEST(ModelInfo, TextThatIsNotUtf8CannotBeSaved) {
  ModelInfo info = example_info();
  info.class_names[0] = "\xff";
  EXPECT_THROW(to_json(info), InputError);
}

TEST(ModelFile, ComesBackAsItWas) {
  TemporaryFolder folder;
  save_example(folder / "m.safetensors");
  const Model model = load_model(folder / "m.safetensors", ModelPart::everything);
  EXPECT_EQ(model.info, example_info());
  ASSERT_EQ(model.parameters.size(), 1u);
  EXPECT_EQ(model.parameters.at("conv.weight"), (ModelTensor{{2, 2, 1, 2}, kWeights}));
  ASSERT_EQ(model.optimizer.size(), 1u);
  EXPECT_EQ(model.optimizer.at("moment1.conv.bias"), (ModelTensor{{2}, kMoments}));
}

TEST(ModelFile, PredictionNeedsNoOptimizer) {
  TemporaryFolder folder;
  save_example(folder / "m.safetensors");
  const Model model = load_model(folder / "m.safetensors");
  EXPECT_EQ(model.parameters.size(), 1u);
  EXPECT_TRUE(model.optimizer.empty());
}

TEST(ModelFile, EveryTruncationIsRefused) {
  TemporaryFolder folder;
  save_example(folder / "m");
  const std::string whole = read_file(folder / "m", 1 << 20);
  for (size_t size = 0; size < whole.size(); ++size) complaint(whole.substr(0, size));
}

TEST(ModelFile, WeightsOfOtherToolsAreNamedAsSuch) {
  TemporaryFolder folder;
  write_safetensors(folder / "m", {}, {{"format", "pt"}});
  const std::string message = complaint(read_file(folder / "m", 1 << 20));
  EXPECT_NE(message.find("not a Macadam model"), std::string::npos) << message;
  EXPECT_NE(message.find("convert"), std::string::npos) << message;
}

TEST(ModelFile, NotANumberIsRefused) {
  TemporaryFolder folder;
  const std::vector<float> bad{1, std::nanf("")};
  save_model(folder / "m", example_info(), {{"w", {{2}, bad}}});
  const std::string message = complaint(read_file(folder / "m", 1 << 20));
  EXPECT_NE(message.find("NaN"), std::string::npos) << message;
  EXPECT_NE(message.find("'w'"), std::string::npos) << message;
}

TEST(ModelFile, MissingFileIsNamed) {
  TemporaryFolder folder;
  EXPECT_THROW(load_model(folder / "none.safetensors"), InputError);
}

TEST(ModelFile, DifferencesAreListed) {
  const std::map<std::string, ModelTensor> found{{"a", {{2}, {1, 2}}}, {"x\n", {{1}, {1}}}};
  EXPECT_TRUE(compare_parameters({{"a", {2}}, {"x\n", {1}}}, found).none());
  EXPECT_NO_THROW(match_parameters({{"a", {2}}, {"x\n", {1}}}, found, "m"));
  const ParameterShapes expected{{"a", {1, 2}}, {"b", {}}, {"c", {}}, {"d", {}}, {"e", {}}};
  try {
    match_parameters(expected, found, "m.safetensors");
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_STREQ(
        error.what(),
        "the weights do not fit the network (missing 'b', 'c', 'd' and 1 more; unexpected "
        "'x\\x0a'; wrong shape 'a' ([2] instead of [1, 2])): m.safetensors: use a model of "
        "this network with the same options and classes");
  }
}

TEST(ModelFile, ConvolutionLayoutsAreInverse) {
  const TensorShape shape{2, 3, 2, 5};
  std::vector<float> file(60), engine(60), back(60);
  std::iota(file.begin(), file.end(), 0.f);
  oihw_to_ohwi(shape, file, engine);
  for (int k = 0; k < 2; ++k) {
    for (int c = 0; c < 3; ++c) {
      for (int y = 0; y < 2; ++y) {
        for (int x = 0; x < 5; ++x) {
          EXPECT_EQ(engine[to_size(((k * 2 + y) * 5 + x) * 3 + c)],
                    file[to_size(((k * 3 + c) * 2 + y) * 5 + x)]);
        }
      }
    }
  }
  ohwi_to_oihw(shape, engine, back);
  EXPECT_EQ(back, file);
  EXPECT_THROW(oihw_to_ohwi({60}, file, engine), std::logic_error);
  EXPECT_THROW(oihw_to_ohwi({2, 3, 2, 4}, file, engine), std::logic_error);
}
