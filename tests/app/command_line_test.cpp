// The program from outside: the way from a data set to masks, and wrong input.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "image/image.h"
#include "shared_folder.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// A folder with a small street data set and a configuration, made once.
class CommandLine : public SharedFolder<CommandLine> {
 protected:
  static void SetUpTestSuite() {
    train_on_streets(folder(), 10, small_config(2, "name = \"run\"\n"));
  }
  static std::string model() { return (folder() / "runs/run/best.safetensors").string(); }

  static void copy_streets(const std::string& name) {
    fs::copy(folder() / "streets", folder() / name, fs::copy_options::recursive);
  }
  /// The first photo (or mask) of a split of a copied data set.
  static fs::path first(const std::string& dataset, const std::string& below) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder() / dataset / below)) {
      if (entry.path().extension() == ".png") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files.at(0);
  }
};

TEST_F(CommandLine, TrainingLeavesACompleteRun) {
  for (const char* name : {"config.toml", "log.jsonl", "results.csv", "best.safetensors",
                           "last.safetensors", "curves.svg", "confusion.svg", "report.html"}) {
    EXPECT_GT(fs::file_size(folder() / "runs/run" / name), 0u) << name;
  }
  EXPECT_FALSE(fs::is_empty(folder() / "runs/run/samples"));
  EXPECT_EQ(lines_of(read_text(folder() / "runs/run/results.csv")).size(), 3u);
}

TEST_F(CommandLine, EvalRepeatsTheNumberOfTraining) {
  const ProgramResult eval = macadam(
      folder(), {"eval", model(), "streets", "--json", "--device", "cpu", "--precision", "fp32"});
  ASSERT_EQ(eval.exit_code, 0) << eval.err;
  const Json info =
      Json::parse(macadam(folder(), {"info", model(), "--json", "--device", "cpu"}).out);
  EXPECT_EQ(Json::parse(eval.out).at("miou_present").get<double>(),
            info.at("model").at("metrics").at("miou_present").get<double>());
}

TEST_F(CommandLine, PredictWritesMasksOfThePhotosSize) {
  const std::string photo = first("streets", "leftImg8bit/val").string();
  const ProgramResult predict =
      macadam(folder(), {"predict", model(), photo, "-o", "masks", "--overlay", "--logits",
                         "--flip", "--tile", "--device", "cpu"});
  ASSERT_EQ(predict.exit_code, 0) << predict.err;
  const std::string stem = fs::path(photo).stem().string();
  for (const char* kind : {"ids", "color", "overlay"}) {
    EXPECT_GT(fs::file_size(folder() / "masks" / kind / (stem + ".png")), 0u) << kind;
  }
  // 128 bytes of header, then 32 x 64 pixels x 8 classes of float32.
  EXPECT_EQ(fs::file_size(folder() / "masks/logits" / (stem + ".npy")), 128u + 32 * 64 * 8 * 4);
}

TEST_F(CommandLine, CheckAndInfoSpeakJson) {
  const Json check = Json::parse(macadam(folder(), {"check", "streets", "--json"}).out);
  EXPECT_EQ(check.at("errors"), 0);
  const Json network = Json::parse(
      macadam(folder(), {"info", "unet_mini", "--json", "--device", "cpu", "--train"}).out);
  EXPECT_EQ(network.at("parameters"), 471784);
  const Json& memory = network.at("memory");
  EXPECT_LE(memory.at("arena_bytes").get<double>(), 1.2 * memory.at("peak_bytes").get<double>());
  EXPECT_FALSE(Json::parse(macadam(folder(), {"info", "--json"}).out).at("devices").empty());
}

