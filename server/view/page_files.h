#pragma once
// The page of the viewer, as it lies in page/: compiled into the program.

#include <span>
#include <string_view>

namespace macadam {

struct PageFile {
  std::string_view name;  // "index.html"
  std::string_view content_type;
  std::string_view content;
};

std::span<const PageFile> page_files();

}  // namespace macadam
