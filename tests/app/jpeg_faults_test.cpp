// A JPEG with a fault that costs no pixel, through every command: taken with a warning by what
// looks at photos, and on request by what trains on them.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "image/image.h"
#include "shared_folder.h"
#include "tests/paths.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Words = std::vector<std::string>;

constexpr const char* kFault = "JPEG file has a fault that costs no pixel";

/// A plain data set of JPEGs, made once: in "odd", train/b and val/b lack their end markers, in
/// "sound" nothing lacks anything. A model is trained on the latter.
class JpegFaults : public SharedFolder<JpegFaults> {
 protected:
  static void SetUpTestSuite() {
    for (const char* set : {"sound", "odd"}) {
      for (const std::string split : {"train", "val"}) {
        for (const char* name : {"a", "b"}) put(folder() / set, split, name);
      }
      write_text(folder() / set / "dataset.toml",
                 "[[classes]]\nname = \"a\"\n[[classes]]\nname = \"b\"\n");
    }
    for (const char* split : {"train", "val"}) cut(split);
    write_text(folder() / "run.toml", small_config(1, "loader.cache = 0\n"));
    expect_success(train("model", {"dataset=sound"}));
  }

  static void put(const fs::path& root, const std::string& split, const std::string& name) {
    const fs::path photo = root / "images" / split / (name + ".jpg");
    const fs::path mask = root / "masks" / split / (name + ".png");
    fs::create_directories(photo.parent_path());
    fs::create_directories(mask.parent_path());
    fs::copy_file(source_path("tests/golden/images/420.jpg"), photo);
    const ImageInfo info = probe_image(photo);
    Image ids(info.height, info.width, 1);
    std::fill_n(ids.pixels.begin(), ids.pixels.size() / 2, uint8_t{1});
    write_png(mask, ids);
  }
  static fs::path odd(const std::string& split) {
    return folder() / "odd/images" / split / "b.jpg";
  }
  static void cut(const std::string& split) {
    fs::resize_file(odd(split), fs::file_size(odd(split)) - 2);
  }
  static void mend(const std::string& split) {
    fs::copy_file(source_path("tests/golden/images/420.jpg"), odd(split),
                  fs::copy_options::overwrite_existing);
  }

  static ProgramResult train(const std::string& name, Words more) {
    more.insert(more.begin(), {"train", "run.toml", "name=" + name});
    return macadam(folder(), more);
  }
  static ProgramResult eval(const std::string& dataset, const Words& more) {
    Words words{"eval", "runs/model/best.safetensors", dataset, "--json", "--device", "cpu"};
    words.insert(words.end(), more.begin(), more.end());
    return macadam(folder(), words);
  }
  static int64_t lines_with(const std::string& text, const std::string& part) {
    return std::ranges::count_if(lines_of(text), [&](const std::string& line) {
      return line.find(part) != std::string::npos;
    });
  }
};

TEST_F(JpegFaults, PredictWarnsAndLosesNoPixel) {
  const ProgramResult predict =
      macadam(folder(), {"predict", "runs/model/best.safetensors", "odd/images/train", "-o",
                         "masks", "--device", "cpu"});
  expect_success(predict);
  EXPECT_EQ(lines_with(predict.err, "warning"), 1) << predict.err;
  EXPECT_EQ(lines_with(predict.err, "train/b.jpg"), 1) << predict.err;
  EXPECT_EQ(read_text(folder() / "masks/ids/a.png"), read_text(folder() / "masks/ids/b.png"));
}

TEST_F(JpegFaults, EvalWarnsOnceAndScoresTheSame) {
  for (const Words& mode : {Words{}, Words{"--full"}, Words{"--tile", "--scales", "0.5,1"}}) {
    const ProgramResult sound = eval("sound", mode), odd = eval("odd", mode);
    expect_success(odd);
    EXPECT_EQ(lines_with(sound.err, "warning"), 0) << sound.err;
    EXPECT_EQ(lines_with(odd.err, std::string("macadam: warning: ") + kFault), 1) << odd.err;
    EXPECT_EQ(lines_with(odd.err, "val/b.jpg"), 1) << odd.err;
    EXPECT_EQ(Json::parse(odd.out).at("confusion"), Json::parse(sound.out).at("confusion"));
  }
}

TEST_F(JpegFaults, TrainingTakesItOnRequest) {
  expect_input_error(train("strict", {"dataset=odd", "loader.strict=true"}),
                     {"b.jpg", "loader.strict"});
  const ProgramResult lenient =
      train("lenient", {"dataset=odd", "loader.strict=false", "epochs=2"});
  expect_success(lenient);
  EXPECT_EQ(lines_with(lenient.err, "train/b.jpg"), 1) << "once, though loaded twice\n"
                                                       << lenient.err;
}

TEST_F(JpegFaults, ARunMayBecomeLenientAndStrictAgain) {
  const auto go_on = [](int epochs, const std::string& strict) {
    return train("changing",
                 {"dataset=odd", "epochs=" + std::to_string(epochs), strict, "--resume"});
  };
  for (const char* split : {"train", "val"}) mend(split);
  expect_success(train("changing", {"dataset=odd"}));
  for (const char* split : {"train", "val"}) cut(split);
  expect_input_error(go_on(2, "loader.strict=true"), {kFault, "b.jpg"});
  const ProgramResult lenient = go_on(2, "loader.strict=false");
  expect_success(lenient);
  EXPECT_EQ(lines_with(lenient.err, "train/b.jpg"), 1) << lenient.err;
  for (const char* split : {"train", "val"}) mend(split);
  expect_success(go_on(3, "loader.strict=true"));
  for (const char* split : {"train", "val"}) cut(split);  // as the other tests want it
}

TEST_F(JpegFaults, CheckAndPackTakeItOnRequest) {
  const ProgramResult check = macadam(folder(), {"check", "odd"});
  EXPECT_EQ(check.exit_code, 2);
  EXPECT_EQ(lines_with(check.out, std::string("error: ") + kFault), 2) << check.out;
  const ProgramResult easy = macadam(folder(), {"check", "odd", "--no-strict"});
  EXPECT_EQ(lines_with(easy.out, std::string("warning: ") + kFault), 2) << easy.out;
  expect_input_error(macadam(folder(), {"pack", "odd", "strict.pack"}), {"b.jpg", "--no-strict"});
  const ProgramResult pack = macadam(folder(), {"pack", "odd", "easy.pack", "--no-strict"});
  expect_success(pack);
  EXPECT_EQ(lines_with(pack.err, "b.jpg"), 2) << pack.err;
}

}  // namespace
}  // namespace macadam
