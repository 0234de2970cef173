// What labels mean, through the program: label sets and the ids they are for, splits that show one
// class or have no masks, options without effect.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/model/model_file.h"
#include "image/image.h"
#include "shared_folder.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kTwoClasses = "[[classes]]\nname = \"road\"\n[[classes]]\nname = \"rest\"\n";

/// A grey image of blocks, which no other `seed` has.
Image blocks(int channels, uint8_t seed) {
  Image image(32, 64, channels);
  for (size_t p = 0; p < image.pixels.size(); ++p) {
    image.pixels[p] = static_cast<uint8_t>(p / 7 * 31 + seed * 13);
  }
  return image;
}

/// A mask whose left half is `left` and whose right half is `right`.
Image halves(uint8_t left, uint8_t right, int height = 32, int width = 64) {
  Image mask(height, width, 1);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) *mask.at(y, x) = x < width / 2 ? left : right;
  }
  return mask;
}

void put(const fs::path& file, const Image& image) {
  fs::create_directories(file.parent_path());
  write_png(file, image);
}

class Labels : public SharedFolder<Labels> {
 protected:
  static void SetUpTestSuite() {
    put_plain("plain", kTwoClasses, halves(0, 1));
    for (const std::string split : {"train", "val"}) {
      for (uint8_t i = 0; i < 2; ++i) {
        const std::string name = split + "_" + std::to_string(i) + ".png";
        const auto seed = static_cast<uint8_t>(50 + i + 10 * split.size());
        put(folder() / "camvid" / split / name, blocks(3, seed));
        put(folder() / "camvid" / (split + "annot") / name, halves(3, 8));
      }
    }
    write_text(folder() / "run.toml", small_config(1, "augment = []\n"));
    const ProgramResult train = macadam(folder(), {"train", "run.toml", "dataset=plain", "name=p"});
    ASSERT_EQ(train.exit_code, 0) << train.err;
  }
  static std::string model() { return "runs/p/best.safetensors"; }
  /// A plain data set with two photos in train, two in val, and the same mask for all.
  static void put_plain(const std::string& name, const std::string& toml, const Image& mask) {
    uint8_t seed = 0;
    write_text(folder() / name / "dataset.toml", toml);
    for (const std::string split : {"train", "val"}) {
      for (const char* photo : {"a.png", "b.png"}) {
        put(folder() / name / "images" / split / photo, blocks(3, seed++));
        put(folder() / name / "masks" / split / photo, mask);
      }
    }
  }
  static ProgramResult train(const std::string& dataset, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"train", "run.toml", "dataset=" + dataset, "name=x"});
    fs::remove_all(folder() / "runs/x");
    return macadam(folder(), more);
  }
  static ProgramResult eval(const std::string& model, const std::string& dataset) {
    return macadam(folder(), {"eval", model, dataset, "--json", "--device", "cpu"});
  }
  static std::string saved_key(const std::string& key) {
    for (const std::string& line : lines_of(read_text(folder() / "runs/x/config.toml"))) {
      if (line.starts_with(key + " = ")) return line.substr(key.size() + 3);
    }
    return "";
  }
  static Json check(const std::string& dataset, int errors) {
    const ProgramResult result = macadam(folder(), {"check", dataset, "--json"});
    EXPECT_EQ(result.exit_code, errors > 0 ? 2 : 0) << result.err;
    Json report = Json::parse(result.out);
    EXPECT_EQ(report.at("errors"), errors) << report.at("issues").dump(1);
    return report;
  }
};

