// What "all cores" means under an affinity mask and a control group's quota.

#include "base/cores.h"

#include <gtest/gtest.h>
#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace macadam {
namespace {

namespace fs = std::filesystem;

/// A made-up /proc/self/cgroup and /sys/fs/cgroup.
class Cores : public ::testing::Test {
 protected:
  Cores() {
    std::string pattern = (fs::temp_directory_path() / "macadam_cores_XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~Cores() override { fs::remove_all(folder_); }

  void member_of(const std::string& lines) const { std::ofstream(files().membership) << lines; }
  void write(const std::string& file, const std::string& text) const {
    const fs::path path = files().root / file;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text << '\n';
  }
  CgroupFiles files() const { return {folder_ / "membership", folder_ / "cgroup"}; }
  std::optional<double> quota() const { return cpu_quota(files()); }

 private:
  fs::path folder_;
};

TEST_F(Cores, WithoutGroupsTheAffinityDecides) {
  EXPECT_EQ(quota(), std::nullopt);
  const int all = usable_cores(files());
  EXPECT_EQ(all, omp_get_num_procs());

  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  CPU_ZERO(&one);
  for (int cpu = 0; CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(usable_cores(files()), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
}

TEST_F(Cores, Version2TakesTheStrictestOfTheGroupsAround) {
  member_of("0::/user/job\n");
  write("user/job/cpu.max", "max 100000");
  EXPECT_EQ(quota(), std::nullopt);
  EXPECT_EQ(usable_cores(files()), omp_get_num_procs());
  write("user/job/cpu.max", "300000 100000");
  EXPECT_EQ(quota(), 3.0);
  write("user/cpu.max", "50000 100000");
  EXPECT_EQ(quota(), 0.5);
  EXPECT_EQ(usable_cores(files()), 1);
  write("user/cpu.max", "400000 100000");
  EXPECT_EQ(quota(), 3.0);
  write("cpu.max", "25000 50000");  // a container sees its own group as the root
  EXPECT_EQ(quota(), 0.5);
}

TEST_F(Cores, Version1HasItsControllersApart) {
  member_of("12:cpuset:/a\n4:cpu,cpuacct:/a/b\n1:name=systemd:/a\n0::/\n");
  write("cpuset/a/cpu.cfs_quota_us", "1000");
  write("cpu,cpuacct/a/b/cpu.cfs_quota_us", "-1");
  write("cpu,cpuacct/a/b/cpu.cfs_period_us", "100000");
  EXPECT_EQ(quota(), std::nullopt);
  write("cpu,cpuacct/a/cpu.cfs_quota_us", "150000");
  write("cpu,cpuacct/a/cpu.cfs_period_us", "100000");
  EXPECT_EQ(quota(), 1.5);
  EXPECT_EQ(usable_cores(files()), std::min(2, omp_get_num_procs()));
  write("cpu/a/b/cpu.cfs_quota_us", "60000");  // mounted by the short name
  write("cpu/a/b/cpu.cfs_period_us", "50000");
  EXPECT_EQ(quota(), 1.2);
}

TEST_F(Cores, AContainerSeesTheNamesOfItsHost) {
  write("cpu.max", "100000 100000");
  write("cpu/cpu.cfs_quota_us", "70000");
  write("cpu/cpu.cfs_period_us", "100000");
  member_of("0::/docker/4f1c\n");
  EXPECT_EQ(quota(), 1.0);
  member_of("0::/../other\n");
  EXPECT_EQ(quota(), 1.0);
  member_of("3:cpu:/docker/4f1c\n");
  EXPECT_EQ(quota(), 0.7);
}

TEST_F(Cores, NonsenseIsNoLimit) {
  for (const char* lines : {"", "\n", "0\n", "0:\n", "::\n", "x:cpuacct:/\n"}) {
    member_of(lines);
    write("cpu.max", "what");
    EXPECT_EQ(quota(), std::nullopt) << lines;
  }
  member_of("0::/\n");
  for (const char* text : {"", "max", "100000", "0 100000", "100000 0", "-5 100000"}) {
    write("cpu.max", text);
    EXPECT_EQ(quota(), std::nullopt) << text;
  }
}

/// The cores that each thread of a team may run on.
std::vector<std::vector<int>> cores_of_team(int threads) {
  std::vector<std::vector<int>> cores(static_cast<size_t>(threads));
#pragma omp parallel num_threads(threads)
  {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    sched_getaffinity(0, sizeof mask, &mask);
    for (int core = 0; core < CPU_SETSIZE; ++core) {
      if (CPU_ISSET(core, &mask)) cores[static_cast<size_t>(omp_get_thread_num())].push_back(core);
    }
  }
  return cores;
}

/// Of a team that one thread of its own spreads, as masks outlive the test.
std::vector<std::vector<int>> spread(int threads) {
  std::vector<std::vector<int>> cores;
  std::thread([&] {
    omp_set_num_threads(threads);
    spread_team();
    cores = cores_of_team(threads);
  }).join();
  return cores;
}

TEST(SpreadTeam, BindsTheTeamAndLeavesTheCallerItsMask) {
  const std::vector<int> all = cores_of_team(1).front();
  const std::vector<std::vector<int>> found = spread(static_cast<int>(all.size()));
  EXPECT_EQ(found.front(), all) << "what the caller begins later inherits its mask";
  for (size_t i = 1; i < all.size(); ++i) EXPECT_EQ(found[i], std::vector<int>{all[i]});
}

TEST(SpreadTeam, LeavesOtherTeamsAndTheUsersOwnBindingAlone) {
  const std::vector<int> all = cores_of_team(1).front();
  const int threads = static_cast<int>(all.size());
  const auto expect_free = [&](int team) {
    for (const std::vector<int>& cores : spread(team)) EXPECT_EQ(cores, all) << team << " threads";
  };
  expect_free(threads + 1);
  if (threads > 1) expect_free(threads - 1);
  setenv("OMP_PROC_BIND", "false", 1);
  expect_free(threads);
  unsetenv("OMP_PROC_BIND");
}

}  // namespace
}  // namespace macadam
