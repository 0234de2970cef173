// macadam eval --official: the scores of Cityscapes' evaluation with those of instances.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "image/image.h"
#include "loader/cityscapes_instances.h"
#include "shared_folder.h"
#include "tests/image/support.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Words = std::vector<std::string>;

/// Streets with instances, a person, car or the like each a photo's half, and masks in "masks": the
/// labels, moved by three columns.
class EvalOfficial : public SharedFolder<EvalOfficial> {
 protected:
  static void SetUpTestSuite() {
    make_streets(folder(), 10, "streets", "96x48");
    for (const fs::path& file : label_files()) {
      const Image labels = read_labels(file);
      std::vector<std::vector<uint8_t>> rows;
      Image moved = labels;
      for (int y = 0; y < labels.height; ++y) {
        rows.emplace_back();
        for (int x = 0; x < labels.width; ++x) {
          const int number = instance(labels, y, x);
          rows.back().push_back(static_cast<uint8_t>(number >> 8));
          rows.back().push_back(static_cast<uint8_t>(number & 255));
          *moved.at(y, x) = *labels.at(y, std::max(0, x - 3));
        }
      }
      testing::put_bytes(instances_of(file),
                         testing::make_png(static_cast<uint32_t>(labels.width),
                                           static_cast<uint32_t>(labels.height), 16, 0, rows));
      testing::put_png(folder() / "masks" / file.filename(), moved);
    }
  }

  static int instance(const Image& labels, int y, int x) {
    const int label = *labels.at(y, x);
    return label < 24 ? label : 1000 * label + (x < labels.width / 2 ? 0 : 1);
  }
  static std::vector<fs::path> label_files() {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder() / "streets/gtFine/val")) {
      if (entry.path().string().ends_with("_labelIds.png")) files.push_back(entry.path());
    }
    std::ranges::sort(files);
    return files;
  }
  static fs::path instances_of(const fs::path& labels) {
    Sample sample;
    sample.mask = labels;
    return instance_file(sample);
  }
  static ProgramResult eval(const Words& more) {
    Words words{"eval", "masks", "streets", "--official"};
    words.insert(words.end(), more.begin(), more.end());
    return macadam(folder(), words);
  }
};

TEST_F(EvalOfficial, ScoresAreThoseOfTheClassesThatAreEvaluated) {
  const ProgramResult result = eval({"--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = Json::parse(result.out);
  EXPECT_EQ(json.at("masks").at("label_set"), "trainids19");

  ConfusionMatrix ids(kCityscapesIds);
  CityscapesInstances instances;
  for (const fs::path& file : label_files()) {
    const Image labels = read_labels(file),
                found = read_labels(folder() / "masks" / file.filename());
    std::vector<uint16_t> numbers;
    for (int y = 0; y < labels.height; ++y) {
      for (int x = 0; x < labels.width; ++x) {
        ids.add(*labels.at(y, x), *found.at(y, x));
        numbers.push_back(static_cast<uint16_t>(instance(labels, y, x)));
      }
    }
    instances.add(numbers, found.pixels, file.string());
  }
  const CityscapesInstanceScores wanted = instance_scores(ids, instances);
  EXPECT_EQ(json.at("cityscapes_class_iou"), cityscapes_scores(ids).class_iou);
  EXPECT_EQ(json.at("cityscapes_class_iiou"), wanted.class_iou);
  EXPECT_EQ(json.at("cityscapes_category_iiou"), wanted.category_iou);
  EXPECT_NE(wanted.category_iou, cityscapes_scores(ids).category_iou);
  EXPECT_EQ(json.at("cityscapes_classes").at(13).at("name"), "car");
  EXPECT_EQ(json.at("cityscapes_classes").at(13).at("iiou"), wanted.classes[2].iou);
  EXPECT_FALSE(json.at("cityscapes_classes").at(0).contains("iiou"));
  EXPECT_EQ(json.at("cityscapes_categories").at(6).at("iiou"), wanted.categories[1].iou);

  const Json categories = Json::parse(eval({"--label-set", "categories8", "--json"}).out);
  EXPECT_FALSE(categories.contains("cityscapes_class_iiou"));
  EXPECT_EQ(categories.at("cityscapes_category_iiou"), wanted.category_iou);
}

TEST_F(EvalOfficial, TheTableHasBothKindsOfScores) {
  const std::string text = eval({}).out;
  for (const char* words :
       {"                                                   IoU    iIoU\n",
        "official Cityscapes class IoU (19 classes) ", "\n  bicycle ", "\n  vehicle "}) {
    EXPECT_NE(text.find(words), std::string::npos) << words << " in\n" << text;
  }
  for (const std::string& line : lines_of(text.substr(text.find("official")))) {
    EXPECT_LE(line.size(), 80u) << line;
  }
}

TEST_F(EvalOfficial, WhatIsMissingIsAnErrorNotLeftOut) {
  const fs::path first = instances_of(label_files().front());
  fs::rename(first, folder() / "kept.png");
  expect_input_error(eval({}), {"no instances beside the labels", first.filename().string()});
  EXPECT_EQ(macadam(folder(), {"eval", "masks", "streets"}).exit_code, 0);
  testing::put_png(first, Image(24, 48, 1));
  expect_input_error(eval({}), {"48 x 24", "96 x 48", first.filename().string()});
  Image wrong(48, 96, 3);
  testing::put_png(first, wrong);
  expect_input_error(eval({}), {"greyscale", first.filename().string()});
  testing::put_bytes(first, testing::make_png(96, 48, 16, 0,
                                              std::vector<std::vector<uint8_t>>(
                                                  48, std::vector<uint8_t>(192, 0x1b))));  // 6939
  EXPECT_EQ(eval({}).exit_code, 0);  // of an id that is not evaluated
  testing::put_bytes(first, testing::make_png(96, 48, 16, 0,
                                              std::vector<std::vector<uint8_t>>(
                                                  48, std::vector<uint8_t>(192, 0x1c))));  // 7196
  expect_input_error(eval({}), {"instance 7196 is of road", first.filename().string()});
  fs::rename(folder() / "kept.png", first);

  expect_success(macadam(folder(), {"pack", "streets", "streets.pack"}));
  expect_input_error(macadam(folder(), {"eval", "masks", "streets.pack", "--official"}),
                     {"a pack does not keep", "streets.pack"});
  fs::create_directories(folder() / "own/images");
  fs::create_directories(folder() / "own/masks");
  testing::put_png(folder() / "own/images/a.png", Image(2, 2, 3));
  testing::put_png(folder() / "own/masks/a.png", Image(2, 2, 1));
  write_text(folder() / "own/dataset.toml", "[[classes]]\nname = \"all\"\n");
  expect_input_error(macadam(folder(), {"eval", "own/masks", "own", "--official"}),
                     {"Cityscapes' ids, not of custom", "own"});
}

TEST_F(EvalOfficial, AModelIsScoredAtTheLabelsSize) {
  write_text(folder() / "run.toml",
             small_config(1, "name = \"run\"\nlabel_set = \"trainids19\"\n"));
  expect_success(macadam(folder(), {"train", "run.toml"}));
  const Words words{"eval",      "runs/run/best.safetensors", "streets", "--device", "cpu",
                    "--official"};
  expect_input_error(macadam(folder(), words), {"--official", "add --full or --tile"});
  Words full = words;
  full.insert(full.end(), {"--full", "--json"});
  const ProgramResult result = macadam(folder(), full);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(Json::parse(result.out).at("cityscapes_class_iiou").is_number());
}

}  // namespace
}  // namespace macadam
