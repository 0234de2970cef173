// Packs through the program: what is trained, scored and checked from one.

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "image/deflate.h"
#include "shared_folder.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// The losses of all steps and of the validation, exactly as logged.
std::vector<std::string> losses_of(const fs::path& run) {
  std::vector<std::string> losses;
  for (const std::string& line : lines_of(read_text(run / "log.jsonl"))) {
    const Json entry = Json::parse(line);
    for (const char* key : {"loss", "train_loss", "val_loss"}) {
      if (entry.contains(key)) losses.push_back(entry.at(key).dump());
    }
  }
  return losses;
}

class PackCommand : public SharedFolder<PackCommand> {
 protected:
  static void SetUpTestSuite() {
    make_streets(folder(), 10, "streets", "128x64");
    write_text(folder() / "run.toml", small_config(1));
    pack("small.pack", {"--size", "64x32"});
  }
  static std::string pack(const std::string& out, const std::vector<std::string>& more = {}) {
    std::vector<std::string> words{"pack", "streets", out};
    words.insert(words.end(), more.begin(), more.end());
    const ProgramResult result = macadam(folder(), words);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  }
  static std::vector<std::string> train(const std::string& name, const std::string& dataset) {
    const ProgramResult result =
        macadam(folder(), {"train", "run.toml", "name=" + name, "dataset=" + dataset});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return losses_of(folder() / "runs" / name);
  }
  static Json json_of(const std::vector<std::string>& arguments) {
    const ProgramResult result = macadam(folder(), arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return Json::parse(result.out);
  }
};

TEST_F(PackCommand, TrainingAndScoresAreThoseOfTheFolder) {
  EXPECT_NE(pack("full.pack", {"--labels", "raw"}).find("10 samples"), std::string::npos);
  const std::vector<std::string> folder_losses = train("folder", "streets");
  EXPECT_GE(folder_losses.size(), 6u);
  EXPECT_EQ(train("small", "small.pack"), folder_losses);
  EXPECT_EQ(train("full", "full.pack"), folder_losses);

  const auto scores = [](const std::string& dataset) {
    const Json found =
        json_of({"eval", "runs/folder/best.safetensors", dataset, "--json", "--device", "cpu"});
    return std::pair(found.at("classes"), found.at("confusion"));
  };
  EXPECT_EQ(scores("small.pack"), scores("streets"));
}

TEST_F(PackCommand, CheckAndInfoReadPacks) {
  pack("full.pack");
  Json folder_report = json_of({"check", "streets", "--json"});
  EXPECT_EQ(json_of({"check", "full.pack", "--json"}), folder_report);
  const Json info = json_of({"info", "small.pack", "--json"});
  EXPECT_EQ(info.at("label_set"), "categories8");
  EXPECT_EQ(info.at("splits").at(0).at("samples"), 8);
}

TEST_F(PackCommand, WrongInputIsNamed) {
  expect_input_error(macadam(folder(), {"pack", "streets", "x.bin"}), {"x.bin", ".pack"});
  expect_input_error(macadam(folder(), {"pack", "nowhere", "x.pack"}), {"nowhere"});
  expect_input_error(macadam(folder(), {"pack", "streets", "x.pack", "--labels", "zip"}), {"zip"});
  expect_input_error(macadam(folder(), {"pack", "streets", "x.pack", "--jpeg", "0"}), {"--jpeg"});
  expect_input_error(macadam(folder(), {"pack", "streets", "x.pack", "--size", "65000x65000"}),
                     {"--size", "65000x65000"});
  expect_input_error(macadam(folder(), {"pack", "streets", "none/x.pack"}),
                     {"no such folder to write into: none:"});
  expect_input_error(macadam(folder(), {"check", "small.pack", "--label-set", "trainids19"}),
                     {"categories8", "trainids19", "small.pack"});
  expect_input_error(macadam(folder(), {"train", "run.toml", "dataset=small.pack", "void=ignore"}),
                     {"void a class", "void ignored"});
  EXPECT_FALSE(fs::exists(folder() / "x.pack"));
}

TEST_F(PackCommand, DamagedRecordsAreLeftOutOnlyIfAsked) {
  fs::copy(folder() / "small.pack", folder() / "damaged.pack");
  std::fstream file(folder() / "damaged.pack", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(64 + 100);  // in the first photo
  file.put('x').put('y');
  file.close();
  expect_input_error(macadam(folder(), {"train", "run.toml", "name=d", "dataset=damaged.pack"}),
                     {"damaged.pack", "checksum", "--skip-damaged"});
  expect_input_error(macadam(folder(), {"check", "damaged.pack"}), {"1 errors"});
  expect_input_error(macadam(folder(), {"pack", "damaged.pack", "mended.pack"}), {"checksum"});
  const ProgramResult mended =
      macadam(folder(), {"pack", "damaged.pack", "mended.pack", "--skip-damaged"});
  EXPECT_EQ(mended.exit_code, 0) << mended.err;
  EXPECT_NE(mended.err.find("left out: record"), std::string::npos) << mended.err;
  EXPECT_EQ(macadam(folder(), {"check", "mended.pack"}).exit_code, 0);

  fs::resize_file(folder() / "damaged.pack", 5000);
  expect_input_error(macadam(folder(), {"check", "damaged.pack"}), {"5000 of", "damaged.pack"});
}

TEST_F(PackCommand, NamesThatAreNoTextAreStillReported) {
  // The header: checksum of the index at 12, its place at 24, checksum of the 32 bytes before
  // at 32.
  std::string bytes = read_text(folder() / "small.pack");
  const auto put = [&](size_t at, uint32_t value) { std::memcpy(&bytes[at], &value, 4); };
  uint64_t index = 0;
  std::memcpy(&index, &bytes[24], 8);
  bytes[index + 4] = '\xff';  // in the data set's name
  for (size_t at = index; (at = bytes.find("_leftImg8bit", at)) != std::string::npos; ++at) {
    bytes.replace(at, 3, "\xc3\x1b\n");  // in the names of records
  }
  bytes[200] ^= 1;  // in a photo
  const auto checksum = [&](size_t begin, size_t size) {
    return crc32({reinterpret_cast<const uint8_t*>(&bytes[begin]), size});
  };
  put(12, checksum(index, bytes.size() - index));
  put(32, checksum(0, 32));
  write_text(folder() / "names.pack", bytes);

  const ProgramResult check = macadam(folder(), {"check", "names.pack", "--json"});
  expect_input_error(check, {"1 errors in the data set"});
  EXPECT_EQ(Json::parse(check.out).at("errors"), 1);
  const ProgramResult plain = macadam(folder(), {"check", "names.pack"});
  expect_input_error(plain, {"names.pack"});
  EXPECT_EQ(plain.out.find('\x1b'), std::string::npos);
  EXPECT_NE(plain.out.find("\\x1b"), std::string::npos) << plain.out;
}

TEST_F(PackCommand, AFullDiskLeavesNothing) {
  fs::create_directory(folder() / "disk");
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit limited = before;  // it stands for a full disk: a write in the middle fails
  limited.rlim_cur = 20'000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limited), 0);
  const ProgramResult result = macadam(folder(), {"pack", "streets", "disk/x.pack"});
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  expect_error(result, 1, {"cannot write the file", "disk/x.pack"});
  EXPECT_TRUE(fs::is_empty(folder() / "disk"));
}

TEST_F(PackCommand, AnInterruptionLeavesNothing) {
  fs::create_directory(folder() / "stopped");
  Program program(folder(),
                  {"pack", "streets", "stopped/x.pack", "--size", "4096x2048", "--threads", "1"});
  while (program.running() && fs::is_empty(folder() / "stopped")) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  program.send(SIGINT);
  EXPECT_EQ(program.wait().exit_code, 130);
  EXPECT_TRUE(fs::is_empty(folder() / "stopped"));
}

}  // namespace
}  // namespace macadam
