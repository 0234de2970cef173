// Text from outside, by every way that it comes in: names, paths, options, files. What a terminal
// would obey never reaches one, and an error is one line.

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/printable.h"
#include "engine/model/model_file.h"
#include "engine/plan/parameters.h"
#include "models/network.h"
#include "program.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// Turns colours on, ends the line, clears the screen by a C1 character, turns the writing round.
const std::string kOdd = "a\x1b[31m\nb\u009b2J\u202e\x7f";
const std::string kShown = "a\\x1b[31m\\x0ab\\u{009b}2J\\u{202e}\\x7f";

/// Expects nothing on either stream that does not show itself, but for the ends of lines.
void expect_tame(const ProgramResult& result) {
  for (const std::string& text : {result.out, result.err}) {
    EXPECT_EQ(text, printable_lines(text));
  }
}

/// Expects one error line that shows the odd text.
void expect_tame_error(const ProgramResult& result) {
  expect_tame(result);
  expect_input_error(result, {kShown});
}

ModelInfo small_model() {
  ModelInfo info;
  info.macadam_version = "0";
  info.network = "unet_mini";
  info.class_names = {"road", "sky"};
  info.palette = {{1, 2, 3}, {4, 5, 6}};
  info.inverse_ids = {7, 11};
  info.label_set = "custom";
  info.height = 32;
  info.width = 64;
  info.precision = "fp32";
  return info;
}

/// A model whose weights are those of a unet_mini for two classes, whatever `info` says.
void write_model(const fs::path& file, const ModelInfo& info, const std::string& prefix = "") {
  const Graph graph = build_network({"unet_mini", 2, {}}, {1, 32, 64, 3});
  std::map<std::string, ModelTensor> tensors;
  std::map<std::string, ModelTensorView> views;
  for (const ParameterSpec& p : graph.parameters()) {
    const ModelTensor& tensor = tensors[p.name] = {p.file_shape(), initial_values(p, 1)};
    views[prefix + p.name] = {tensor.shape, tensor.values};
  }
  save_model(file, info, views);
}

/// What the programs started meanwhile may take of memory.
class AddressLimit {
 public:
  explicit AddressLimit(rlim_t bytes) {
    getrlimit(RLIMIT_AS, &before_);
    const rlimit lower{std::min(bytes, before_.rlim_max), before_.rlim_max};
    setrlimit(RLIMIT_AS, &lower);
  }
  ~AddressLimit() { setrlimit(RLIMIT_AS, &before_); }
  AddressLimit(const AddressLimit&) = delete;
  AddressLimit& operator=(const AddressLimit&) = delete;

 private:
  rlimit before_{};
};

class HostileText : public ::testing::Test {
 protected:
  ProgramResult run(const std::vector<std::string>& arguments) {
    return macadam(scratch_.path(), arguments);
  }
  fs::path file(const std::string& name) const { return scratch_ / name; }
  /// A street data set in a folder of that name.
  std::string streets(const std::string& name) {
    const ProgramResult synth = run({"synth", name, "--images", "2", "--size", "64x32"});
    EXPECT_EQ(synth.exit_code, 0) << synth.err;
    expect_tame(synth);
    return name;
  }

  ScratchFolder scratch_;
};

TEST_F(HostileText, OptionsAndArguments) {
  expect_tame_error(run({"info", kOdd}));
  expect_tame_error(run({"check", kOdd}));
  expect_tame_error(run({"info", "unet_mini", "--device", kOdd}));
  expect_tame_error(run({"info", "unet_mini", "--size", kOdd}));
  expect_tame_error(run({"info", "unet_mini", "--" + kOdd}));
  expect_tame(run({kOdd}));
  expect_tame_error(run({"predict", kOdd, kOdd, "-o", "out"}));
  expect_tame_error(run({"eval", "m", "d", "--absent", kOdd}));
  expect_tame_error(run({"convert", kOdd, "made.safetensors"}));
  expect_tame_error(run({"pack", "streets", kOdd}));
  expect_tame_error(run({"train", kOdd}));
}

TEST_F(HostileText, Folders) {
  const std::string folder = streets(kOdd);
  const ProgramResult check = run({"check", folder});
  EXPECT_EQ(check.exit_code, 0) << check.err;
  expect_tame(check);
  EXPECT_NE(check.out.find(kShown), std::string::npos) << check.out;
  const ProgramResult json = run({"check", folder, "--json"});
  expect_tame(json);
  EXPECT_EQ(Json::parse(json.out).at("name"), kOdd);
  const ProgramResult info = run({"info", folder});
  expect_tame(info);
  EXPECT_NE(info.out.find(kShown), std::string::npos) << info.out;
  const ProgramResult pack = run({"pack", folder, kOdd + ".pack"});
  EXPECT_EQ(pack.exit_code, 0) << pack.err;
  expect_tame(pack);
}

TEST_F(HostileText, FilesWhoseNamesAreNotUtf8) {
  const std::string folder = streets("streets\xff\xfe");
  for (const auto& entry : fs::recursive_directory_iterator(file(folder) / "gtFine/train")) {
    if (entry.is_regular_file()) fs::remove(entry.path());
  }
  const ProgramResult json = run({"check", folder, "--json"});
  expect_tame(json);
  expect_input_error(json, {"streets\\xff\\xfe"});
  const Json report = Json::parse(json.out);
  EXPECT_EQ(report.at("name"), "streets\uFFFD\uFFFD");
  EXPECT_FALSE(report.at("issues").empty());
  const ProgramResult info = run({"info", folder, "--json"});
  EXPECT_EQ(Json::parse(info.out).at("dataset"), "streets\uFFFD\uFFFD");
}

