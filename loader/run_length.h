#pragma once
// Labels as runs: a label byte, then the length of its run as LEB128 (7 bits a byte, low first;
// the high bit says that more follow). Runs go on over the ends of rows.

#include <cstdint>
#include <span>
#include <vector>

namespace macadam {

std::vector<uint8_t> encode_runs(std::span<const uint8_t> labels);

/// Fills `out`; false when `runs` is not valid or does not fill it exactly.
bool decode_runs(std::span<const uint8_t> runs, std::span<uint8_t> out);

}  // namespace macadam
