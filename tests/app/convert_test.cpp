// Weights in and out of the real program: `convert`, `train weights=`, frozen encoders, and files
// that must be refused.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>

#include "engine/model/model_file.h"
#include "engine/plan/parameters.h"
#include "models/conversion.h"
#include "models/network.h"
#include "models/weights/hdf5_file.h"
#include "shared_folder.h"
#include "tests/app/onnx_bytes.h"
#include "tests/paths.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;

const std::string kEncoder = "encoder.";
const std::string kMobileNet = "network=mobilenet_v2_unet";
const std::string kSomeTensor = "features.3.conv.2.weight";

using Tensors = std::map<std::string, ModelTensor>;

/// The encoder of a network under its own names, with other values than `convert` and `train` draw.
Tensors encoder_of(const std::string& network) {
  constexpr uint64_t kOtherSeed = 5;
  const Graph graph = build_network({network, 8, {}}, {1, 32, 64, 3});
  Tensors tensors;
  for (const ParameterSpec& p : graph.parameters()) {
    if (!p.name.starts_with(kEncoder)) continue;
    tensors[p.name] = {p.file_shape(), initial_values(p, kOtherSeed)};
  }
  return tensors;
}

/// That of mobilenet_v2_unet under torchvision's names.
Tensors encoder_tensors() {
  Tensors tensors;
  for (auto& [name, tensor] : encoder_of("mobilenet_v2_unet")) {
    tensors[name.substr(kEncoder.size())] = std::move(tensor);
  }
  return tensors;
}

void write_tensors(const fs::path& file, const Tensors& tensors) {
  std::map<std::string, StoredTensor> stored;
  for (const auto& [name, tensor] : tensors) {
    stored[name] = {StoredType::f32, tensor.shape, std::as_bytes(std::span(tensor.values))};
  }
  write_safetensors(file, stored, {});
}

/// NumPy's format, version 1.0.
void write_npy(const fs::path& file, const ModelTensor& tensor) {
  constexpr size_t kBeforeHeader = 10, kAlignment = 64;
  std::string shape;
  for (const int64_t extent : tensor.shape) shape += fmt::format("{},", extent);
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + shape + "), }";
  while ((kBeforeHeader + header.size() + 1) % kAlignment != 0) header += ' ';
  header += '\n';
  const auto length = static_cast<uint16_t>(header.size());
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(length & 0xff);
  bytes += static_cast<char>(length >> 8);
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(tensor.values.data()), 4 * tensor.values.size());
  write_text(file, bytes);
}

std::string golden(const std::string& name) { return source_path("tests/golden/weights/" + name); }

/// A small street data set, a model trained on it, and the weights of an encoder; made once.
class Convert : public SharedFolder<Convert> {
 protected:
  static void SetUpTestSuite() {
    train_on_streets(folder(), 5, small_config(1, "name = \"run\"\n"));
    write_tensors(folder() / "encoder.safetensors", encoder_tensors());
    fs::create_directory(made());
  }
  void TearDown() override {
    fs::remove_all(made());
    fs::create_directory(made());
  }

  static fs::path made() { return folder() / "made"; }  // where `convert` writes
  static std::string model() { return (folder() / "runs/run/best.safetensors").string(); }

