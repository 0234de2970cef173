#pragma once
// Which plan a direction of a convolution runs: the one that a cache knows, else the best of those
// that were tried out. How they are tried is the caller's: on a GPU, or by a test's script.

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "kernels/cuda/cudnn/paths.h"
#include "kernels/cuda/cudnn/plan_cache.h"

namespace macadam::cuda {

/// Tries out the paths of one convolution.
class ConvTrials {
 public:
  virtual ~ConvTrials() = default;
  /// Called before the others. Throws RunError when there is no memory to try `candidates`.
  virtual void prepare(ConvDirection direction, std::span<const ConvPath> candidates) = 0;
  /// Keeps the device busy with a path until its clocks are those of a long run. Throws RunError
  /// when the path does not run here.
  virtual void warm_up(ConvDirection direction, const ConvPath& path) = 0;
  /// Milliseconds of one run. Throws RunError when the path does not run here.
  virtual float measure(ConvDirection direction, const ConvPath& path) = 0;
};

struct BestPath {
  ConvPath path;
  std::optional<float> milliseconds;  // none: the choice was made without measuring
};

/// The fastest; of those that are about as fast (0.5 %), the one with the smallest workspace, where
/// less than 32 MiB count as nothing, and of equals the faster one, then the first. A path's time
/// is the least of two, a round over the others apart: what disturbs one, or drifts, rarely meets
/// both. Paths that fail are left out. Without memory for trials it is the path with the smallest
/// workspace. Those with more workspace than `most_workspace` count only where there is no other.
/// `cold`: the first path that runs warms the device up before the trials. Requires candidates; a
/// single one is not measured. Throws RunError when all fail.
BestPath best_path(ConvDirection direction, std::span<const ConvPath> candidates,
                   ConvTrials& trials, size_t most_workspace = kWorkspaceLimit, bool cold = false);

class ConvTuner {
 public:
  /// `cache`: of this device.
  ConvTuner(std::shared_ptr<const CudnnDevice> device, PlanCache cache);

  /// The best path, searched and tried once in the life of this object and of the cache's file.
  /// Throws RunError naming the shape when there is none.
  ConvPath choose(const ConvDesc& desc, ConvDirection direction, ConvTrials& trials);

 private:
  std::shared_ptr<const CudnnDevice> device_;
  PlanCache cache_;
  bool cold_ = true;  // nothing was measured yet
  std::map<std::string, ConvPath> chosen_;
};

}  // namespace macadam::cuda
