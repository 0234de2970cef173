// macadam eval beyond the network's own size: the labels' size, windows, mirror images, scales, and
// the official Cityscapes scores.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "image/image.h"
#include "loader/cityscapes_scores.h"
#include "shared_folder.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Words = std::vector<std::string>;

/// A model for 64x32 and labelled streets of 96x48, whose masks hold every id, made once.
class Eval : public SharedFolder<Eval> {
 protected:
  static void SetUpTestSuite() {
    train_on_streets(folder(), 10, small_config(2, "name = \"run\"\n"));
    make_streets(folder(), 10, "large", "96x48");
    for (const fs::path& file : files("large/gtFine/val")) {
      Image mask = read_labels(file);
      for (int id = 0; id < kCityscapesIds; ++id) {
        for (int x = 0; x < 8; ++x)
          *mask.at(30 + id % 17, 8 * (id / 17) + x) = static_cast<uint8_t>(id);
      }
      write_png(file, mask);
    }
    expect_success(macadam(folder(), {"train", "run.toml", "name=19", "label_set=trainids19"}));
  }

  static std::vector<fs::path> files(const std::string& below) {
    std::set<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(folder() / below)) {
      if (entry.path().extension() == ".png") found.insert(entry.path());
    }
    return {found.begin(), found.end()};
  }

  static ProgramResult eval(const std::string& dataset, const Words& more,
                            const std::string& run = "run") {
    Words words{
        "eval", "runs/" + run + "/best.safetensors", dataset, "--device", "cpu", "--precision",
        "fp32"};
    words.insert(words.end(), more.begin(), more.end());
    return macadam(folder(), words);
  }
  static Json scores(const std::string& dataset, Words more, const std::string& run = "run") {
    more.push_back("--json");
    const ProgramResult result = eval(dataset, more, run);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.exit_code == 0 ? Json::parse(result.out) : Json();
  }
};

TEST_F(Eval, JsonSaysWhatWasScored) {
  const Json json = scores("large", {});
  EXPECT_EQ(json.at("model").at("path"), "runs/run/best.safetensors");
  EXPECT_EQ(json.at("model").at("network"), "unet_mini");
  EXPECT_EQ(json.at("dataset"), "large");
  EXPECT_EQ(json.at("split"), "val");
  EXPECT_EQ(json.at("images"), 2);
  EXPECT_EQ(json.at("size"), Json({{"width", 64}, {"height", 32}}));
  EXPECT_EQ(json.at("mode"),
            Json({{"full", false}, {"tile", false}, {"flip", false}, {"scales", {1.0}}}));
  EXPECT_EQ(json.at("precision"), "fp32");
  EXPECT_EQ(json.at("device"), "cpu");
  EXPECT_EQ(json.at("pixels"), 2 * 64 * 32);  // void is a class
  EXPECT_TRUE(json.at("cityscapes_category_iou").is_null());
  EXPECT_NE(json.at("notes").dump().find("not the official category score"), std::string::npos);

  const Json full = scores("large", {"--full", "--flip", "--scales", "0.5,1"});
  EXPECT_EQ(full.at("size"), Json({{"width", 96}, {"height", 48}}));
  EXPECT_EQ(full.at("network_size"), Json({{"width", 64}, {"height", 32}}));
  EXPECT_EQ(full.at("mode"),
            Json({{"full", true}, {"tile", false}, {"flip", true}, {"scales", {0.5, 1.0}}}));
  EXPECT_EQ(full.at("pixels"), 2 * 96 * 48);
  EXPECT_TRUE(full.at("cityscapes_category_iou").is_number());
}

TEST_F(Eval, AtTheNetworksSizeFullScoresWhatBatchesDo) {
  // Photos and labels have the network's size: there is nothing to up-sample.
  EXPECT_EQ(scores("streets", {"--full"}).at("confusion"), scores("streets", {}).at("confusion"));
  EXPECT_EQ(scores("streets", {"--tile"}).at("confusion"), scores("streets", {}).at("confusion"));
}