  static ProgramResult convert(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "convert");
    return macadam(folder(), arguments);
  }
  /// Writes made/model.onnx, if this build can.
  static bool writes_onnx() {
    const ProgramResult result = convert({model(), "made/model.onnx"});
    if (result.err.find("libonnx-dev") != std::string::npos) {
      expect_input_error(result, {"made/model.onnx"});
      EXPECT_TRUE(fs::is_empty(made()));
      return false;
    }
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return true;
  }
  /// `train run.toml` with a run's name and more.
  static ProgramResult train(const std::string& name, std::vector<std::string> overrides) {
    overrides.insert(overrides.begin(), {"train", "run.toml", "name=" + name});
    return macadam(folder(), overrides);
  }
  /// What `convert source made/converted.safetensors …` wrote.
  static Model converted(const std::string& source, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {source, "made/converted.safetensors", "--size", "64x32"});
    const ProgramResult result = convert(more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return load_model(made() / "converted.safetensors");
  }
  /// `convert` ends with the code, one error line and nothing written.
  static void expect_refused(const std::vector<std::string>& arguments,
                             const std::vector<std::string>& words, int exit_code = 2) {
    const ProgramResult result = convert(arguments);
    expect_error(result, exit_code, words);
    EXPECT_EQ(lines_of(result.err).size(), 1u) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_TRUE(fs::is_empty(made()));
  }
  /// Weights that neither `convert` nor `train` take.
  static void expect_refused_weights(const std::string& file,
                                     const std::vector<std::string>& words) {
    expect_refused({file, "made/x.safetensors", "--network", "mobilenet_v2_unet"}, words);
    expect_input_error(train("refused", {kMobileNet, "weights=" + file}), words);
    EXPECT_FALSE(fs::exists(folder() / "runs/refused"));
  }
  /// Writes the encoder's weights after `change`; the file's name.
  static std::string changed_encoder(const std::string& name,
                                     const std::function<void(Tensors&)>& change) {
    Tensors tensors = encoder_tensors();
    change(tensors);
    write_tensors(folder() / name, tensors);
    return name;
  }
};

TEST_F(Convert, OnnxGivesScoresOfAnySize) {
  if (!writes_onnx()) GTEST_SKIP() << "built without ONNX";
  const OnnxFacts onnx = read_onnx_facts(read_text(made() / "model.onnx"));
  EXPECT_EQ(onnx.opset, 17u);
  EXPECT_EQ(onnx.input.name, "image");
  ASSERT_EQ(onnx.input.extents.size(), 4u);
  EXPECT_EQ(onnx.input.extents[1], "3");
  EXPECT_EQ(onnx.input.extents[2].find_first_of("0123456789"), std::string::npos)
      << "a name, not " << onnx.input.extents[2];
  EXPECT_EQ(onnx.output.name, "logits");
  ASSERT_EQ(onnx.output.extents.size(), 4u);
  EXPECT_EQ(onnx.output.extents[1], "8");
  EXPECT_EQ(onnx.metadata.at("imgsz"), "[32, 64]");
  EXPECT_NE(onnx.metadata.at("names").find("\"0\""), std::string::npos);
}

