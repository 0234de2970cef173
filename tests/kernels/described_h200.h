#pragma once
// An H200 as cuDNN describes it, to plan for where there is no GPU.

#include <fstream>
#include <iterator>
#include <string>

#include "tests/paths.h"

namespace macadam::testing {

inline std::string described_h200() {
  std::ifstream file(source_path("tests/golden/cudnn_device_h200.json"));
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace macadam::testing
