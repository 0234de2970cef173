// macadam predict: which photos it takes, what it leaves where, and what it does with the rest.

#include <fnmatch.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "image/image.h"
#include "shared_folder.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;
using Files = std::vector<std::string>;

/// A folder with a small street data set and a model trained on it, made once.
class Predict : public SharedFolder<Predict> {
 protected:
  static void SetUpTestSuite() {
    train_on_streets(folder(), 6, small_config(1, "name = \"run\"\n"));
  }

  static ProgramResult predict(std::vector<std::string> arguments) {
    const std::vector<std::string> front{"predict", "runs/run/best.safetensors", "--device", "cpu"};
    arguments.insert(arguments.begin(), front.begin(), front.end());
    return macadam(folder(), arguments);
  }

  /// The photos of the streets, sorted.
  static std::vector<fs::path> streets() {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder() / "streets/leftImg8bit")) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
    std::ranges::sort(files);
    return files;
  }
  /// Puts a photo there.
  static void put(const fs::path& path) {
    fs::create_directories((folder() / path).parent_path());
    fs::copy_file(streets().front(), folder() / path, fs::copy_options::overwrite_existing);
  }
  /// The files below, hidden ones left out, sorted.
  static std::vector<std::string> files_in(const std::string& name) {
    std::vector<std::string> files;
    if (!fs::exists(folder() / name)) return files;
    for (const auto& entry : fs::recursive_directory_iterator(folder() / name)) {
      if (!entry.is_regular_file() || entry.path().filename().string().starts_with('.')) continue;
      files.push_back(entry.path().lexically_relative(folder() / name).generic_string());
    }
    std::ranges::sort(files);
    return files;
  }
  static int64_t lines_with(const std::string& text, const std::string& part) {
    return std::ranges::count_if(lines_of(text), [&](const std::string& line) {
      return line.find(part) != std::string::npos;
    });
  }
};