TEST_F(HostileText, Configurations) {
  streets("streets");
  const auto train = [&](const std::string& more) {
    write_text(file("run.toml"), small_config(1, more));
    return run({"train", "run.toml"});
  };
  const std::string toml = "\"a\\u001B[31m\\nb\\u009B2J\\u202E\\u007F\"";
  expect_tame_error(train("label_set = " + toml + "\n"));
  expect_tame_error(train("schedule = " + toml + "\n"));
  expect_tame_error(train(toml + " = 1\n"));
  expect_tame_error(train("[loader]\n" + toml + " = 1\n"));
  expect_tame_error(run({"train", "run.toml", "network=" + kOdd}));
  expect_tame_error(run({"train", "run.toml", kOdd}));
}

TEST_F(HostileText, ClassNames) {
  streets("streets");
  fs::create_directories(file("plain/images/train"));
  fs::create_directories(file("plain/masks/train"));
  write_text(file("plain/dataset.toml"), R"([[classes]]
name = "a\u001B[31m\nb\u009B2J\u202E\u007F"
color = [1, 2, 3]
id = 0
[[classes]]
name = "sky"
color = [4, 5, 6]
id = 1
)");
  expect_tame(run({"check", "plain"}));
  expect_tame(run({"info", "plain"}));
  ModelInfo info = small_model();
  info.class_names = {kOdd, "sky"};
  info.label_set = kOdd;
  write_model(file("model.safetensors"), info);
  const ProgramResult shown = run({"info", "model.safetensors", "--device", "cpu"});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  expect_tame(shown);
  const ProgramResult json = run({"info", "model.safetensors", "--device", "cpu", "--json"});
  expect_tame(json);
  EXPECT_EQ(Json::parse(json.out).at("model").at("class_names")[0], kOdd);
  expect_tame_error(run({"eval", "model.safetensors", "streets", "--device", "cpu"}));
}

TEST_F(HostileText, ModelFiles) {
  ModelInfo info = small_model();
  info.network = kOdd;
  write_model(file("network.safetensors"), info);
  info = small_model();
  info.network_options = {{kOdd, "1"}};
  write_model(file("option.safetensors"), info);
  write_model(file("tensors.safetensors"), small_model(), kOdd);
  for (const char* name : {"network.safetensors", "option.safetensors"}) {
    expect_tame_error(run({"info", name, "--device", "cpu"}));
    expect_tame_error(run({"convert", name, "out.onnx"}));
  }
  expect_tame_error(run({"eval", "tensors.safetensors", "streets", "--device", "cpu"}));
}

TEST_F(HostileText, TensorsOfWeightFiles) {
  const std::vector<float> values(3, 1.0f);
  const StoredTensor tensor{StoredType::f32, {3}, std::as_bytes(std::span(values))};
  write_safetensors(file("w.safetensors"), {{kOdd, tensor}}, {});
  const ProgramResult info = run({"info", "w.safetensors"});
  EXPECT_EQ(info.exit_code, 0) << info.err;
  expect_tame(info);
  EXPECT_NE(info.out.find("[3]"), std::string::npos);
  EXPECT_NE(info.out.find(kShown), std::string::npos);
  const ProgramResult json = run({"info", "w.safetensors", "--json"});
  expect_tame(json);
  EXPECT_EQ(Json::parse(json.out).at("tensors")[0].at("name"), kOdd);
  expect_tame_error(run({"convert", "w.safetensors", "made.safetensors"}));
  expect_tame_error(run({"convert", "w.safetensors", "made.safetensors", "--network", "unet"}));
}

// What is absurd in a model file is told before anything is written, and names the file.
TEST_F(HostileText, AbsurdModelsAreBadInput) {
  streets("streets");
  std::string photo;
  for (const auto& entry : fs::recursive_directory_iterator(file("streets/leftImg8bit"))) {
    if (entry.is_regular_file()) photo = entry.path().string();
  }
  const auto refused = [&](int height, int width) {
    ModelInfo info = small_model();
    info.height = height;
    info.width = width;
    write_model(file("absurd.safetensors"), info);
    for (std::vector<std::string> arguments :
         {std::vector<std::string>{"predict", "absurd.safetensors", photo, "-o", "out"},
          {"predict", "absurd.safetensors", photo, "-o", "out", "--tile", "--logits"},
          {"info", "absurd.safetensors"}}) {
      arguments.insert(arguments.end(), {"--device", "cpu", "--precision", "fp32"});
      expect_input_error(run(arguments), {"absurd.safetensors"});
      EXPECT_FALSE(fs::exists(file("out"))) << height << " x " << width;
    }
  };
  refused(33, 64);     // no multiple of 4
  refused(65536, 64);  // more than resizing takes
  expect_input_error(run({"eval", "absurd.safetensors", "streets", "--device", "cpu"}),
                     {"absurd.safetensors"});
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  const AddressLimit memory(rlim_t{4} << 30);  // they reserve more than there is
  refused(4096, 4096);
#endif
}

TEST_F(HostileText, AFolderThatIsNotThereIsToldFirst) {
  write_model(file("model.safetensors"), small_model());
  for (const char* destination : {"missing/made.onnx", "missing/made.safetensors"}) {
    expect_input_error(run({"convert", "model.safetensors", destination}), {"missing", "folder"});
  }
  expect_input_error(run({"pack", "streets", "missing/made.pack"}), {"missing", "folder"});
}

}  // namespace
}  // namespace macadam
