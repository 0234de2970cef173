#include "base/host_memory.h"

#include <algorithm>
#include <fstream>
#include <string>

namespace macadam {

namespace {

std::optional<size_t> available(const std::filesystem::path& information) {
  std::ifstream stream(information);
  for (std::string key; stream >> key;) {
    size_t kibibytes = 0;
    if (key == "MemAvailable:" && stream >> kibibytes) return kibibytes << 10;
    std::getline(stream, key);
  }
  return std::nullopt;
}

/// The number that a group's file holds; nothing where it is "max".
std::optional<size_t> number_in(const std::filesystem::path& file) {
  std::ifstream stream(file);
  size_t value = 0;
  return stream >> value ? std::optional(value) : std::nullopt;
}

}  // namespace

std::optional<size_t> free_host_memory(const HostMemoryFiles& files) {
  std::optional<size_t> least = available(files.information);
  for (const Cgroup& group : cgroups("memory", files.groups)) {
    const bool v2 = group.version_2;
    const auto limit = number_in(group.folder / (v2 ? "memory.max" : "memory.limit_in_bytes"));
    const auto used = number_in(group.folder / (v2 ? "memory.current" : "memory.usage_in_bytes"));
    if (!limit || !used) continue;
    const size_t left = *limit - std::min(*limit, *used);
    least = std::min(least.value_or(left), left);
  }
  return least;
}

}  // namespace macadam
