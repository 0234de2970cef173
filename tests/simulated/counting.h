#pragma once
// A training step of any size counted instead of run: its launches, the bytes that it moves outside
// cuDNN, and the time that both may take on a GPU, by arithmetic.

#include <cstdint>
#include <map>
#include <string>

#include "kernels/ops.h"

namespace macadam::simulated {

/// While it lives, the simulated device drops what is queued, and its memory is address space that
/// nothing touches. One at a time, and no streams or buffers that are older or live longer.
class Counting {
 public:
  Counting();
  Counting(const Counting&) = delete;
  Counting& operator=(const Counting&) = delete;
  ~Counting();
};

/// What a GPU is assumed to do: an H200, whose figures are those of its data sheet but for what a
/// kernel reaches of them (docs/gpu.md).
struct AssumedGpu {
  static constexpr double kBytesPerSecond = 0.9 * 4.3e12;  // of our kernels: 90 % of a large copy
  static constexpr double kFlopsPerSecond = 790e12;        // of a large bf16 matrix product
  static constexpr double kSmallKernel = 2.5e-6;           // seconds: no launch takes less
};

struct Tally {
  int64_t launches = 0, bytes = 0;
  double seconds = 0;

  Tally& operator+=(const Tally& other);
};

/// What was called, by kind of op. cuDNN's calls are "convolution", one launch each; their bytes
/// are x, y and the weights, and their time is that of their arithmetic at a share of
/// kFlopsPerSecond that grows with the channels, or of their bytes.
using Tallies = std::map<std::string, Tally>;

Tally total(const Tallies& tallies);
/// Without cuDNN's.
Tally outside(const Tallies& tallies);

/// The ops of a simulated stream, whose calls are noted in `tallies`; both outlive them. The floors
/// in bytes are those that the files of kernels/cuda state; optimisers update `parameters` values.
Ops counted_ops(Stream& stream, Tallies& tallies, int64_t parameters);

}  // namespace macadam::simulated