TEST_F(Labels, TheDefaultIsTheDataSetsOwnEverywhere) {
  EXPECT_EQ(load_model(folder() / model()).info.class_names,
            (std::vector<std::string>{"road", "rest"}));
  ASSERT_EQ(train("camvid").exit_code, 0);
  EXPECT_EQ(saved_key("label_set"), "\"camvid11\"");
  EXPECT_EQ(saved_key("void"), "\"ignore\"");
  EXPECT_EQ(load_model(folder() / "runs/x/last.safetensors").info.label_set, "camvid11");
  // The saved configuration is the whole truth: the run goes on from it.
  const ProgramResult again = macadam(folder(), {"train", "runs/x/config.toml", "--resume"});
  EXPECT_EQ(again.exit_code, 0) << again.err;

  EXPECT_EQ(check("camvid", 0).at("label_set"), "camvid11");
  const ProgramResult sheets =
      macadam(folder(), {"check", "camvid", "--json", "--augment", "run.toml", "-o", "sheets"});
  ASSERT_EQ(sheets.exit_code, 0) << sheets.err;
  EXPECT_EQ(Json::parse(sheets.out).at("label_set"), "camvid11");
  EXPECT_EQ(Json::parse(macadam(folder(), {"info", "plain", "--json"}).out).at("label_set"),
            "custom");
}

