// macadam split, and what every command makes of the file that it writes.

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "image/image.h"
#include "loader/dataset.h"
#include "shared_folder.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Words = std::vector<std::string>;

/// Streets in Cityscapes' layout, and the same 12 photos undivided in "plain", in three videos.
class Split : public SharedFolder<Split> {
 protected:
  static void SetUpTestSuite() {
    make_streets(folder(), 12);
    const fs::path plain = folder() / "plain";
    fs::create_directories(plain / "images");
    fs::create_directories(plain / "masks");
    write_text(plain / "dataset.toml", "label_ids = \"cityscapes\"\n");
    int number = 0;
    for (const char* split : {"train", "val"}) {
      for (const Sample& sample : open_dataset(folder() / "streets", split).samples) {
        const std::string name =
            "video" + std::to_string(number / 4) + "_" + std::to_string(number) + ".png";
        fs::copy_file(sample.image, plain / "images" / name);
        fs::copy_file(sample.mask, plain / "masks" / name);
        ++number;
      }
    }
  }

  static ProgramResult split(const std::string& dataset, Words more) {
    Words words{"split", dataset};
    words.insert(words.end(), more.begin(), more.end());
    return macadam(folder(), words);
  }
  static std::set<std::string> names(const std::string& file, const std::string& part) {
    std::set<std::string> names;
    for (const Sample& sample : open_dataset(folder() / file, part).samples) {
      names.insert(sample.image.filename().string());
    }
    return names;
  }
};

TEST_F(Split, PhotosAreDividedAndNothingIsCopied) {
  const ProgramResult result =
      split("plain", {"--by", "random", "--val", "0.25", "--test", "0.25", "-o", "random.toml"});
  expect_success(result);
  EXPECT_NE(result.out.find("random.toml: train 6 photos, val 3 photos, test 3 photos\n"),
            std::string::npos)
      << result.out;
  EXPECT_NE(result.out.find("class                  train         val        test\n"),
            std::string::npos)
      << result.out;
  EXPECT_NE(result.out.find("neighbouring frames look alike"), std::string::npos) << result.out;
  std::set<std::string> all;
  size_t count = 0;
  for (const char* part : {"train", "val", "test"}) {
    const std::set<std::string> in = names("random.toml", part);
    count += in.size();
    all.insert(in.begin(), in.end());
  }
  EXPECT_EQ(count, 12u);
  EXPECT_EQ(all.size(), 12u);
  EXPECT_FALSE(fs::is_directory(folder() / "random"));
}

TEST_F(Split, TheSeedDecides) {
  const auto text = [](const std::string& file, const std::string& seed) {
    expect_success(split("plain", {"--by", "random", "--seed", seed, "-o", file}));
    std::string written = read_text(folder() / file);
    return written.substr(written.find("[splits]"));
  };
  const std::string first = text("seed1.toml", "1");
  EXPECT_EQ(text("seed1again.toml", "1"), first);
  EXPECT_NE(text("seed2.toml", "2"), first);
}

TEST_F(Split, AVideoStaysTogether) {
  const ProgramResult result =
      split("plain", {"--by", "sequence", "--val", "0.3", "--test", "0.3", "-o", "videos.toml"});
  expect_success(result);
  EXPECT_NE(result.out.find("train 4 photos of 1 groups"), std::string::npos) << result.out;
  EXPECT_EQ(result.out.find("neighbouring frames"), std::string::npos) << result.out;
  for (const char* part : {"train", "val", "test"}) {
    std::set<std::string> videos;
    for (const std::string& name : names("videos.toml", part)) videos.insert(name.substr(0, 6));
    EXPECT_EQ(videos.size(), 1u) << part;
  }
}

TEST_F(Split, CitiesStayTogetherAndBothSplitsOfTheDataSetAreDivided) {
  expect_success(split("streets", {"--by", "city", "--val", "0.2", "-o", "cities.toml"}));
  const std::set<std::string> train = names("cities.toml", "train");
  EXPECT_TRUE(std::ranges::all_of(train, [&](const std::string& name) {
    return name.substr(0, 3) == train.begin()->substr(0, 3);
  }));
  EXPECT_EQ(train.size() + names("cities.toml", "val").size(), 12u);
}

