#include "base/cgroup.h"

#include <fstream>
#include <string>

namespace macadam {

namespace {

namespace fs = std::filesystem;

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

bool has(const std::string& controllers, std::string_view controller) {
  return ("," + controllers + ",").find("," + std::string(controller) + ",") != std::string::npos;
}

}  // namespace

std::vector<Cgroup> cgroups(std::string_view controller, const CgroupFiles& files) {
  std::vector<Cgroup> found;
  for (const auto& [controllers, path] : memberships(files.membership)) {
    const bool version_2 = controllers.empty();
    if (!version_2 && !has(controllers, controller)) continue;
    const std::vector<fs::path> mounts =
        version_2 ? std::vector{files.root}
                  : std::vector{files.root / controllers, files.root / controller};
    // A group that lies outside of what is mounted here ("/..", or what the host calls a container)
    // is not found: what remains is the root, and that is the container's.
    const bool outside = path.find("..") != std::string::npos;
    const fs::path inside = outside ? fs::path() : fs::path(path).relative_path();
    for (const fs::path& mount : mounts) {
      fs::path group = mount / inside;
      while (true) {
        found.push_back({group, version_2});
        if (group == mount) break;
        group = group.parent_path();
      }
    }
  }
  return found;
}

}  // namespace macadam
