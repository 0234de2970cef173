#pragma once

#include <string>

namespace macadam {

/// Where `relative` lies in the repository: golden files, documents, recipes.
std::string source_path(const std::string& relative);

/// Where `relative` lies in the build folder: programs, libraries.
std::string build_path(const std::string& relative);

}  // namespace macadam
