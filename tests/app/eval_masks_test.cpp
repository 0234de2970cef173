// macadam eval on masks that were written before, by this program or any other.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "image/image.h"
#include "loader/label_set.h"
#include "shared_folder.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Words = std::vector<std::string>;

/// A model for 64x32, labelled streets of 96x48, and the masks that predict makes of their split
/// val, in masks/ids.
class EvalMasks : public SharedFolder<EvalMasks> {
 protected:
  static void SetUpTestSuite() {
    train_on_streets(folder(), 10, small_config(1, "name = \"run\"\nlabel_set = \"trainids19\"\n"));
    make_streets(folder(), 10, "large", "96x48");
    expect_success(macadam(folder(), {"predict", kModel, "large/leftImg8bit/val", "-o", "masks",
                                      "--device", "cpu", "--precision", "fp32"}));
  }

  static ProgramResult eval(const std::string& subject, Words more) {
    Words words{"eval", subject, "large"};
    words.insert(words.end(), more.begin(), more.end());
    return macadam(folder(), words);
  }
  static Json scores(const std::string& subject, Words more) {
    more.push_back("--json");
    const ProgramResult result = eval(subject, more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.exit_code == 0 ? Json::parse(result.out) : Json();
  }
  /// The masks of masks/ids as `change` makes them, in `name`.
  template <class Change>
  static void rewrite(const std::string& name, const Change& change) {
    fs::create_directories(folder() / name);
    for (const auto& entry : fs::recursive_directory_iterator(folder() / "masks/ids")) {
      if (entry.path().extension() != ".png") continue;
      Image mask = read_labels(entry.path());
      change(mask);
      write_png(folder() / name / entry.path().filename(), mask);
    }
  }

  static constexpr const char* kModel = "runs/run/best.safetensors";
  static constexpr const char* kSet = "--label-set=trainids19";
};

TEST_F(EvalMasks, ScoresOfPredictedMasksAreTheModelsOwn) {
  const Json model = scores(kModel, {"--full", "--device", "cpu", "--precision", "fp32"});
  for (const char* subject : {"masks/ids", "masks"}) {
    Json masks = scores(subject, {kSet});
    EXPECT_EQ(masks.at("masks"),
              Json({{"path", subject}, {"ids", "dataset"}, {"label_set", "trainids19"}}));
    EXPECT_FALSE(masks.contains("model"));
    masks.erase("masks");
    for (const auto& [key, value] : masks.items()) EXPECT_EQ(value, model.at(key)) << key;
    EXPECT_TRUE(masks.at("cityscapes_class_iou").is_number());
  }
}

TEST_F(EvalMasks, MasksOfClassesAreTheSame) {
  const Json wanted = scores("masks", {kSet});
  const LabelSet labels = make_label_set("trainids19");
  rewrite("classes", [&](Image& mask) {
    for (uint8_t& pixel : mask.pixels) pixel = labels.label_of_id[pixel];
  });
  Json classes = scores("classes", {kSet, "--ids", "classes"});
  EXPECT_EQ(classes.at("confusion"), wanted.at("confusion"));
  EXPECT_EQ(classes.at("cityscapes_class_iou"), wanted.at("cityscapes_class_iou"));
  const ProgramResult mistaken = eval("classes", {kSet});
  EXPECT_EQ(mistaken.exit_code, 0);
  EXPECT_NE(mistaken.err.find("give --ids classes"), std::string::npos) << mistaken.err;
}

TEST_F(EvalMasks, WhatIsPredictedAsNoClassIsAMissOfItsLabel) {
  rewrite("parking", [](Image& mask) {
    for (uint8_t& pixel : mask.pixels) pixel = pixel == 7 ? 9 : pixel;  // road as parking
  });
  const Json before = scores("masks", {kSet}), after = scores("parking", {kSet});
  EXPECT_FALSE(before.contains("unclassified"));
  EXPECT_EQ(after.at("pixels"), before.at("pixels"));
  uint64_t unclassified = 0, roads = 0;
  for (const Json& pixels : after.at("unclassified")) unclassified += pixels.get<uint64_t>();
  for (const Json& row : before.at("confusion")) roads += row.at(0).get<uint64_t>();
  EXPECT_GT(roads, 0u);
  EXPECT_EQ(unclassified, roads);
  EXPECT_EQ(after.at("classes").at(0).at("iou"), 0.0);
  EXPECT_NE(eval("parking", {kSet}).out.find("(none)"), std::string::npos);
  // Over categories, parking is flat.
  EXPECT_EQ(scores("parking", {}).at("confusion"), scores("masks", {}).at("confusion"));
}

TEST_F(EvalMasks, BoundariesAreScoredWhereMasksHaveTheLabelsSize) {
  const Json masks = scores("masks", {kSet, "--boundary"});
  EXPECT_EQ(masks.at("boundary_ratio"), 0.02);
  EXPECT_GT(masks.at("mbiou_present").get<double>(), 0);
  EXPECT_LT(masks.at("mbiou_present"),
            scores("large/gtFine/val", {kSet, "--boundary"}).at("mbiou_present"));
  const Json model =
      scores(kModel, {"--full", "--boundary", "0.02", "--device", "cpu", "--precision", "fp32"});
  EXPECT_EQ(model.at("classes"), masks.at("classes"));
  EXPECT_NE(scores("masks", {kSet, "--boundary", "0.1"}).at("mbiou_present"),
            masks.at("mbiou_present"));
  EXPECT_FALSE(scores("masks", {kSet}).contains("boundary_ratio"));
  const std::string text = eval("masks", {kSet, "--boundary"}).out;
  EXPECT_NE(text.find("B-IoU"), std::string::npos) << text;
  for (const std::string& line : lines_of(text.substr(0, text.find("official")))) {
    EXPECT_LE(line.size(), 80u) << line;
  }
}

TEST_F(EvalMasks, TheTextSaysWhatWasScored) {
  const std::string text = eval("masks", {kSet}).out;
  for (const char* words : {"masks on large (val, 2 images)\n",
                            "masks hold the data set's own ids; masks scored at 96x48, the size of "
                            "the labels\n",
                            "official Cityscapes class IoU"}) {
    EXPECT_NE(text.find(words), std::string::npos) << words << " in\n" << text;
  }
}

TEST_F(EvalMasks, APackIsScoredByItsLabels) {
  expect_success(macadam(folder(), {"pack", "large", "large.pack", "--label-set", "trainids19"}));
  const ProgramResult packed = macadam(folder(), {"eval", "masks", "large.pack", kSet, "--json"});
  ASSERT_EQ(packed.exit_code, 0) << packed.err;
  const Json json = Json::parse(packed.out);
  EXPECT_EQ(json.at("confusion"), scores("masks", {kSet}).at("confusion"));
  EXPECT_TRUE(json.at("cityscapes_category_iou").is_null());
}

TEST_F(EvalMasks, MistakesAreOneLine) {
  expect_input_error(eval("masks", {"--split", "train"}), {"8 of 8 photos have no mask", "masks"});
  expect_input_error(eval("masks/color", {}), {"coloured", "masks/color"});
  expect_input_error(eval("runs/run", {}), {"a run's folder", "best.safetensors"});
  expect_input_error(eval("masks", {"--ids", "train"}), {"'train'", "--ids"});
  expect_input_error(eval("masks", {"--label-set", "camvid11"}), {"camvid11"});
  for (const Words& option :
       {Words{"--full"}, Words{"--tile"}, Words{"--flip"}, Words{"--scales", "1"},
        Words{"--batch", "1"}, Words{"--threads", "1"}, Words{"--device", "cpu"},
        Words{"--precision", "fp32"}}) {
    expect_input_error(eval("masks", option), {option[0], "no effect on a folder of masks"});
  }
  for (const Words& option :
       {Words{"--label-set", "auto"}, Words{"--void", "auto"}, Words{"--ids", "dataset"}}) {
    expect_input_error(eval(kModel, option), {option[0], "no effect on a model"});
  }
  for (const char* ratio : {"0", "-1", "1.5", "nan", "wide", "0.02x"}) {
    expect_input_error(eval("masks", {std::string("--boundary=") + ratio}),
                       {"no width of a boundary", "--boundary"});
  }
  expect_input_error(eval(kModel, {"--boundary"}), {"--boundary", "add --full or --tile"});
  expect_input_error(eval(kModel, {"--flip", "--boundary"}), {"--boundary", "add --full"});
  rewrite("twice", [](Image&) {});
  rewrite("twice/again", [](Image&) {});
  expect_input_error(eval("twice", {}), {"2 masks for one photo", "twice/again"});
  rewrite("small", [](Image& mask) { mask = Image(24, 48, 1); });
  expect_input_error(eval("small", {}), {"48 x 24", "96 x 48", "small/"});
  rewrite("strange", [](Image& mask) { mask.pixels[97] = 77; });
  expect_input_error(eval("strange", {}), {"77 at x=1, y=1", "strange/"});
}

}  // namespace
}  // namespace macadam