TEST_F(CommandLine, CheckDrawsContactSheets) {
  write_text(folder() / "strong.toml",
             small_config(1, "augment = [{name = \"ShiftScaleRotate\", p = 1}]\n"));
  const std::vector<std::string> check{"check", "streets", "--augment", "strong.toml"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), check.begin(), check.end());
    return macadam(folder(), more);
  };
  const ProgramResult result = with({"-o", "sheets", "--sheets", "3", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(Json::parse(result.out).at("errors"), 0);
  std::vector<fs::path> sheets;
  for (const auto& entry : fs::directory_iterator(folder() / "sheets")) {
    if (entry.path().extension() == ".png") sheets.push_back(entry.path());
  }
  ASSERT_EQ(sheets.size(), 3u);
  // A photo and three epochs beside each other, and below them the same with labels.
  const Image sheet = read_rgb(sheets[0]);
  EXPECT_GT(sheet.width, 4 * 64);
  EXPECT_GT(sheet.height, 2 * 32);
  const auto tile = [&](int column) {
    Image part(32, 64, 3);
    for (int y = 0; y < 32; ++y) {
      std::copy_n(sheet.at(20 + y, 6 + column * 70), 64 * 3, part.at(y, 0));
    }
    return part;
  };
  EXPECT_NE(tile(0), tile(1));
  EXPECT_NE(tile(1), tile(2));

  expect_input_error(with({}), {"--augment", "-o"});
  expect_input_error(macadam(folder(), {"check", "streets", "-o", "sheets"}), {"--augment"});
  expect_input_error(macadam(folder(), {"check", "streets", "--sheets", "2"}), {"--augment"});
  // The label set is that of the configuration: there is no legend of ignored pixels.
  write_text(folder() / "ignored.toml", small_config(1, "void = \"ignore\"\naugment = []\n"));
  ASSERT_EQ(macadam(folder(), {"check", "streets", "--augment", "ignored.toml", "-o", "ignored",
                               "--sheets", "3"})
                .exit_code,
            0);
  EXPECT_NE(read_rgb(folder() / "ignored" / sheets[0].filename()), read_rgb(sheets[0]));
  write_text(folder() / "bad.toml", small_config(1, "augment = [{name = \"Blurr\"}]\n"));
  expect_input_error(macadam(folder(), {"check", "streets", "--augment", "bad.toml", "-o", "x"}),
                     {"Blurr", "Blur", "bad.toml:"});
  EXPECT_FALSE(fs::exists(folder() / "x"));
}

TEST_F(CommandLine, AMaskIsNotFilledWithWhatIsNoClass) {
  const auto train = [&](const std::string& list) {
    return macadam(folder(), {"train", "run.toml", "name=f", "augment=[" + list + "]"});
  };
  expect_input_error(train("{name = \"CoarseDropout\", mask_fill_value = 8}"),
                     {"CoarseDropout", "8 classes", "255"});
  expect_input_error(
      train("{name = \"ShiftScaleRotate\", border_mode = \"constant\", mask_value = 200}"),
      {"ShiftScaleRotate", "200"});
}

TEST_F(CommandLine, ADeviceCacheNeedsADevice) {
  expect_input_error(macadam(folder(), {"train", "run.toml", "name=c", "loader.device_cache=8"}),
                     {"loader.device_cache", "CPU", "loader.cache"});
}

TEST_F(CommandLine, ARunIsNotOverwritten) {
  expect_input_error(macadam(folder(), {"train", "run.toml"}), {"runs/run", "--resume"});
}

TEST_F(CommandLine, ResumingWithAnotherLearningRateIsRefused) {
  expect_input_error(macadam(folder(), {"train", "run.toml", "lr=0.5", "--resume"}), {"lr"});
}

TEST_F(CommandLine, WrongUsage) {
  expect_input_error(macadam(folder(), {}), {"--help"});
  expect_input_error(macadam(folder(), {"trian"}), {"--help"});
  expect_input_error(macadam(folder(), {"synth", "x", "--size", "banana"}), {"banana", "--size"});
  expect_input_error(macadam(folder(), {"info", "unet_mni"}), {"unet_mni", "unet_mini"});
}

TEST_F(CommandLine, WrongConfiguration) {
  expect_input_error(macadam(folder(), {"train", "missing.toml"}), {"missing.toml"});
  expect_input_error(macadam(folder(), {"train", "run.toml", "epohcs=3"}), {"epohcs", "epochs"});
  expect_input_error(macadam(folder(), {"train", "run.toml", "batch=many"}), {"batch"});
  expect_input_error(macadam(folder(), {"train", "run.toml", "name=a", "size=[30,64]"}),
                     {"30x64", "multiples of 4"});
  expect_input_error(macadam(folder(), {"train", "run.toml", "name=a", "network.dropuot=0.1"}),
                     {"dropuot", "dropout"});
  expect_input_error(macadam(folder(), {"train", "run.toml", "name=a", "freeze=[\"botom.*\"]"}),
                     {"'botom.*'", "\"bottom.*\""});
  expect_input_error(macadam(folder(), {"train", "run.toml", "name=a", "freeze=[\"*\"]"}),
                     {"every parameter is frozen"});
  expect_input_error(macadam(folder(), {"train", "run.toml", "name=a", "encoder_lr=0.1"}),
                     {"encoder_lr", "no encoder"});
  expect_input_error(macadam(folder(), {"train", "run.toml", "name=a", "freeze_batch_norm=all"}),
                     {"freeze_batch_norm", "no batch norm"});
  EXPECT_FALSE(fs::exists(folder() / "runs/a"));
}

TEST_F(CommandLine, FrozenParametersAreCounted) {
  const ProgramResult train = macadam(
      folder(), {"train", "run.toml", "name=frozen", "freeze=[{pattern = \"*\", epochs = 1}]"});
  EXPECT_EQ(train.exit_code, 2) << "nothing to train in the first epoch";
  const ProgramResult head = macadam(folder(), {"train", "run.toml", "name=frozen",
                                                "freeze=[{pattern = \"*.conv?.*\", epochs = 1}]"});
  ASSERT_EQ(head.exit_code, 0) << head.err;
  for (const char* line : {"up to epoch 1, 264 parameters are trained and 471520 frozen",
                           "up to epoch 2, 471784 parameters are trained and 0 frozen"}) {
    EXPECT_NE(head.err.find(line), std::string::npos) << head.err;
  }
}

TEST_F(CommandLine, StepsOfSeveralBatchesClippedAndAveraged) {
  const std::vector<std::string> keys{"accumulate=3", "clip_norm=0.5", "ema=0.9", "name=steps"};
  std::vector<std::string> words{"train", "run.toml"};
  words.insert(words.end(), keys.begin(), keys.end());
  const ProgramResult train = macadam(folder(), words);
  ASSERT_EQ(train.exit_code, 0) << train.err;
  const fs::path run = folder() / "runs/steps";
  const auto steps = [](const fs::path& folder) {
    const auto lines = lines_of(read_text(folder / "log.jsonl"));
    return std::ranges::count_if(
        lines, [](const std::string& line) { return line.find("\"step\",") != std::string::npos; });
  };
  const auto batches = steps(folder() / "runs/run") / 2;  // of an epoch
  EXPECT_EQ(steps(run), 2 * ((batches + 2) / 3));
  for (const char* model : {"best.safetensors", "last.safetensors"}) {
    const ProgramResult eval = macadam(folder(), {"eval", (run / model).string(), "streets"});
    EXPECT_EQ(eval.exit_code, 0) << eval.err;
  }
  words.push_back("--resume");
  EXPECT_EQ(macadam(folder(), words).exit_code, 0);
  expect_input_error(
      macadam(folder(), {"train", "run.toml", "name=steps", "accumulate=3", "--resume"}),
      {"'clip_norm'"});
  expect_input_error(macadam(folder(), {"train", "run.toml", "name=a", "accumulate=1000"}),
                     {"accumulate", "use at most " + std::to_string(batches)});
}

TEST_F(CommandLine, AProfileShowsEveryLayerAndLeavesNoRun) {
  const ProgramResult result =
      macadam(folder(), {"train", "run.toml", "name=profiled", "--profile", "2"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_FALSE(fs::exists(folder() / "runs/profiled"));
  for (const char* word : {"down1.conv1", "after down1.conv2", "max_pool", "loss", "optimizer",
                           "by kind", "medians of 2 steps", "profiled.trace.json"}) {
    EXPECT_NE(result.out.find(word), std::string::npos) << word << " in\n" << result.out;
  }
  const Json trace = Json::parse(read_text(folder() / "runs/profiled.trace.json"));
  double end = 0;
  std::map<std::string, int> calls;
  for (const Json& event : trace["traceEvents"]) {
    EXPECT_EQ(event["ph"], "X");
    EXPECT_GE(event["ts"].get<double>(), end) << "in the order in which they ran";
    end = event["ts"].get<double>();
    ++calls[event["cat"].get<std::string>()];
  }
  EXPECT_EQ(calls["upload"], 1);
  EXPECT_EQ(calls["update"], 1);
  EXPECT_EQ(calls["forward"], calls["backward"] + 2) << "convolutions take two poolings' gradients";
  EXPECT_GT(calls["pack"], 10);

  expect_input_error(
      macadam(folder(), {"train", "run.toml", "name=profiled", "--profile", "accumulate=2"}),
      {"accumulate"});
}

TEST_F(CommandLine, TrainingInFp16NeedsCuda) {
  expect_input_error(macadam(folder(), {"train", "run.toml", "name=a", "precision=fp16"}),
                     {"fp16 runs on CUDA only", "bf16"});
}

TEST_F(CommandLine, ADeviceThatIsNotThere) {
  expect_input_error(macadam(folder(), {"train", "run.toml", "name=d", "device=cuda:77"}),
                     {"cuda"});
  expect_input_error(macadam(folder(), {"train", "run.toml", "name=d", "device=tpu"}), {"tpu"});
}

TEST_F(CommandLine, AMissingMask) {
  copy_streets("no_mask");
  const fs::path mask = first("no_mask", "gtFine/train");
  fs::remove(mask);
  expect_input_error(macadam(folder(), {"train", "run.toml", "name=m", "dataset=no_mask"}),
                     {mask.filename().string()});
}

TEST_F(CommandLine, AnEmptySplit) {
  copy_streets("no_val");
  fs::remove_all(folder() / "no_val/leftImg8bit/val");
  fs::remove_all(folder() / "no_val/gtFine/val");
  expect_input_error(macadam(folder(), {"train", "run.toml", "name=e", "dataset=no_val"}), {"val"});
}

TEST_F(CommandLine, ATruncatedImageInTheMiddleOfTraining) {
  copy_streets("cut");
  const fs::path photo = first("cut", "leftImg8bit/train");
  fs::resize_file(photo, fs::file_size(photo) / 2);
  expect_input_error(macadam(folder(), {"train", "run.toml", "name=c", "dataset=cut"}),
                     {photo.filename().string()});
  fs::resize_file(photo, 0);
  expect_input_error(macadam(folder(), {"check", "cut"}), {"cut"});
}

TEST_F(CommandLine, PhotoAndMaskOfDifferentSizes) {
  copy_streets("sizes");
  const ProgramResult other =
      macadam(folder(), {"synth", "larger", "--images", "10", "--size", "128x64"});
  ASSERT_EQ(other.exit_code, 0) << other.err;
  const fs::path mask = first("sizes", "gtFine/train");
  fs::copy_file(first("larger", "gtFine/train"), mask, fs::copy_options::overwrite_existing);
  expect_input_error(macadam(folder(), {"train", "run.toml", "name=s", "dataset=sizes"}),
                     {mask.stem().string().substr(0, 8), "64", "128"});
}

TEST_F(CommandLine, AnUnknownLabelId) {
  // Street ids go to 33; this data set says that it has 0 to 11.
  copy_streets("unknown");
  write_text(folder() / "unknown/dataset.toml", "label_ids = \"camvid\"\n");
  expect_input_error(macadam(folder(), {"train", "run.toml", "name=u", "dataset=unknown"}),
                     {"camvid11", "labelIds.png"});
}

TEST_F(CommandLine, ADamagedModel) {
  const std::string bytes = read_text(model());
  write_text(folder() / "cut.safetensors", bytes.substr(0, bytes.size() / 2));
  expect_input_error(macadam(folder(), {"eval", "cut.safetensors", "streets"}),
                     {"cut.safetensors"});
  std::string huge = bytes;
  huge.replace(0, 8, std::string("\0\0\0\x80\0\0\0\0", 8));  // a header of 2 GB
  write_text(folder() / "huge.safetensors", huge);
  expect_input_error(macadam(folder(), {"eval", "huge.safetensors", "streets"}),
                     {"huge.safetensors"});
  expect_input_error(macadam(folder(), {"eval", "run.toml", "streets"}), {"run.toml"});
}

TEST_F(CommandLine, NaNLossStopsAndKeepsTheLastGoodCheckpoint) {
  const ProgramResult train =
      macadam(folder(), {"train", "run.toml", "name=nan", "optimizer=sgd", "lr=100", "warmup=0",
                         "epochs=6", "checkpoint_seconds=0.001"});
  EXPECT_EQ(train.exit_code, 1) << train.err;
  EXPECT_NE(train.err.find("step"), std::string::npos) << train.err;
  EXPECT_NE(train.err.find("lower lr"), std::string::npos) << train.err;
  const fs::path last = folder() / "runs/nan/last.safetensors";
  if (fs::exists(last)) {
    EXPECT_EQ(macadam(folder(), {"info", last.string(), "--device", "cpu"}).exit_code, 0);
  }
}

}  // namespace
}  // namespace macadam