TEST_F(Labels, CheckTakesTheLabelSetOfTheConfiguration) {
  write_text(folder() / "void.toml", small_config(1, "void = \"class\"\n"));
  const ProgramResult result =
      macadam(folder(), {"check", "camvid", "--json", "--augment", "void.toml", "-o", "with_void"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(Json::parse(result.out).at("splits").at(0).at("classes").size(), 12u);
}

TEST_F(Labels, AnotherLayoutsLabelSetIsRefusedEverywhere) {
  const std::vector<std::string> words{"trainids19 is for Cityscapes ids", "CamVid ids",
                                       "dataset.toml"};
  expect_input_error(train("camvid", {"label_set=trainids19"}), words);
  EXPECT_FALSE(fs::exists(folder() / "runs/x"));
  expect_input_error(macadam(folder(), {"check", "camvid", "--label-set", "trainids19"}), words);
  expect_input_error(macadam(folder(), {"pack", "camvid", "x.pack", "--label-set", "trainids19"}),
                     words);
  expect_input_error(macadam(folder(), {"convert", "none.pth", "x.safetensors", "--network", "unet",
                                        "--label-set", "trainids19", "--dataset", "camvid"}),
                     words);
  EXPECT_FALSE(fs::exists(folder() / "x.pack"));
  expect_input_error(train("plain", {"label_set=categories8"}), {"categories8", "custom"});
  // Validation is read by its own layout.
  expect_input_error(train("{train = \"plain\", val = \"camvid\"}"),
                     {"custom of the training data set", "CamVid ids"});
}

TEST_F(Labels, AModelIsScoredOnItsOwnClassesOnly) {
  expect_input_error(eval(model(), "camvid"), {"custom of the model", "CamVid ids", "on purpose"});
  put_plain("swapped", "[[classes]]\nname = \"rest\"\n[[classes]]\nname = \"road\"\n",
            halves(1, 0));
  expect_input_error(eval(model(), "swapped"), {"class 0 is", "rest", "road", "swapped"});
  expect_input_error(train("{train = \"plain\", val = \"swapped\"}"),
                     {"class 0 is", "the training data set"});
  // Other ids for the same classes are a mapping, and score the same.
  put_plain("mapped",
            "[[classes]]\nname = \"road\"\nids = [9]\n[[classes]]\nname = \"rest\"\nids = [4]\n",
            halves(9, 4));
  const ProgramResult own = eval(model(), "plain"), mapped = eval(model(), "mapped");
  ASSERT_EQ(mapped.exit_code, 0) << mapped.err;
  EXPECT_EQ(Json::parse(mapped.out).at("confusion"), Json::parse(own.out).at("confusion"));
}

TEST_F(Labels, ASplitOfOneClassIsNothingToTrainOn) {
  put_plain("binary", kTwoClasses, halves(0, 255));
  const std::vector<std::string> words{"every labelled pixel of the split train", "road",
                                       "ignored: 255", "ids = [255]"};
  expect_input_error(train("binary"), words);
  EXPECT_FALSE(fs::exists(folder() / "runs/x"));
  const Json report = check("binary", 2);
  EXPECT_EQ(report.at("issues").size(), 2u);
  const auto what = report.at("issues").at(0).at("what").get<std::string>();
  for (const std::string& word : words) EXPECT_NE(what.find(word), std::string::npos) << what;
  // A pack knows its counts.
  ASSERT_EQ(macadam(folder(), {"pack", "binary", "binary.pack"}).exit_code, 0);
  expect_input_error(train("binary.pack"), {"every labelled pixel of the split train"});
  // As the message says.
  write_text(folder() / "binary/dataset.toml",
             "[[classes]]\nname = \"road\"\n[[classes]]\nname = \"crack\"\nids = [255]\n");
  check("binary", 0);
  EXPECT_EQ(train("binary").exit_code, 0);
}

TEST_F(Labels, ASplitWithoutLabelsOrWithOneRareMask) {
  put_plain("void", kTwoClasses, halves(255, 255));
  expect_input_error(train("void"), {"no pixel of the split train is labelled", "ids = [255]"});
  check("void", 2);
  // The only mask with a second class is found wherever it lies.
  put(folder() / "void/masks/train/b.png", halves(0, 1));
  expect_input_error(train("void"), {"no pixel of the split val"});
  put(folder() / "void/masks/val/a.png", halves(1, 0));
  EXPECT_EQ(train("void").exit_code, 0);
  put_plain("one", "[[classes]]\nname = \"road\"\n", halves(0, 0));
  expect_input_error(train("one"), {"road", "the only class"});
}

TEST_F(Labels, MoreClassesThanALossHoldsAreRefused) {
  std::string toml;
  for (int i = 0; i < 65; ++i) toml += "[[classes]]\nname = \"class " + std::to_string(i) + "\"\n";
  put_plain("many", toml, halves(0, 64));
  expect_input_error(train("many"), {"65 classes", "unet_mini", "2 to 64 classes"});
  EXPECT_FALSE(fs::exists(folder() / "runs/x"));
}

TEST_F(Labels, EvalSaysThatASplitShowsOneClassOrNone) {
  const auto warning_of = [](const ProgramResult& result) {
    std::string found;
    for (const std::string& line : lines_of(result.err)) {
      if (line.starts_with("macadam: warning: ")) found += line.substr(18) + "\n";
    }
    return found;
  };
  EXPECT_EQ(warning_of(eval(model(), "plain")), "");
  for (const auto& [name, mask, said] :
       {std::tuple{"one_class", halves(1, 255),
                   "every labelled pixel of the split val is \"rest\": the means say nothing of "
                   "other classes"},
        {"no_class", halves(255, 255), "no pixel of the split val is labelled"}}) {
    put_plain(name, kTwoClasses, mask);
    const ProgramResult json = eval(model(), name);
    ASSERT_EQ(json.exit_code, 0) << json.err;
    EXPECT_EQ(warning_of(json), std::string(said) + "\n");
    EXPECT_EQ(Json::parse(json.out).at("notes"), Json::array({said}));
    const ProgramResult text = macadam(folder(), {"eval", model(), name, "--full"});
    ASSERT_EQ(text.exit_code, 0) << text.err;
    EXPECT_EQ(warning_of(text), std::string(said) + "\n");
  }
}

TEST_F(Labels, WarningsWithoutAPlaceEndWithTheirText) {
  put_plain("thirds",
            "[[classes]]\nname = \"road\"\n[[classes]]\nname = \"rest\"\n[[classes]]\nname = "
            "\"sky\"\n",
            halves(0, 1));
  put(folder() / "thirds/masks/val/lonely.png", halves(0, 1));
  const ProgramResult check = macadam(folder(), {"check", "thirds"});
  ASSERT_EQ(check.exit_code, 0) << check.err;
  std::vector<std::string> warnings;
  for (const std::string& line : lines_of(check.out)) {
    if (line.starts_with("warning: ")) warnings.push_back(line.substr(9));
  }
  EXPECT_EQ(warnings, (std::vector<std::string>{"mask without a photo: thirds/masks/val/lonely.png",
                                                "class sky has no pixel in the split train",
                                                "class sky has no pixel in the split val"}));
}

TEST_F(Labels, AbsentScoresAreNotNumbers) {
  put_plain("fine", kTwoClasses, halves(0, 1));
  for (const char* name : {"a.png", "b.png"}) {  // labels where the network's size never looks
    Image mask = halves(255, 255, 64, 128);
    *mask.at(0, 0) = 0;
    *mask.at(0, 2) = 1;
    put(folder() / "fine/masks/val" / name, mask);
    Image photo(64, 128, 3);
    photo.pixels[0] = static_cast<uint8_t>(name[0]);
    put(folder() / "fine/images/val" / name, photo);
  }
  const ProgramResult result = train("fine");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("mean IoU -;"), std::string::npos) << result.out;
  EXPECT_NE(result.err.find("miou_present -,"), std::string::npos) << result.err;
  const std::string best = "runs/x/best.safetensors";
  const std::string text = result.out + result.err + read_text(folder() / "runs/x/report.html") +
                           macadam(folder(), {"eval", best, "fine"}).out +
                           macadam(folder(), {"info", best}).out;
  for (const char* number : {"-1.0000", "-100", "nan"}) {
    EXPECT_EQ(text.find(number), std::string::npos) << number << " in " << text;
  }
  EXPECT_TRUE(Json::parse(eval(best, "fine").out).at("miou_present").is_null());
}

TEST_F(Labels, ATestSplitWithoutMasksIsNotScored) {
  put_plain("kaggle", kTwoClasses, halves(0, 1));
  put(folder() / "kaggle/images/test/t.png", blocks(3, 77));
  const ProgramResult result = train("kaggle");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("test split has no masks: its 1 photos"), std::string::npos)
      << result.err;
  EXPECT_LT(result.err.find("test split has no masks"), result.err.find("epoch 1")) << result.err;

  const Json report = check("kaggle", 0);
  EXPECT_EQ(report.at("warnings"), 1);
  EXPECT_FALSE(report.at("splits").at(2).at("labelled"));
  EXPECT_EQ(report.at("splits").at(2).at("samples"), 1);
  const ProgramResult pack = macadam(folder(), {"pack", "kaggle", "kaggle.pack"});
  ASSERT_EQ(pack.exit_code, 0) << pack.err;
  EXPECT_NE(pack.err.find("left out: split test, whose 1 photos have no masks"), std::string::npos);
  EXPECT_EQ(train("kaggle.pack").exit_code, 0);
  // A photo of training among them is still found, and a test set that is asked for is needed.
  put(folder() / "kaggle/images/test/u.png", blocks(3, 0));
  check("kaggle", 1);
  put_plain("other", kTwoClasses, halves(0, 1));
  expect_input_error(train("{train = \"other\", val = \"other\", test = \"kaggle\"}"),
                     {"the test split has no masks", "dataset.test"});
  // Some masks: that is a mistake, and known before training.
  put(folder() / "kaggle/masks/test/t.png", halves(0, 1));
  expect_input_error(train("kaggle"), {"1 of 2 photos", "masks/test/u.png"});
  EXPECT_FALSE(fs::exists(folder() / "runs/x"));
}