/// Every mode gives the counts, and the official scores, of the masks that predict writes.
TEST_F(Eval, ScoresAreThoseOfTheMasksThatPredictWrites) {
  for (const std::string run : {"run", "19"}) {
    for (const Words& mode :
         {Words{}, Words{"--tile"}, Words{"--flip"}, Words{"--tile", "--flip"}}) {
      const std::string out =
          "masks" + run + std::to_string(mode.size()) + (mode.empty() ? "" : mode[0]);
      Words words{"predict",     "runs/" + run + "/best.safetensors",
                  "-o",          out,
                  "--device",    "cpu",
                  "--precision", "fp32"};
      words.insert(words.end(), mode.begin(), mode.end());
      for (const fs::path& photo : files("large/leftImg8bit/val")) words.push_back(photo.string());
      const ProgramResult predict = macadam(folder(), words);
      ASSERT_EQ(predict.exit_code, 0) << predict.err;

      ConfusionMatrix ids(kCityscapesIds);
      const std::vector<fs::path> labels = files("large/gtFine/val");
      std::vector<fs::path> masks = files(out + "/ids");
      std::erase_if(masks, [](const fs::path& file) { return file.extension() != ".png"; });
      ASSERT_EQ(masks.size(), labels.size());
      for (size_t i = 0; i < labels.size(); ++i) {
        const Image truth = read_labels(labels[i]), mask = read_labels(masks[i]);
        ASSERT_EQ(truth.pixels.size(), mask.pixels.size());
        for (size_t p = 0; p < truth.pixels.size(); ++p) ids.add(truth.pixels[p], mask.pixels[p]);
      }
      const CityscapesScores wanted = cityscapes_scores(ids);
      Words options = mode;
      if (std::ranges::find(mode, "--tile") == mode.end()) options.emplace_back("--full");
      const Json json = scores("large", options, run);
      EXPECT_EQ(json.at("cityscapes_category_iou").get<double>(), wanted.category_iou);
      EXPECT_EQ(json.at("cityscapes_categories").size(), 7u);
      if (run == "19") {
        EXPECT_EQ(json.at("cityscapes_class_iou").get<double>(), wanted.class_iou);
        EXPECT_EQ(json.at("miou_present").get<double>(), wanted.class_iou);
      } else {
        EXPECT_FALSE(json.contains("cityscapes_class_iou"));
        EXPECT_NE(json.at("miou_present").get<double>(), wanted.category_iou);
      }
    }
  }
}

TEST_F(Eval, ScalesAndMirrorImagesChangeTheScores) {
  const Json plain = scores("large", {"--full"});
  for (const Words& more :
       {Words{"--flip"}, Words{"--scales", "0.5,1,1.5"}, Words{"--scales", "2"}}) {
    Words options{"--full"};
    options.insert(options.end(), more.begin(), more.end());
    const Json json = scores("large", options);
    EXPECT_NE(json.at("confusion"), plain.at("confusion")) << more.front();
    EXPECT_EQ(json.at("pixels"), plain.at("pixels"));
  }
  EXPECT_NE(scores("large", {"--tile", "--scales", "0.75,1"}).at("confusion"),
            scores("large", {"--tile"}).at("confusion"));
  EXPECT_EQ(scores("large", {"--full", "--scales", "1"}).at("confusion"), plain.at("confusion"));
}

TEST_F(Eval, ThePacksOwnSizeIsAllThatAPackKnows) {
  const ProgramResult pack = macadam(
      folder(), {"pack", "large", "large.pack", "--size", "80x40", "--label-set", "categories8"});
  ASSERT_EQ(pack.exit_code, 0) << pack.err;
  const Json json = scores("large.pack", {"--full"});
  EXPECT_EQ(json.at("size"), Json({{"width", 80}, {"height", 40}}));
  EXPECT_TRUE(json.at("cityscapes_category_iou").is_null());
  EXPECT_NE(json.at("notes").dump().find("which a pack does not keep"), std::string::npos);
}