TEST_F(Split, EveryCommandTakesTheFileAndTrainingNeverReadsItsTestSplit) {
  expect_success(split("plain", {"--by", "sequence", "--val", "0.3", "--test", "0.3", "--seed", "4",
                                 "-o", "all.toml"}));
  expect_success(macadam(folder(), {"check", "all.toml"}));
  const ProgramResult info = macadam(folder(), {"info", "all.toml", "--json"});
  ASSERT_EQ(info.exit_code, 0) << info.err;
  EXPECT_EQ(Json::parse(info.out).at("splits").size(), 3u);
  expect_success(macadam(folder(), {"pack", "all.toml", "all.pack"}));
  const Dataset packed = open_dataset(folder() / "all.pack", "test");
  EXPECT_EQ(packed.samples.size(), 4u);
  EXPECT_EQ(packed.samples[0].image.parent_path(), "images");

  // Nobody can read the test split from here on.
  const Dataset test = open_dataset(folder() / "all.toml", "test");
  for (const Sample& sample : test.samples) {
    write_text(sample.image, "no photo");
    write_text(sample.mask, "no mask");
  }
  std::string config = small_config(1, "name = \"run\"\n");
  config.replace(config.find("\"streets\""), 9, "\"all.toml\"");
  write_text(folder() / "run.toml", config);
  expect_success(macadam(folder(), {"train", "run.toml"}));
  const Words eval{"eval", "runs/run/best.safetensors", "all.toml", "--device", "cpu"};
  expect_success(macadam(folder(), eval));
  Words on_test = eval;
  on_test.insert(on_test.end(), {"--split", "test"});
  expect_input_error(macadam(folder(), on_test), {test.samples[0].mask.filename().string()});
  EXPECT_EQ(macadam(folder(), {"check", "all.toml"}).exit_code, 2);
}

TEST_F(Split, MistakesAreOneLineAndWriteNothing) {
  const Words good{"--by", "random", "-o", "bad.toml"};
  const auto with = [&](Words more) {
    Words words = good;
    words.insert(words.end(), more.begin(), more.end());
    return split("streets", words);
  };
  for (const char* share : {"1", "-0.1", "half", "nan"}) {
    expect_input_error(with({std::string("--val=") + share}), {"--val", "share"});
    expect_input_error(with({std::string("--test=") + share}), {"--test", "share"});
  }
  expect_input_error(with({"--val", "0"}), {"--val, --test"});
  expect_input_error(with({"--val", "0.5", "--test", "0.5"}), {"--val, --test"});
  expect_input_error(split("streets", {"--by", "town", "-o", "bad.toml"}), {"'town'", "--by"});
  expect_input_error(split("streets", {"-o", "bad.toml"}), {"--by"});
  expect_input_error(split("streets", {"--by", "city", "--test", "0.2", "-o", "bad.toml"}),
                     {"2 groups of photos for 3 splits"});
  expect_input_error(split("streets", {"--by", "city", "-o", "bad.txt"}), {"*.toml", "bad.txt"});
  expect_input_error(split("plain", {"--by", "city", "-o", "bad.toml"}), {"12 of 12 photos"});
  expect_input_error(split("nothing", good), {"does not exist", "nothing"});
  write_text(folder() / "there.toml", "mine");
  expect_input_error(split("streets", {"--by", "random", "-o", "there.toml"}),
                     {"there already", "there.toml"});
  EXPECT_EQ(read_text(folder() / "there.toml"), "mine");
  expect_input_error(split("there.toml", good), {"a data set's folder is divided"});
  expect_input_error(macadam(folder(), {"check", "there.toml"}), {"there.toml"});

  // A photo that is there twice would be in two splits.
  const fs::path images = folder() / "twice/images", masks = folder() / "twice/masks";
  fs::create_directories(images);
  fs::create_directories(masks);
  write_text(folder() / "twice/dataset.toml", "label_ids = \"cityscapes\"\n");
  const Sample sample = open_dataset(folder() / "streets", "train").samples[0];
  for (const char* name : {"a_1.png", "b_1.png"}) {
    fs::copy_file(sample.image, images / name);
    fs::copy_file(sample.mask, masks / name);
  }
  const ProgramResult leak = split("twice", {"--by", "sequence", "-o", "bad.toml"});
  expect_input_error(leak, {"1 errors", "no division was written"});
  EXPECT_NE(leak.out.find("one photo is in the splits train and val"), std::string::npos);
  EXPECT_FALSE(fs::exists(folder() / "bad.toml"));
}

}  // namespace
}  // namespace macadam
