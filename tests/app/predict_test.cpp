// macadam predict: which photos it takes, what it leaves where, and what it does with the rest.

#include <fnmatch.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "loader/image.h"
#include "program.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;

/// A folder with a small street data set and a model trained on it, made once.
class Predict : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch_ = std::make_unique<ScratchFolder>();
    const ProgramResult synth =
        macadam(folder(), {"synth", "streets", "--images", "6", "--size", "64x32"});
    ASSERT_EQ(synth.exit_code, 0) << synth.err;
    write_text(folder() / "run.toml", small_config(1, "name = \"run\"\n"));
    const ProgramResult train = macadam(folder(), {"train", "run.toml"});
    ASSERT_EQ(train.exit_code, 0) << train.err;
  }
  static void TearDownTestSuite() { scratch_.reset(); }

  static const fs::path& folder() { return scratch_->path(); }

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

 private:
  static std::unique_ptr<ScratchFolder> scratch_;
};
std::unique_ptr<ScratchFolder> Predict::scratch_;

using Files = std::vector<std::string>;

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

TEST_F(Predict, AJpegWithoutItsEndIsTakenWithAWarningInTrainingOnRequest) {
  // A plain data set of two photos as JPEGs, one of them without its end marker.
  for (const char* split : {"train", "val"}) {
    for (const char* name : {"a", "b"}) {
      const std::string place = std::string(split) + "/" + name;
      fs::create_directories(folder() / "jpegs/images" / split);
      fs::copy_file(MACADAM_SOURCE_DIR "/tests/golden/images/420.jpg",
                    folder() / ("jpegs/images/" + place + ".jpg"));
      const Image photo = read_rgb(folder() / ("jpegs/images/" + place + ".jpg"));
      Image mask(photo.height, photo.width, 1);
      std::fill_n(mask.pixels.begin(), mask.pixels.size() / 2, uint8_t{1});
      fs::create_directories(folder() / "jpegs/masks" / split);
      write_png(folder() / ("jpegs/masks/" + place + ".png"), mask);
    }
  }
  write_text(folder() / "jpegs/dataset.toml",
             "[[classes]]\nname = \"a\"\n[[classes]]\nname = \"b\"\n");
  const fs::path odd = folder() / "jpegs/images/train/b.jpg";
  fs::resize_file(odd, fs::file_size(odd) - 2);

  const ProgramResult predicted = predict({"jpegs/images/train", "-o", "jpegs_out"});
  EXPECT_EQ(predicted.exit_code, 0) << predicted.err;
  EXPECT_EQ(lines_with(predicted.err, "warning"), 1) << predicted.err;
  EXPECT_EQ(lines_with(predicted.err, "train/b.jpg"), 1) << predicted.err;
  EXPECT_EQ(read_text(folder() / "jpegs_out/ids/a.png"),
            read_text(folder() / "jpegs_out/ids/b.png"))
      << "no pixel is missing";

  const std::vector<std::string> train{
      "train", "run.toml", "dataset=jpegs", "label_set=custom", "loader.cache=0", "epochs=2"};
  const auto trained = [&](const std::string& name, const std::string& strict) {
    std::vector<std::string> words = train;
    words.insert(words.end(), {"name=" + name, strict});
    return macadam(folder(), words);
  };
  expect_input_error(trained("strict", "loader.strict=true"), {"train/b.jpg", "loader.strict"});
  const ProgramResult lenient = trained("lenient", "loader.strict=false");
  EXPECT_EQ(lenient.exit_code, 0) << lenient.err;
  EXPECT_EQ(lines_with(lenient.err, "train/b.jpg"), 1) << "once, though loaded twice\n"
                                                       << lenient.err;

  const ProgramResult check = macadam(folder(), {"check", "jpegs"});
  EXPECT_EQ(check.exit_code, 2);
  EXPECT_EQ(lines_with(check.out, "error: JPEG file has a fault that costs no pixel"), 1)
      << check.out;
  const ProgramResult easy = macadam(folder(), {"check", "jpegs", "--no-strict"});
  EXPECT_EQ(lines_with(easy.out, "warning: JPEG file has a fault"), 1) << easy.out;
  expect_input_error(macadam(folder(), {"pack", "jpegs", "strict.pack"}), {"b.jpg", "--no-strict"});
  const ProgramResult pack = macadam(folder(), {"pack", "jpegs", "easy.pack", "--no-strict"});
  EXPECT_EQ(pack.exit_code, 0) << pack.err;
  EXPECT_EQ(lines_with(pack.err, "train/b.jpg"), 1) << pack.err;
}

}  // namespace
}  // namespace macadam
