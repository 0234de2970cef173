#pragma once
// How much memory this process may still take.

#include <cstddef>
#include <filesystem>
#include <optional>

#include "base/cgroup.h"

namespace macadam {

struct HostMemoryFiles {
  std::filesystem::path information = "/proc/meminfo";
  CgroupFiles groups;
};

/// Bytes that can be had without swapping, as the kernel estimates them ("MemAvailable"), and no
/// more than control groups (v1 or v2) leave; nothing where the system does not say.
std::optional<size_t> free_host_memory(const HostMemoryFiles& files = {});

}  // namespace macadam
