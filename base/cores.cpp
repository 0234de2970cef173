#include "base/cores.h"

#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <vector>

namespace macadam {

namespace {

/// A quota over its period; nothing where there is no number ("max") or none that limits (-1).
std::optional<double> ratio(std::istream& quota, std::istream& period) {
  double used = 0, of = 0;
  if (!(quota >> used) || !(period >> of) || used <= 0 || of <= 0) return std::nullopt;
  return used / of;
}

/// What one group allows.
std::optional<double> quota_of(const Cgroup& group) {
  std::ifstream quota(group.folder / (group.version_2 ? "cpu.max" : "cpu.cfs_quota_us"));
  if (group.version_2) return ratio(quota, quota);
  std::ifstream period(group.folder / "cpu.cfs_period_us");
  return ratio(quota, period);
}

}  // namespace

std::optional<double> cpu_quota(const CgroupFiles& files) {
  std::optional<double> least;
  for (const Cgroup& group : cgroups("cpu", files)) {
    if (const auto quota = quota_of(group)) least = std::min(least.value_or(*quota), *quota);
  }
  return least;
}

int usable_cores(const CgroupFiles& files) {
  const int cores = std::max(1, omp_get_num_procs());
  const std::optional<double> quota = cpu_quota(files);
  if (!quota || *quota >= cores) return cores;
  return std::max(1, static_cast<int>(std::ceil(*quota)));
}

void spread_team() {
  const int threads = omp_get_max_threads();
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (threads == 1 || std::getenv("OMP_PROC_BIND") != nullptr ||
      sched_getaffinity(0, sizeof mask, &mask) != 0 || CPU_COUNT(&mask) != threads) {
    return;
  }
  std::vector<size_t> cores;
  for (size_t core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &mask)) cores.push_back(core);
  }
#pragma omp parallel num_threads(threads)
  {
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET(cores[static_cast<size_t>(omp_get_thread_num())], &own);
    sched_setaffinity(0, sizeof own, &own);
  }
  sched_setaffinity(0, sizeof mask, &mask);
}

}  // namespace macadam