TEST_F(Eval, TheTextSaysWhatWasScoredAtWhichSize) {
  const std::string full = eval("large", {"--full", "--flip"}).out;
  for (const char* words :
       {"photos seen whole at 64x32, also mirrored; masks scored at 96x48, the size of the labels",
        "official Cityscapes category IoU (7 categories)", "not the official category score"}) {
    EXPECT_NE(full.find(words), std::string::npos) << words << " in\n" << full;
  }
  EXPECT_NE(eval("large", {"--tile"}).out.find("photos seen in windows of 64x32"),
            std::string::npos);
  const std::string plain = eval("large", {}).out;
  EXPECT_NE(plain.find("masks scored at 64x32\n"), std::string::npos) << plain;
  EXPECT_NE(plain.find("add --full or --tile"), std::string::npos) << plain;
  EXPECT_EQ(plain.find("(7 categories)"), std::string::npos) << plain;
  EXPECT_NE(eval("large", {"--full"}, "19").out.find("official Cityscapes class IoU (19 classes)"),
            std::string::npos);
}

TEST_F(Eval, TheOriginsScoresHaveNamesOfTheirOwn) {
  const Json plain = scores("large", {});
  EXPECT_FALSE(plain.contains("soft_iou_batch"));
  const Json origin = scores("large", {"--origin"});
  EXPECT_EQ(origin.at("confusion"), plain.at("confusion"));
  EXPECT_EQ(origin.at("miou8_with_void"), plain.at("miou_present"));
  EXPECT_EQ(origin.at("soft_iou_batch_size"), 4);
  EXPECT_NE(origin.at("notes").dump().find("soft_iou_batch is a mean over batches of 4"),
            std::string::npos);
  const double together = origin.at("soft_iou_batch");
  EXPECT_GT(together, 0);
  EXPECT_LT(together, 1);
  const Json alone = scores("large", {"--origin", "--batch", "1", "--absent", "zero"});
  EXPECT_NE(alone.at("soft_iou_batch"), together);
  EXPECT_EQ(alone.at("miou8_with_void"), plain.at("miou_present"));
  EXPECT_EQ(scores("large", {"--origin", "--batch", "2"}).at("soft_iou_batch"), together);
  EXPECT_NE(eval("large", {"--origin"}).out.find("\nsoft_iou_batch "), std::string::npos);

  expect_input_error(eval("large", {"--origin"}, "19"), {"--origin", "trainids19"});
  for (const Words& more : {Words{"--full"}, Words{"--tile"}, Words{"--flip"},
                            Words{"--scales", "2"}, Words{"--threads", "1"}}) {
    Words words{"--origin"};
    words.insert(words.end(), more.begin(), more.end());
    expect_input_error(eval("large", words), {more[0], "no effect on the origin's scores"});
  }
  expect_input_error(macadam(folder(), {"eval", "large/gtFine/val", "large", "--origin"}),
                     {"--origin", "no effect on a folder of masks"});
}

TEST_F(Eval, ModesThatDoNotGoTogetherAreErrors) {
  expect_input_error(eval("large", {"--full", "--tile"}), {"--full, --tile"});
  expect_input_error(eval("large", {"--full", "--batch", "2"}), {"--batch", "no effect"});
  expect_input_error(eval("large", {"--flip", "--threads", "1"}), {"--threads", "no effect"});
  expect_input_error(eval("large", {"--threads", "-1"}), {"--threads"});
  for (const char* scales : {"", "0", "9", "nan", "1,", "1,1", "1;2", "big"}) {
    expect_input_error(eval("large", {std::string("--scales=") + scales}), {"--scales"});
  }
  expect_input_error(eval("large", {"--scales", "1,0.99"}), {"--scales", "64x32"});
}

}  // namespace
}  // namespace macadam
