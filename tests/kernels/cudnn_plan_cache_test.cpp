// The file of tuned plans: what is read is what was written, and whatever else lies there is as
// good as no file.

#if defined(MACADAM_HAS_CUDA)

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <iterator>
#include <optional>
#include <thread>

#include "base/to_size.h"
#include "kernels/cuda/cudnn/plan_cache.h"
#include "tests/base/temporary_folder.h"

namespace macadam::cuda {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;

constexpr std::string_view kDevice = "NVIDIA H200, compute capability 9.0, cuDNN 9.19.0";

TunedPlan plan(int64_t engine, float milliseconds = 0.125f) {
  return {{engine, {{2, 4}, {18, 0}, {12, -7}}}, false, 4096, milliseconds};
}

TunedPlans some_plans() {
  TunedPlans plans;
  plans["forward: bf16 8x512x1024x64 64 3x3"] = plan(62, 0.0123f);
  plans["forward: f32 8x512x1024x64 64 3x3"] = {{70, {}}, true, size_t{3} << 30, 1e-7f};
  plans["weight gradient: bf16 8x512x1024x64 64 3x3"] = plan(0, 0);
  return plans;
}

std::string content(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void write(const fs::path& file, std::string_view text) {
  std::ofstream(file, std::ios::binary) << text;
}

TEST(TunedPlanText, IsReadAsWritten) {
  for (const TunedPlans& plans : {some_plans(), TunedPlans()}) {
    const auto read = parse_tuned_plans(to_text(plans, kDevice), kDevice);
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(*read, plans);
  }
}

TEST(TunedPlanText, CutAnywhereItYieldsNothingFalse) {
  const TunedPlans plans = some_plans();
  const std::string text = to_text(plans, kDevice);
  for (size_t bytes = 0; bytes < text.size(); ++bytes) {
    const auto read = parse_tuned_plans(text.substr(0, bytes), kDevice);
    if (!read) continue;
    EXPECT_LT(read->size(), plans.size()) << bytes;
    for (const auto& [key, tuned] : *read) EXPECT_EQ(tuned, plans.at(key)) << bytes;
  }
}

TEST(TunedPlanText, OfAnotherDeviceIsNotRead) {
  const std::string text = to_text(some_plans(), kDevice);
  EXPECT_FALSE(parse_tuned_plans(text, "NVIDIA H100").has_value());
  EXPECT_FALSE(parse_tuned_plans(text, "").has_value());
}

TEST(TunedPlanText, IsRefusedWholeForOneBadLine) {
  const std::string text = to_text(some_plans(), kDevice);
  ASSERT_TRUE(parse_tuned_plans(text + "key = 1 - apart 0 0.5\n", kDevice).has_value());
  for (const std::string_view line : {
           "",
           "key",
           "key = ",
           " = 1 - fused 0 0.5",
           "key = 1 - fused 0",
           "key = 1 - fused 0 0.5 ",
           "key = 1 - fused 0 0.5 more",
           "key = 1  - fused 0 0.5",
           "key = one - fused 0 0.5",
           "key = 99999999999999999999 - fused 0 0.5",
           "key = 1  fused 0 0.5",
           "key = 1 2 fused 0 0.5",
           "key = 1 2: fused 0 0.5",
           "key = 1 :3 fused 0 0.5",
           "key = 1 2:3,,4:5 fused 0 0.5",
           "key = 1 2:3:4 fused 0 0.5",
           "key = 1 - maybe 0 0.5",
           "key = 1 - fused -1 0.5",
           "key = 1 - fused 0 -0.5",
           "key = 1 - fused 0 nan",
           "key = 1 - fused 0 inf",
           "key = 1 - fused 0 1e99",
           "key = 1 - fused 0 0.5\r",
       }) {
    EXPECT_FALSE(parse_tuned_plans(fmt::format("{}{}\n", text, line), kDevice).has_value()) << line;
  }
  const std::string with_zero = text + std::string("key = 1 - fused 0 0.5\0\n", 23);
  EXPECT_FALSE(parse_tuned_plans(with_zero, kDevice).has_value());
}

TEST(PlanCache, KeepsPlansFromOneRunToTheNext) {
  const TemporaryFolder folder;
  const fs::path place = folder / "new/folder";
  {
    PlanCache cache(place, kDevice);
    EXPECT_EQ(cache.find("a"), nullptr);
    cache.store("a", plan(1));
    cache.store("b", plan(2));
    cache.store("a", plan(3));
    ASSERT_NE(cache.find("a"), nullptr);
    EXPECT_EQ(*cache.find("a"), plan(3));
  }
  PlanCache again(place, kDevice);
  ASSERT_NE(again.find("a"), nullptr);
  EXPECT_EQ(*again.find("a"), plan(3));
  ASSERT_NE(again.find("b"), nullptr);
  EXPECT_EQ(*again.find("b"), plan(2));
  EXPECT_EQ(again.find("c"), nullptr);
  EXPECT_EQ(again.file().filename(), "nvidia-h200-compute-capability-9.0-cudnn-9.19.0.plans");
}

TEST(PlanCache, KeepsDevicesApart) {
  const TemporaryFolder folder;
  PlanCache(folder.path(), kDevice).store("a", plan(1));
  PlanCache(folder.path(), "NVIDIA A100").store("a", plan(2));
  EXPECT_EQ(folder.entries().size(), 2u);
  EXPECT_EQ(*PlanCache(folder.path(), kDevice).find("a"), plan(1));
  // Another device whose file has the same name.
  PlanCache other(folder.path(), "nvidia/a100");
  EXPECT_EQ(other.file(), PlanCache(folder.path(), "NVIDIA A100").file());
  EXPECT_EQ(other.find("a"), nullptr);
}

TEST(PlanCache, KeepsWhatOthersWroteMeanwhile) {
  const TemporaryFolder folder;
  PlanCache one(folder.path(), kDevice), other(folder.path(), kDevice);
  one.store("a", plan(1));
  other.store("b", plan(2));
  one.store("c", plan(3));
  PlanCache all(folder.path(), kDevice);
  for (const char* key : {"a", "b", "c"}) EXPECT_NE(all.find(key), nullptr) << key;
}

TEST(PlanCache, FindsWhatOthersWroteMeanwhile) {
  const TemporaryFolder folder;
  PlanCache one(folder.path(), kDevice), other(folder.path(), kDevice);
  EXPECT_EQ(one.find("a"), nullptr);
  for (int i = 0; i < 10; ++i) {
    const std::string key = fmt::format("plan {}", i);
    (i % 2 == 0 ? one : other).store(key, plan(i));
    const TunedPlan* const found = (i % 2 == 0 ? other : one).find(key);
    ASSERT_NE(found, nullptr) << key;
    EXPECT_EQ(*found, plan(i));
  }
  // One's own stays, and what is in memory outlives the file.
  other.store("a", plan(1));
  one.store("a", plan(2));
  EXPECT_EQ(*other.find("a"), plan(1));
  fs::remove(one.file());
  EXPECT_EQ(one.find("b"), nullptr);
  EXPECT_NE(one.find("plan 9"), nullptr);
  write(one.file(), to_text({{"b", plan(3)}}, kDevice));
  EXPECT_NE(one.find("b"), nullptr);
}

TEST(PlanCache, ReadsAFileOnce) {
  const TemporaryFolder folder;
  PlanCache reader(folder.path(), kDevice), writer(folder.path(), kDevice);
  const fs::path file = writer.file();
  writer.store("a", plan(1));
  EXPECT_NE(reader.find("a"), nullptr);
  // Other content that looks the same from outside: neither of them reads it.
  const auto when = fs::last_write_time(file);
  write(file, to_text({{"b", plan(1)}}, kDevice));
  fs::last_write_time(file, when);
  EXPECT_EQ(reader.find("b"), nullptr);
  EXPECT_EQ(writer.find("b"), nullptr);
  fs::last_write_time(file, when + std::chrono::seconds(1));
  EXPECT_NE(reader.find("b"), nullptr);
  EXPECT_NE(writer.find("b"), nullptr);
}

TEST(PlanCache, ReplacesADamagedFile) {
  const TemporaryFolder folder;
  const fs::path file = PlanCache(folder.path(), kDevice).file();
  const std::string good = to_text(some_plans(), kDevice);
  std::string flipped = good;
  flipped[good.size() - 4] = '\x07';
  for (const std::string& text : {std::string(), std::string("\n"), std::string(1000, '\0'),
                                  good.substr(0, good.size() - 1), flipped, good + "x"}) {
    write(file, text);
    PlanCache cache(folder.path(), kDevice);
    for (const auto& [key, tuned] : some_plans()) EXPECT_EQ(cache.find(key), nullptr);
    cache.store("a", plan(1));
    EXPECT_EQ(content(file), to_text({{"a", plan(1)}}, kDevice));
  }
}

TEST(PlanCache, BeginsAnewWhenTheFileIsHuge) {
  const TemporaryFolder folder;
  const fs::path file = PlanCache(folder.path(), kDevice).file();
  write(file, to_text(some_plans(), kDevice));
  fs::resize_file(file, uintmax_t{1} << 40);  // a hole
  PlanCache cache(folder.path(), kDevice);
  cache.store("a", plan(1));
  EXPECT_EQ(content(file), to_text({{"a", plan(1)}}, kDevice));
}

TEST(PlanCache, WorksOnWhereNothingCanBeWritten) {
  const TemporaryFolder folder;
  write(folder / "file", "a file");
  fs::create_directories(PlanCache(folder / "taken", kDevice).file());
  for (const fs::path& place :
       {folder / "file", folder / "file/below", folder / "taken", fs::path("/proc/nowhere")}) {
    PlanCache cache(place, kDevice);
    EXPECT_EQ(cache.find("a"), nullptr) << place;
    cache.store("a", plan(1));
    ASSERT_NE(cache.find("a"), nullptr) << place;
    EXPECT_EQ(*cache.find("a"), plan(1)) << place;
    EXPECT_EQ(PlanCache(place, kDevice).find("a"), nullptr) << place;
  }
  EXPECT_EQ(folder.entries().size(), 2u) << "temporary files were left";
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "taken"), {}), 1);
}

