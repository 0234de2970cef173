#pragma once
// The control groups that a process is in (Linux, version 1 or 2).

#include <filesystem>
#include <string_view>
#include <vector>

namespace macadam {

/// Where the system says what a process may use.
struct CgroupFiles {
  std::filesystem::path membership = "/proc/self/cgroup";
  std::filesystem::path root = "/sys/fs/cgroup";
};

/// The folder of a group.
struct Cgroup {
  std::filesystem::path folder;
  bool version_2 = false;
};

/// The process's own groups for a controller ("cpu", "memory") and those around them, whose limits
/// all hold. Folders need not be there; none where there is nothing to read.
std::vector<Cgroup> cgroups(std::string_view controller, const CgroupFiles& files = {});

}  // namespace macadam