TEST_F(Convert, OnnxGivesClassesOfOneSize) {
  if (!writes_onnx()) GTEST_SKIP() << "built without ONNX";
  const ProgramResult result =
      convert({model(), "made/model.onnx", "--argmax", "--static", "--size", "128x64"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const OnnxFacts onnx = read_onnx_facts(read_text(made() / "model.onnx"));
  EXPECT_EQ(onnx.input.extents, (std::vector<std::string>{"1", "3", "64", "128"}));
  EXPECT_EQ(onnx.output.name, "mask");
  EXPECT_EQ(onnx.output.extents, (std::vector<std::string>{"1", "64", "128"}));
  EXPECT_EQ(onnx.metadata.at("imgsz"), "[64, 128]");
}

TEST_F(Convert, AWrongSizeLeavesTheOldFile) {
  if (!writes_onnx()) GTEST_SKIP() << "built without ONNX";
  const std::string before = read_text(made() / "model.onnx");
  expect_input_error(convert({model(), "made/model.onnx", "--size", "banana"}),
                     {"banana", "--size"});
  expect_input_error(convert({model(), "made/model.onnx", "--size", "62x30"}),
                     {"30x62", "multiples of 4"});
  EXPECT_EQ(read_text(made() / "model.onnx"), before);
}

TEST_F(Convert, OnlyModelsBecomeOnnx) {
  expect_refused({"encoder.safetensors", "made/x.onnx"}, {"encoder.safetensors", ".safetensors"});
}

TEST_F(Convert, PyTorchsNamesForItsNetworksAlone) {
  expect_refused({model(), "made/x.safetensors"}, {"unet_mini", "best.safetensors", ".onnx"});

  const fs::path own = made() / "own.safetensors", torch = made() / "torch.safetensors";
  ASSERT_EQ(convert({"encoder.safetensors", own.string(), "--size", "64x32"}).exit_code, 0);
  const ProgramResult result = convert({own.string(), torch.string()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(is_model_file(own));
  EXPECT_FALSE(is_model_file(torch));
  EXPECT_EQ(SafetensorsFile(torch).tensors().count("encoder.features.0.1.num_batches_tracked"), 1u);
}

TEST_F(Convert, WrongDestinations) {
  expect_refused({"encoder.safetensors", "made/x.pth"}, {"made/x.pth", ".safetensors or .onnx"});
  expect_refused({"encoder.safetensors", "made"}, {"made", ".safetensors or .onnx"});
  expect_refused({"encoder.safetensors", "encoder.safetensors"},
                 {"encoder.safetensors", "another name"});
  expect_refused({"encoder.safetensors", "no/x.safetensors"},
                 {"no such folder to write into: no:"});
  EXPECT_FALSE(fs::exists(folder() / "no"));
}

TEST_F(Convert, WrongNetworksAndOptions) {
  const auto refused = [](std::vector<std::string> more, const std::vector<std::string>& words) {
    more.insert(more.begin(), {"encoder.safetensors", "made/x.safetensors"});
    expect_refused(more, words);
  };
  refused({"--network", "mobilenet_v2_net"}, {"mobilenet_v2_net", "mobilenet_v2_unet"});
  refused({"--network", "resnet34"}, {"resnet34", "macadam info"});
  refused({"--network", "resnet34_unet"}, {"encoder.safetensors", "\"mobilenet_v2_unet\""});
  refused({"--option", "padding"}, {"padding", "KEY=VALUE"});
  refused({"--option", "depth=3"}, {"depth", "mobilenet_v2_unet"});
  refused({"--label-set", "camvid12"}, {"camvid12", "camvid11"});
  refused({"--size", "16x16"}, {"16x16", "at least 32"});
}

TEST_F(Convert, OptionsWithoutEffect) {
  expect_refused({model(), "made/x.onnx", "--network", "unet"}, {"--network", "leave it out"});
  expect_refused({model(), "made/x.onnx", "--partial"}, {"--partial", "leave it out"});
  expect_refused({model(), "made/x.safetensors", "--argmax"}, {"--argmax", "leave it out"});
  expect_refused({model(), "made/x.safetensors", "--size", "64x32"}, {"--size", "leave it out"});
  expect_refused({"encoder.safetensors", "made/x.safetensors", "--static"},
                 {"--static", "leave it out"});
}

TEST_F(Convert, FilesThatAreNoWeights) {
  const std::string cut = read_text(golden("zip.pth"));
  write_text(folder() / "cut.pth", cut.substr(0, cut.size() / 2));
  expect_refused_weights("cut.pth", {"cut.pth"});
  write_text(folder() / "empty.pth", "");
  expect_refused_weights("empty.pth", {"empty.pth"});
  expect_refused_weights("run.toml", {"run.toml", ".npy"});
  expect_refused_weights("no.pth", {"no.pth"});
  expect_refused_weights("streets", {"streets", ".npy"});
  expect_refused_weights(golden("not_keras.h5"), {"not_keras.h5", has_hdf5() ? "Keras" : "HDF5"});
}

TEST_F(Convert, NothingInAPickleIsRun) {
  write_text(folder() / "evil.pth", std::string("\x80\x02") + "cos\nsystem\n(" +
                                        std::string("X\x09\x00\x00\x00", 5) + "touch ran" + "tR.");
  expect_refused_weights("evil.pth", {"os.system", "evil.pth", "trust"});
  expect_refused_weights(golden("evil_system.pth"), {"os.system", "evil_system.pth", "trust"});
  EXPECT_FALSE(fs::exists(folder() / "ran"));
}

TEST_F(Convert, NotANumber) {
  const std::string file = changed_encoder("nan.safetensors", [](Tensors& tensors) {
    tensors.at(kSomeTensor).values[7] = std::nanf("");
  });
  expect_refused_weights(file, {"nan.safetensors", kSomeTensor, "element 7"});
}

TEST_F(Convert, PartOfAnEncoder) {
  const std::string file =
      changed_encoder("part.safetensors", [](Tensors& tensors) { tensors.erase(kSomeTensor); });
  expect_refused_weights(file, {"part.safetensors", kSomeTensor, "incomplete", "--partial"});
  const Model part = converted(file, {"--network", "mobilenet_v2_unet", "--partial"});
  const Model whole = converted("encoder.safetensors");
  for (const auto& [name, tensor] : whole.parameters) {
    EXPECT_EQ(part.parameters.at(name) == tensor, name != kEncoder + kSomeTensor) << name;
  }
}

TEST_F(Convert, AFolderOfNumpyFiles) {
  for (const auto& [name, tensor] : encoder_tensors()) {
    write_npy(folder() / "numpy" / (name + ".npy"), tensor);
  }
  const Model model = converted("numpy");
  EXPECT_EQ(model.info.network, "mobilenet_v2_unet");
  EXPECT_EQ(model.parameters, converted("encoder.safetensors").parameters);
  for (const auto& [name, tensor] : encoder_tensors()) {
    EXPECT_EQ(model.parameters.at(kEncoder + name), tensor) << name;
  }
}

TEST_F(Convert, TrainingStartsFromAModelOfOtherClasses) {
  const ProgramResult result =
      train("classes", {"weights=" + model(), "label_set=trainids19", "lr=1e-6"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("starts anew: 'head.weight', 'head.bias'"), std::string::npos)
      << result.err;
  const Model before = load_model(model());
  const Model after = load_model(folder() / "runs/classes/last.safetensors");
  EXPECT_EQ(after.info.class_names.size(), 19u);
  const std::string inside = "down1.conv1.weight";
  const std::vector<float>&from = before.parameters.at(inside).values,
        &to = after.parameters.at(inside).values;
  ASSERT_EQ(from.size(), to.size());
  for (size_t i = 0; i < from.size(); ++i) ASSERT_NEAR(from[i], to[i], 1e-5) << i;
}

TEST_F(Convert, TrainingNamesTheNetworkOfForeignWeights) {
  expect_input_error(train("foreign", {"weights=encoder.safetensors"}),
                     {"encoder.safetensors", "unet_mini", "network = \"mobilenet_v2_unet\""});
  EXPECT_FALSE(fs::exists(folder() / "runs/foreign"));
}

TEST_F(Convert, AFrozenEncoderStaysTillItThaws) {
  const Tensors encoder = encoder_of("keras_unet");
  write_tensors(folder() / "keras_encoder.safetensors", encoder);
  const auto train_frozen_for_an_epoch = [](const std::string& name, const std::string& epochs) {
    const ProgramResult result = train(
        name, {"network=keras_unet", "weights=keras_encoder.safetensors", epochs,
               "freeze=[{pattern = \"encoder.*\", epochs = 1}]", "freeze_batch_norm=encoder"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.err;
  };
  const auto trained = [](const std::string& name) {
    return load_model(folder() / "runs" / name / "last.safetensors").parameters;
  };

  train_frozen_for_an_epoch("frozen", "epochs=1");
  const Tensors frozen = trained("frozen");
  for (const auto& [name, tensor] : encoder) EXPECT_EQ(frozen.at(name), tensor) << name;
  EXPECT_NE(frozen.at("head.conv.bias").values, std::vector<float>(8)) << "where it began";

  const std::string log = train_frozen_for_an_epoch("thawed", "epochs=2");
  const Tensors thawed = trained("thawed");
  for (const auto& [name, tensor] : encoder) {
    EXPECT_EQ(thawed.at(name) == tensor, name.find("running_") != std::string::npos) << name;
  }
  int64_t all = 0, inside = 0;
  const Graph graph = build_network({"keras_unet", 8, {}}, {1, 32, 64, 3});
  for (const ParameterSpec& p : graph.parameters()) {
    if (!p.trainable()) continue;
    all += p.shape.elements();
    inside += p.name.starts_with(kEncoder) ? p.shape.elements() : 0;
  }
  for (const std::string& line :
       {fmt::format("up to epoch 1, {} parameters are trained and {} frozen", all - inside, inside),
        fmt::format("up to epoch 2, {} parameters are trained and 0 frozen", all)}) {
    EXPECT_NE(log.find(line), std::string::npos) << log;
  }
}

}  // namespace
}  // namespace macadam