TEST_F(Labels, TheSamePhotosAreNotTwoSplits) {
  put_plain("named",
            std::string(kTwoClasses) +
                "[splits.train]\nimages = \"images/train\"\nmasks = \"masks/train\"\n"
                "[splits.val]\nimages = \"images/train\"\nmasks = \"masks/train\"\n",
            halves(0, 1));
  expect_input_error(train("named"), {"\"train\" and \"val\"", "the same photos", "named"});
  expect_input_error(macadam(folder(), {"check", "named"}), {"the same photos"});
  // By other ways than a name: a folder in the other, a link.
  put_plain("inside",
            std::string(kTwoClasses) +
                "[splits.train]\nimages = \"images\"\nmasks = \"masks\"\n"
                "[splits.val]\nimages = \"images/val\"\nmasks = \"masks/val\"\n",
            halves(0, 1));
  expect_input_error(train("inside"), {"training and validation", "images/val/a.png"});
  put_plain("linked", kTwoClasses, halves(0, 1));
  fs::remove_all(folder() / "linked/images/val");
  fs::create_directory_symlink("train", folder() / "linked/images/val");
  expect_input_error(train("linked"), {"training and validation", "images/val/a.png"});
}

TEST_F(Labels, AWrongPathIsCalledThat) {
  expect_input_error(train("nowhere", {"label_set=custom"}), {"does not exist", "nowhere"});
  expect_input_error(macadam(folder(), {"check", "nowhere", "--label-set", "custom"}),
                     {"does not exist", "nowhere"});
  expect_input_error(eval(model(), "nowhere"), {"does not exist", "nowhere"});
}

