#include "base/cores.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

namespace macadam {

namespace {

namespace fs = std::filesystem;

/// A quota over its period; nothing where there is no number ("max") or none that limits (-1).
std::optional<double> ratio(std::istream& quota, std::istream& period) {
  double used = 0, of = 0;
  if (!(quota >> used) || !(period >> of) || used <= 0 || of <= 0) return std::nullopt;
  return used / of;
}

/// What one group allows.
std::optional<double> quota_of(const fs::path& group, bool version_2) {
  std::ifstream quota(group / (version_2 ? "cpu.max" : "cpu.cfs_quota_us"));
  if (version_2) return ratio(quota, quota);
  std::ifstream period(group / "cpu.cfs_period_us");
  return ratio(quota, period);
}

/// A line of /proc/self/cgroup: "number:controllers:path", without controllers for version 2.
struct Membership {
  std::string controllers, path;
};

std::vector<Membership> memberships(const fs::path& file) {
  std::vector<Membership> found;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    const size_t first = line.find(':');
    const size_t second = first == line.npos ? first : line.find(':', first + 1);
    if (second == line.npos) continue;
    found.push_back({line.substr(first + 1, second - first - 1), line.substr(second + 1)});
  }
  return found;
}

bool has_cpu(const std::string& controllers) {
  return ("," + controllers + ",").find(",cpu,") != std::string::npos;
}

}  // namespace

std::optional<double> cpu_quota(const CgroupFiles& files) {
  std::optional<double> least;
  for (const auto& [controllers, path] : memberships(files.membership)) {
    const bool version_2 = controllers.empty();
    if (!version_2 && !has_cpu(controllers)) continue;
    const std::vector<fs::path> mounts =
        version_2 ? std::vector{files.root}
                  : std::vector{files.root / controllers, files.root / "cpu"};
    // A group that lies outside of what is mounted here ("/..", or what the host calls a container)
    // is not found: what remains is the root, and that is the container's.
    const bool outside = path.find("..") != std::string::npos;
    const fs::path inside = outside ? fs::path() : fs::path(path).relative_path();
    for (const fs::path& mount : mounts) {
      fs::path group = mount / inside;
      while (true) {
        if (const auto quota = quota_of(group, version_2)) {
          least = std::min(least.value_or(*quota), *quota);
        }
        if (group == mount) break;
        group = group.parent_path();
      }
    }
  }
  return least;
}

int usable_cores(const CgroupFiles& files) {
  const int cores = std::max(1, omp_get_num_procs());
  const std::optional<double> quota = cpu_quota(files);
  if (!quota || *quota >= cores) return cores;
  return std::max(1, static_cast<int>(std::ceil(*quota)));
}

}  // namespace macadam