TEST_F(Predict, FoldersAreEnteredAndOnlyPhotosTaken) {
  for (const char* name : {"tree/DSC001.JPG", "tree/deep/er/a.PnG", "tree/deep/._a.png",
                           "tree/__MACOSX/a.png", "tree/.cache/a.png"}) {
    put(name);
  }
  write_text(folder() / "tree/Thumbs.db", "not a picture");
  write_text(folder() / "tree/notes.txt", "not a picture");
  fs::create_directory_symlink("..", folder() / "tree/deep/loop");
  const ProgramResult result = predict({"tree", "-o", "tree_out"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(files_in("tree_out"), (Files{"color/DSC001.png", "color/deep/er/a.png",
                                         "ids/DSC001.png", "ids/deep/er/a.png"}));
}

TEST_F(Predict, TheOfficialScriptFindsOneMaskForEachTruth) {
  const ProgramResult result =
      predict({"streets/leftImg8bit/val", "-o", "official", "--overlay", "--logits", "--tile"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  // cityscapesScripts walks the folder of results for CITY_SEQUENCE_FRAME*.png.
  size_t truths = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder() / "streets/gtFine/val")) {
    const std::string name = entry.path().filename().string();
    const size_t end = name.find("_gtFine_labelIds.png");
    if (end == std::string::npos) continue;
    ++truths;
    const std::string pattern = name.substr(0, end) + "*.png";
    int found = 0;
    for (const auto& mask : fs::recursive_directory_iterator(folder() / "official/ids")) {
      if (::fnmatch(pattern.c_str(), mask.path().filename().c_str(), 0) != 0) continue;
      ++found;
      const Image ids = read_labels(mask.path()), truth = read_labels(entry.path());
      EXPECT_EQ(ids.height, truth.height);
      EXPECT_EQ(ids.width, truth.width);
    }
    EXPECT_EQ(found, 1) << pattern;
  }
  EXPECT_GT(truths, 0u);
  for (const char* kind : {"color", "overlay", "logits"}) {
    EXPECT_EQ(files_in(std::string("official/") + kind).size(), truths) << kind;
  }
}

TEST_F(Predict, ConfidenceIsAGrayPngBesideTheMask) {
  put("sure/a.png");
  const ProgramResult result =
      predict({"sure", "-o", "sure", "--confidence", "--logits", "--tile", "--flip"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(files_in("sure"),
            (Files{"a.png", "color/a.png", "confidence/a.png", "ids/a.png", "logits/a.npy"}));
  const Image found = read_labels(folder() / "sure/confidence/a.png");
  const std::string scores = read_text(folder() / "sure/logits/a.npy");
  const size_t pixels = found.pixels.size();
  constexpr size_t kClasses = 8, kHeader = 128;
  ASSERT_EQ(scores.size(), kHeader + 4 * kClasses * pixels);
  size_t apart = 0;
  for (size_t p = 0; p < pixels; ++p) {
    std::array<float, kClasses> z{};
    std::memcpy(z.data(), scores.data() + kHeader + 4 * kClasses * p, sizeof z);
    double sum = 0;
    for (const float score : z) {
      sum += std::exp(static_cast<double>(score) - *std::ranges::max_element(z));
    }
    const int wanted = static_cast<int>(std::lround(255 / sum));
    ASSERT_NEAR(found.pixels[p], wanted, 1);
    apart += found.pixels[p] != wanted;
  }
  EXPECT_LE(100 * apart, pixels);
  // Nor is it ever a photo, and without the option there is none.
  ASSERT_EQ(predict({"sure", "-o", "sure_again"}).exit_code, 0);
  EXPECT_EQ(files_in("sure_again"), (Files{"color/a.png", "ids/a.png"}));
  // A folder of that name that holds something else.
  put("unsure/confidence/x.png");
  expect_input_error(predict({"unsure", "-o", "unsure", "--confidence"}),
                     {"unsure/confidence", "other files", "-o"});
  EXPECT_EQ(files_in("unsure"), Files{"confidence/x.png"});
}

TEST_F(Predict, GoesOnAfterADamagedPhotoAndCountsIt) {
  for (const char* name : {"mixed/a.png", "mixed/c/c.png", "mixed/d.png"}) put(name);
  fs::resize_file(folder() / "mixed/a.png", 200);
  write_text(folder() / "mixed/b.jpg",
             "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n");
  fs::create_symlink("gone.png", folder() / "mixed/dead.png");
  const ProgramResult result = predict({"mixed", "-o", "mixed_out"});
  expect_error(result, 1, {"3 of 5 photos could not be read"});
  for (const char* words : {"mixed/a.png", "mixed/b.jpg", "Git LFS", "mixed/dead.png"}) {
    EXPECT_EQ(lines_with(result.err, words), 1) << words << " in\n" << result.err;
  }
  EXPECT_EQ(files_in("mixed_out/ids"), (Files{"c/c.png", "d.png"}));
  EXPECT_NE(result.out.find("2 masks in mixed_out/ids"), std::string::npos) << result.out;
  // Alone, it is the error.
  expect_input_error(predict({"mixed/a.png", "-o", "alone"}), {"mixed/a.png", "truncated"});
  EXPECT_EQ(files_in("alone"), Files());
}

TEST_F(Predict, ItsOwnResultsAreNeverPhotos) {
  for (const char* name : {"own/a.png", "own/city/b.png"}) put(name);
  const Files ids{"a.png", "city/b.png"};
  ASSERT_EQ(predict({"own", "-o", "own", "--overlay"}).exit_code, 0);
  EXPECT_EQ(files_in("own/ids"), ids);
  const Files all = files_in("own");
  ASSERT_EQ(predict({"own", "-o", "own", "--overlay"}).exit_code, 0);
  EXPECT_EQ(files_in("own"), all);
  ASSERT_EQ(predict({"own", "-o", "own/below"}).exit_code, 0);
  EXPECT_EQ(files_in("own/below/ids"), ids);
  ASSERT_EQ(predict({"own", "-o", "elsewhere"}).exit_code, 0);
  EXPECT_EQ(files_in("elsewhere/ids"), ids);
  // own/* as a shell writes it.
  const ProgramResult glob =
      predict({"own/a.png", "own/below/ids", "own/city", "own/color", "own/ids", "-o", "glob"});
  EXPECT_EQ(glob.exit_code, 0) << glob.err;
  EXPECT_EQ(files_in("glob/ids"), (Files{"a.png", "b.png"}));
  EXPECT_EQ(lines_with(glob.err, "earlier prediction"), 3) << glob.err;
  // Photos of the user's in a folder of such a name are not taken for results.
  put("shots/ids/x.png");
  expect_input_error(predict({"shots", "-o", "shots"}), {"shots/ids", "other files", "-o"});
  EXPECT_EQ(files_in("shots"), (Files{"ids/x.png"}));
}

TEST_F(Predict, TwoPhotosOfOneNameAreNamed) {
  for (const char* name : {"twins/a.png", "twins/a.JPG", "others/a.png"}) put(name);
  expect_input_error(predict({"twins", "-o", "twins_out"}), {"twins/a.png", "twins/a.JPG"});
  expect_input_error(predict({"twins/a.png", "others", "-o", "twins_out"}),
                     {"twins/a.png", "others/a.png"});
  EXPECT_EQ(files_in("twins_out"), Files());
  EXPECT_EQ(predict({"others", "others/a.png", "-o", "twins_out"}).exit_code, 0) << "one photo";
}

TEST_F(Predict, OnlyFilesAndFoldersArePhotos) {
  ASSERT_EQ(::mkfifo((folder() / "pipe.png").c_str(), 0600), 0);
  for (const char* name : {"pipe.png", "/dev/zero"}) {
    expect_input_error(predict({name, "-o", "none"}), {name, "not a photo"});
  }
  expect_input_error(predict({"streets", "absent.png", "-o", "none"}), {"absent.png"});
  fs::create_directories(folder() / "empty/city");
  expect_input_error(predict({"empty", "-o", "none"}), {"no photo to predict", "empty"});
  EXPECT_FALSE(fs::exists(folder() / "none"));
}

/// Puts a plain data set of stripes there, each photo of that size.
void put_stripes(const fs::path& root, int height, int width) {
  Image photo(height, width, 3), mask(height, width, 1);
  for (size_t p = 0; p < mask.pixels.size(); ++p) {
    mask.pixels[p] = static_cast<uint8_t>(p * 2 / mask.pixels.size());
    photo.pixels[3 * p] = static_cast<uint8_t>(200 * mask.pixels[p]);
  }
  for (const char* split : {"train", "val"}) {
    // No two photos are the same.
    photo.pixels[1] = static_cast<uint8_t>(photo.pixels[1] + 1);
    for (const auto& [part, image] : {std::pair{"images", &photo}, std::pair{"masks", &mask}}) {
      fs::create_directories(root / part / split);
      write_png(root / part / split / "a.png", *image);
    }
  }
  write_text(root / "dataset.toml", "[[classes]]\nname = \"a\"\n[[classes]]\nname = \"b\"\n");
}

TEST_F(Predict, ASideOf32767PixelsIsTheMostEverywhere) {
  put_stripes(folder() / "wide", 1, 32'767);
  EXPECT_EQ(predict({"wide/images/val/a.png", "-o", "wide_out", "--overlay"}).exit_code, 0);
  const Image ids = read_labels(folder() / "wide_out/ids/a.png");
  EXPECT_EQ(ids.width, 32'767);
  EXPECT_EQ(ids.height, 1);
  EXPECT_EQ(macadam(folder(), {"check", "wide"}).exit_code, 0);
  const std::vector<std::string> train{"train", "run.toml", "batch=1", "augment=[]"};
  const auto trained = [&](const std::string& dataset) {
    std::vector<std::string> words = train;
    words.insert(words.end(), {"name=" + dataset, "dataset=" + dataset});
    return macadam(folder(), words);
  };
  expect_success(trained("wide"));
  expect_success(macadam(folder(), {"eval", "runs/wide/best.safetensors", "wide", "--full"}));
  expect_success(macadam(folder(), {"pack", "wide", "wide.pack"}));
  expect_success(trained("wide.pack"));

  put_stripes(folder() / "wider", 32'768, 1);
  const std::vector<std::string> words{"a.png", "1 x 32768 pixels", "32767 a side"};
  expect_input_error(predict({"wider/images/val/a.png", "-o", "wider_out"}), words);
  EXPECT_EQ(files_in("wider_out"), Files());
  expect_input_error(trained("wider"), words);
  expect_input_error(macadam(folder(), {"pack", "wider", "wider.pack"}), words);
  EXPECT_FALSE(fs::exists(folder() / "wider.pack"));
  const ProgramResult check = macadam(folder(), {"check", "wider"});
  EXPECT_EQ(check.exit_code, 2);
  EXPECT_EQ(lines_with(check.out, "error: image claims 1 x 32768 pixels"), 2) << check.out;
}

TEST_F(Predict, NamesThatCannotBeWrittenAreRefusedBeforeTheWork) {
  // With .png, as long as a name can be; and one letter more.
  const std::string fits(251, 'n'), longer(252, 'n');
  put("names/short.png");
  for (const std::string& name : {fits, longer}) {
    fs::copy_file(streets().front(), folder() / "names" / name);
  }
  EXPECT_EQ(predict({"names/" + fits, "-o", "names_out"}).exit_code, 0);
  EXPECT_EQ(files_in("names_out/ids"), Files{fits + ".png"});
  expect_input_error(predict({"names/" + longer, "-o", "long_out"}),
                     {"too long a name", "names/" + longer, "-o"});
  expect_input_error(predict({"names/short.png", "names/" + longer, "-o", "long_out"}),
                     {"too long a name", "names/" + longer});
  expect_input_error(predict({"names/short.png", "-o", "long_out/" + std::string(256, 'o')}),
                     {"too long a name", "names/short.png"});
  // Folders whose paths leave no room for those of the results.
  fs::path deep = "deep";
  for (int i = 0; i < 14; ++i) deep /= std::string(250, 'd');
  for (const char* name : {"a.png", "b.png"}) put(deep / name);
  put("deep/short.png");
  fs::path far = "long_out";
  for (int i = 0; i < 3; ++i) far /= std::string(250, 'o');
  expect_input_error(predict({"deep", "-o", far.string()}),
                     {"the results of 2 photos", (deep / "a.png").string()});
  EXPECT_FALSE(fs::exists(folder() / "long_out"));
}

TEST_F(Predict, SamplesOfRunsAndContactSheetsAreNotPhotos) {
  put("project/photos/a.png");
  fs::copy(folder() / "runs", folder() / "project/runs", fs::copy_options::recursive);
  ASSERT_FALSE(files_in("project/runs/run/samples").empty());
  write_text(folder() / "check.toml", small_config(1, "augment = []\n"));
  const auto sheets = [](const std::string& place) {
    return macadam(folder(),
                   {"check", "streets", "--augment", "check.toml", "--sheets", "1", "-o", place});
  };
  expect_success(sheets("project/sheets"));
  EXPECT_EQ(files_in("project/sheets").size(), 1u);
  ASSERT_EQ(predict({"project", "-o", "project_out"}).exit_code, 0);
  EXPECT_EQ(files_in("project_out/ids"), Files{"photos/a.png"});
  // Sheets come neither among photos nor in their place, but over earlier ones.
  expect_success(sheets("project/sheets"));
  expect_input_error(sheets("project/photos"), {"project/photos", "other files", "-o"});
  EXPECT_EQ(files_in("project/photos"), Files{"a.png"});
}

}  // namespace
}  // namespace macadam
