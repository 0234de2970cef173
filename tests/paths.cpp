#include "tests/paths.h"

namespace macadam {

std::string source_path(const std::string& relative) { return MACADAM_SOURCE_DIR "/" + relative; }

std::string build_path(const std::string& relative) { return MACADAM_BINARY_DIR "/" + relative; }

}  // namespace macadam