TEST(PlanCache, WithoutAFolderItLivesInMemory) {
  PlanCache cache({}, kDevice);
  cache.store("a", plan(1));
  EXPECT_NE(cache.find("a"), nullptr);
  EXPECT_TRUE(cache.file().empty());
  EXPECT_EQ(PlanCache({}, kDevice).find("a"), nullptr);
}

TEST(PlanCache, IsWholeWhileManyWrite) {
  constexpr int writers = 6, each = 30;
  const TemporaryFolder folder;
  const fs::path file = PlanCache(folder.path(), kDevice).file();
  const auto key = [](int writer, int i) { return fmt::format("writer {} plan {}", writer, i); };
  std::atomic<int> busy = writers, torn = 0, seen = 0;
  std::vector<std::thread> threads;
  for (int writer = 0; writer < writers; ++writer) {
    threads.emplace_back([&, writer] {
      PlanCache cache(folder.path(), kDevice);
      for (int i = 0; i < each; ++i) cache.store(key(writer, i), plan(writer * each + i));
      --busy;
    });
  }
  threads.emplace_back([&] {
    while (busy > 0) {
      const std::string text = content(file);
      if (text.empty()) continue;  // not there yet
      ++seen;
      if (!parse_tuned_plans(text, kDevice)) ++torn;
    }
  });
  for (std::thread& thread : threads) thread.join();

  EXPECT_EQ(torn, 0) << "of " << seen;
  EXPECT_EQ(folder.entries().size(), 1u) << "temporary files were left";
  const auto all = parse_tuned_plans(content(file), kDevice);
  ASSERT_TRUE(all.has_value());
  EXPECT_GE(all->size(), to_size(each)) << "those of the last writer";
  for (int writer = 0; writer < writers; ++writer) {
    for (int i = 0; i < each; ++i) {
      const auto found = all->find(key(writer, i));
      if (found != all->end()) {
        EXPECT_EQ(found->second, plan(writer * each + i));
      }
    }
  }
}

}  // namespace
}  // namespace macadam::cuda

#endif
