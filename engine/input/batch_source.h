#pragma once
// Where a training run gets its batches from; the loader implements it.

#include <cstdint>
#include <string>

#include "engine/input/batch.h"

namespace macadam {

/// Since start().
struct SourceStats {
  double wait_seconds = 0;  // that next() has waited
  int64_t samples = 0;      // made ready
  double load_seconds = 0;  // spent on them, summed over threads
  int ready = 0;            // batches that wait to be taken now
};

/// The batches of an epoch are a pure function of the seed, the epoch and the batch's position.
class BatchSource {
 public:
  virtual ~BatchSource() = default;

  /// Batches in one epoch; at least 1.
  virtual int64_t batches() const = 0;
  /// Begins `epoch` (from 0) at batch `first`, abandoning what was under way.
  virtual void start(int64_t epoch, int64_t first) = 0;
  /// The next batch, valid until the next call. Requires one left. Throws what reading threw.
  virtual const Batch& next() = 0;
  virtual SourceStats stats() const = 0;
  /// The file of a sample, for error messages.
  virtual std::string sample_name(int sample) const = 0;
};

}  // namespace macadam
