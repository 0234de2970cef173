// How much memory may still be taken, of made-up files of the system.

#include "base/host_memory.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

namespace macadam {
namespace {

namespace fs = std::filesystem;

class HostMemory : public ::testing::Test {
 protected:
  HostMemory() {
    std::string pattern = (fs::temp_directory_path() / "macadam_memory_XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~HostMemory() override { fs::remove_all(folder_); }

  void write(const std::string& file, const std::string& text) const {
    fs::create_directories((folder_ / file).parent_path());
    std::ofstream(folder_ / file) << text << '\n';
  }
  std::optional<size_t> free() const {
    return free_host_memory({folder_ / "meminfo", {folder_ / "membership", folder_ / "cgroup"}});
  }

 private:
  fs::path folder_;
};

TEST_F(HostMemory, IsWhatTheKernelSaysIsAvailable) {
  EXPECT_EQ(free(), std::nullopt);
  write("meminfo", "MemTotal:       16000 kB\nMemFree:         1000 kB\nMemAvailable:    8000 kB");
  EXPECT_EQ(free(), size_t{8000} << 10);
}

TEST_F(HostMemory, IsNoMoreThanTheStrictestGroupLeaves) {
  write("meminfo", "MemAvailable: 8000 kB");
  write("membership", "0::/outer/inner");
  write("cgroup/outer/inner/memory.max", "max");
  write("cgroup/outer/inner/memory.current", "4096");
  EXPECT_EQ(free(), size_t{8000} << 10);
  write("cgroup/outer/memory.max", "1048576");
  write("cgroup/outer/memory.current", "48576");
  EXPECT_EQ(free(), 1000000U);
  write("cgroup/outer/inner/memory.max", "4000");  // less than is used
  EXPECT_EQ(free(), 0U);
}

TEST_F(HostMemory, KnowsVersion1) {
  write("membership", "4:cpu:/\n7:memory:/job");
  write("cgroup/memory/job/memory.limit_in_bytes", "5000");
  write("cgroup/memory/job/memory.usage_in_bytes", "2000");
  EXPECT_EQ(free(), 3000U);
}

TEST_F(HostMemory, OfThisMachineIsSomething) {
  EXPECT_GT(free_host_memory().value_or(0), 1U << 20);
}

}  // namespace
}  // namespace macadam
