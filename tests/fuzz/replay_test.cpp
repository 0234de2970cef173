// The fuzz targets without a fuzzer: they compile, and take their seeds and whatever once broke
// them (corpus/TARGET), whole and cut short.

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include "base/files.h"
#include "tests/paths.h"

// clang-format never comes to rest on this.
// clang-format off
#define MACADAM_FUZZ_TARGETS(X) \
  X(event_file) X(exif) X(http_request) X(image) X(image_header) X(infer_request) X(model_file) \
  X(multipart) X(pack) X(plan_cache) X(png) X(split_file) X(weights)
// clang-format on

// CMakeLists.txt names them so: LLVMFuzzerTestOneInput of fuzz_NAME.cpp.
#define MACADAM_DECLARE(name) extern "C" int fuzz_##name(const uint8_t* data, size_t size);
MACADAM_FUZZ_TARGETS(MACADAM_DECLARE)

/// What targets' own mutators call.
extern "C" size_t LLVMFuzzerMutate(uint8_t* /*data*/, size_t size, size_t /*max_size*/) {
  return size;
}

namespace {

namespace fs = std::filesystem;
using Target = std::pair<std::string_view, int (*)(const uint8_t*, size_t)>;

#define MACADAM_LIST(name) Target{#name, fuzz_##name},
constexpr std::array kTargets{MACADAM_FUZZ_TARGETS(MACADAM_LIST)};

const fs::path kFolder = macadam::source_path("tests/fuzz");

/// Files of the target's corpus, and for those that read images, the images of tests/golden.
std::vector<fs::path> inputs_of(std::string_view name) {
  std::vector<fs::path> found;
  const auto add = [&](const fs::path& folder) {
    if (!fs::is_directory(folder)) return;
    for (const auto& entry : fs::directory_iterator(folder)) found.push_back(entry.path());
  };
  add(kFolder / "corpus" / ("fuzz_" + std::string(name)));
  if (name == "image" || name == "image_header" || name == "png" || name == "exif") {
    add(kFolder.parent_path() / "golden" / "images");
  }
  return found;
}

class FuzzTarget : public ::testing::TestWithParam<Target> {};

TEST_P(FuzzTarget, TakesItsCorpusWholeAndCut) {
  const auto& [name, take] = GetParam();
  constexpr size_t kMostBytes = size_t{1} << 20, kCuts = 64;
  EXPECT_EQ(take(nullptr, 0), 0);
  const std::vector<fs::path> inputs = inputs_of(name);
  EXPECT_FALSE(inputs.empty());
  for (const fs::path& file : inputs) {
    SCOPED_TRACE(file.string());
    const std::string text = macadam::read_file(file, kMostBytes);
    const std::vector<uint8_t> bytes(text.begin(), text.end());
    EXPECT_EQ(take(bytes.data(), bytes.size()), 0);
    for (size_t cut = 0; cut < kCuts; ++cut) {
      const std::vector<uint8_t> head(
          bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(bytes.size() * cut / kCuts));
      EXPECT_EQ(take(head.data(), head.size()), 0);
    }
  }
}

TEST(FuzzTargets, AreAllReplayed) {
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(kFolder)) {
    const std::string name = entry.path().filename();
    files += name.starts_with("fuzz_") && name.ends_with(".cpp") ? 1 : 0;
  }
  EXPECT_EQ(files, kTargets.size());
}

INSTANTIATE_TEST_SUITE_P(, FuzzTarget, ::testing::ValuesIn(kTargets),
                         [](const auto& trial) { return std::string(trial.param.first); });

}  // namespace
