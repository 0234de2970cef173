#pragma once
// An H200 as cuDNN describes it, to plan for where there is no GPU.

#include <fstream>
#include <iterator>
#include <string>

namespace macadam::testing {

inline std::string described_h200() {
  std::ifstream file(MACADAM_SOURCE_DIR "/tests/golden/cudnn_device_h200.json");
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace macadam::testing