TEST_F(Labels, ListsDivideAVocFolder) {
  const fs::path voc = folder() / "voc";
  write_text(voc / "dataset.toml", kTwoClasses);
  for (uint8_t i = 0; i < 5; ++i) {
    const std::string name = "2007_00003" + std::to_string(i);
    put(voc / "JPEGImages" / (name + ".png"), blocks(3, i));
    put(voc / "SegmentationClass" / (name + ".png"), halves(0, 1));
  }
  write_text(voc / "ImageSets/Segmentation/train.txt", "2007_000030\n2007_000031\n");
  write_text(voc / "ImageSets/Segmentation/val.txt", "2007_000032\n2007_000033\n");
  write_text(voc / "ImageSets/Segmentation/trainval.txt", "2007_000030\n2007_000032\n");
  const Json report = check("voc", 0);
  ASSERT_EQ(report.at("splits").size(), 2u);
  EXPECT_EQ(report.at("splits").at(0).at("samples"), 2);
  const ProgramResult result = train("voc");
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

TEST_F(Labels, OptionsWithoutEffectAreRefused) {
  struct Case {
    std::vector<std::string> words;
    std::string option;
  };
  const std::vector<Case> cases{
      {{"info", "--device", "cuda:99"}, "--device"},
      {{"info", "--train"}, "--train"},
      {{"info", "--batch", "4"}, "--batch"},
      {{"info", "--precision", "fp16"}, "--precision"},
      {{"info", "plain", "--device", "cpu"}, "--device"},
      {{"info", "plain", "--classes", "3"}, "--classes"},
      {{"info", model(), "--size", "64x32"}, "--size"},
      {{"info", model(), "--classes", "3"}, "--classes"},
      {{"check", "plain", "--threads", "-1"}, "--threads"},
      {{"check", "plain", "-o", "x"}, "--augment"},
      {{"check", "plain", "--sheets", "2"}, "--augment"},
      {{"check", "plain", "--augment", "run.toml", "-o", "x", "--void", "class"}, "--void"},
      {{"check", "plain", "--augment", "run.toml", "-o", "x", "--label-set", "custom"},
       "--label-set"},
      {{"pack", "plain", "x.pack", "--threads", "-1"}, "--threads"},
      {{"train", "run.toml", "dataset=plain", "--resume", "--profile"}, "--profile"},
      {{"train", "run.toml", "dataset=plain", "optimizer=sgd", "momentum=0", "nesterov=true"},
       "nesterov"},
      {{"synth", "x", "--seed", "-1"}, "--seed"},
      {{"eval", model(), "plain", "--threads", "-1"}, "--threads"},
      {{"eval", model(), "plain", "--split", "tets"}, "tets"},
      {{"convert", model(), "x.onnx", "--dataset", "plain"}, "--dataset"},
      {{"convert", model(), "x.safetensors", "--static"}, "--static"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(::testing::PrintToString(c.words));
    expect_input_error(macadam(folder(), c.words), {c.option});
  }
  EXPECT_FALSE(fs::exists(folder() / "x"));
}

}  // namespace
}  // namespace macadam
