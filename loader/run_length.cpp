#include "loader/run_length.h"

#include <algorithm>

#include "base/to_size.h"

namespace macadam {

std::vector<uint8_t> encode_runs(std::span<const uint8_t> labels) {
  std::vector<uint8_t> runs;
  for (auto begin = labels.begin(); begin != labels.end();) {
    const uint8_t label = *begin;
    const auto end = std::find_if(begin, labels.end(), [=](uint8_t l) { return l != label; });
    runs.push_back(label);
    auto left = to_size(end - begin);
    for (; left >= 128; left >>= 7) runs.push_back(static_cast<uint8_t>(left | 128));
    runs.push_back(static_cast<uint8_t>(left));
    begin = end;
  }
  return runs;
}

bool decode_runs(std::span<const uint8_t> runs, std::span<uint8_t> out) {
  constexpr int kMostBits = 35;  // five bytes, beyond every image
  size_t at = 0, filled = 0;
  while (at < runs.size()) {
    const uint8_t label = runs[at++];
    uint64_t length = 0;
    for (int shift = 0;; shift += 7) {
      if (at == runs.size() || shift == kMostBits) return false;
      const uint8_t byte = runs[at++];
      length |= static_cast<uint64_t>(byte & 127) << shift;
      if (byte < 128) break;
    }
    if (length == 0 || length > out.size() - filled) return false;
    std::fill_n(out.begin() + static_cast<ptrdiff_t>(filled), length, label);
    filled += length;
  }
  return filled == out.size();
}

}  // namespace macadam
