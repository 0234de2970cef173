// The portable build: which of its libraries the dynamic loader takes, and that they do the same.
// glibc's tunables hide instruction sets from the loader, so that one machine stands for older
// ones.

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "image/image.h"
#include "tests/app/program.h"
#include "tests/paths.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;

struct Level {
  std::string name;      // the library's
  std::string tunables;  // glibc's, which lower the processor to it
};

/// The levels of this machine, the highest first.
std::vector<Level> levels() {
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
                  __builtin_cpu_supports("fma");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  std::vector<Level> all;
  if (v4) all.push_back({"x86-64-v4", ""});
  if (v3) all.push_back({"x86-64-v3", "glibc.cpu.hwcaps=-AVX512F"});
  all.push_back({"x86-64-v2", "glibc.cpu.hwcaps=-AVX512F,-AVX2"});
  all.front().tunables.clear();
  return all;
}

/// A folder with a small street data set and a model trained on it, made once.
class Portable : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch_ = std::make_unique<ScratchFolder>();
    const ProgramResult synth =
        macadam(folder(), {"synth", "streets", "--images", "6", "--size", "64x32"});
    ASSERT_EQ(synth.exit_code, 0) << synth.err;
    write_text(folder() / "run.toml", small_config(2, R"(augment = [
  {name = "HorizontalFlip"}, {name = "ShiftScaleRotate", p = 1.0},
  {name = "RandomBrightnessContrast", p = 1.0}, {name = "Blur", p = 1.0}, {name = "CLAHE", p = 1.0}]
)"));
    const ProgramResult train = macadam(folder(), {"train", "run.toml", "name=run"});
    ASSERT_EQ(train.exit_code, 0) << train.err;
  }
  static void TearDownTestSuite() { scratch_.reset(); }

  static const fs::path& folder() { return scratch_->path(); }

  /// `macadam ARGUMENTS` as on a processor of that level; expects that it works.
  static ProgramResult at(const Level& level, const std::string& arguments) {
    const std::string hide = level.tunables.empty()
                                 ? "unset GLIBC_TUNABLES; "
                                 : "export GLIBC_TUNABLES=" + level.tunables + "; ";
    const ProgramResult result =
        Program::shell(folder(), hide + "exec $macadam " + arguments).wait();
    EXPECT_EQ(result.exit_code, 0) << level.name << ": " << result.err;
    return result;
  }

  /// Every file below a folder of the scratch folder, by its name.
  static std::map<std::string, std::string> files_in(const std::string& name) {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder() / name)) {
      if (!entry.is_regular_file()) continue;
      files[entry.path().lexically_relative(folder() / name).string()] = read_text(entry.path());
    }
    return files;
  }

 private:
  static std::unique_ptr<ScratchFolder> scratch_;
};
std::unique_ptr<ScratchFolder> Portable::scratch_;

TEST_F(Portable, TheProcessorsLevelIsLoaded) {
  for (const Level& level : levels()) {
    const auto info = nlohmann::json::parse(at(level, "info --json").out);
    EXPECT_EQ(info.at("devices").at(0).at("compiled_level"), level.name);
    EXPECT_NE(at(level, "info").out.find("code for " + level.name), std::string::npos);
  }
}

// What a processor of the lower level does not have: 256-bit registers, 512-bit ones and masks.
TEST_F(Portable, NoFileHoldsCodeOfAHigherLevel) {
  for (const auto& [file, higher] :
       {std::pair{"macadam", "%[yz]mm"}, std::pair{"lib/libmacadam_kernels.so", "%[yz]mm"},
        std::pair{"lib/glibc-hwcaps/x86-64-v3/libmacadam_kernels.so", "%zmm|%k[0-7]"}}) {
    const auto count = [&](const std::string& registers) {
      const ProgramResult lines =
          Program::shell(folder(), "objdump -d --no-show-raw-insn '" + build_path(file) +
                                       "' | grep -cE '" + registers + "'")
              .wait();
      EXPECT_TRUE(lines.err.empty()) << lines.err;
      return lines.out;
    };
    EXPECT_EQ(count(higher), "0\n") << file;
    EXPECT_NE(count("%xmm"), "0\n") << file;
  }
}

TEST_F(Portable, StreetsAndAugmentedPhotosHaveTheSameBytesAtEveryLevel) {
  for (const Level& level : levels()) {
    at(level, "synth streets-" + level.name + " --images 6 --size 64x32");
    EXPECT_TRUE(files_in("streets-" + level.name) == files_in("streets")) << level.name;
    at(level, "check streets --augment run.toml -o sheets-" + level.name);
  }
  const auto sheets = files_in("sheets-" + levels().front().name);
  EXPECT_FALSE(sheets.empty());
  for (const Level& level : levels()) {
    EXPECT_TRUE(files_in("sheets-" + level.name) == sheets) << level.name;
  }
}

TEST_F(Portable, TrainingEndsAtTheSameLosses) {
  std::vector<double> losses;
  for (const Level& level : levels()) {
    at(level, "train run.toml name=" + level.name);
    const std::string log = read_text(folder() / "runs" / level.name / "results.csv");
    const std::vector<std::string> lines = lines_of(log);
    ASSERT_EQ(lines.size(), 3u) << log;  // a header and two epochs
    std::istringstream cells(lines[2]);
    std::string cell;
    for (int column = 0; column < 3; ++column) std::getline(cells, cell, ',');  // train_loss
    losses.push_back(std::stod(cell));
  }
  for (const double loss : losses) EXPECT_NEAR(loss, losses[0], 1e-3 * losses[0]);
}

TEST_F(Portable, MasksAndScoresAreTheSameButForTies) {
  const std::string model = "runs/run/best.safetensors";
  std::vector<double> scores;
  for (const Level& level : levels()) {
    at(level, "predict " + model + " streets/leftImg8bit -o masks-" + level.name);
    const auto eval = nlohmann::json::parse(at(level, "eval " + model + " streets --json").out);
    scores.push_back(eval.at("pixel_accuracy").get<double>());
    size_t pixels = 0, other = 0;
    const std::string first = "masks-" + levels().front().name, own = "masks-" + level.name;
    for (const auto& [name, bytes] : files_in(own)) {
      if (!name.starts_with("ids/") || !name.ends_with(".png")) continue;
      const Image a = read_labels(folder() / first / name), b = read_labels(folder() / own / name);
      ASSERT_EQ(a.pixels.size(), b.pixels.size());
      pixels += a.pixels.size();
      for (size_t i = 0; i < a.pixels.size(); ++i) other += a.pixels[i] != b.pixels[i];
    }
    EXPECT_EQ(pixels, 6u * 64 * 32) << level.name;
    EXPECT_LE(other, pixels / 500) << level.name;
  }
  for (const double score : scores) EXPECT_NEAR(score, scores[0], 2e-3);
}

}  // namespace
}  // namespace macadam
