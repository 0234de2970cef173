#pragma once
// The ways in which cuDNN can run one direction of a convolution.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cuda/cudnn/graph.h"
#include "kernels/cuda/cudnn/plan_cache.h"

namespace macadam::cuda {

enum class ConvDirection : uint8_t { forward, data, weights };

/// "forward", "data gradient", "weight gradient".
std::string_view name_of(ConvDirection direction);

/// A plan and what has to follow it.
struct ConvPath {
  ConvPass pass = ConvPass::forward;
  std::shared_ptr<const CudnnPlan> plan;
  bool epilogue = false;  // bias and activation by add_bias() after the plan

  /// "engine 41", "engine 45 + epilogue".
  std::string name() const;
};

/// Whether bias or an activation follows the convolution. An activation alone is run with a bias
/// of zeros.
bool has_epilogue(const ConvDesc& desc);

/// Up to `limit` paths in the order to try them: bias and ReLU fused into the convolution first,
/// then (three, or all where nothing fuses) as a second kernel, which takes any activation. Of
/// each form, those with more workspace than `most_workspace` are there only where there is no
/// other. Throws RunError naming the shape when there is none.
std::vector<ConvPath> find_paths(const CudnnDevice& device, const ConvDesc& desc,
                                 ConvDirection direction, size_t limit,
                                 size_t most_workspace = kWorkspaceLimit);

/// All that the best path depends on, except the device and cuDNN's version. Training and inference
/// with one shape share their forward path. One line.
std::string path_key(const ConvDesc& desc, ConvDirection direction);

/// The path that was found best before. None when cuDNN does not build the plan as it was, or when
/// find_paths() would not propose it.
std::optional<ConvPath> restore_path(const CudnnDevice& device, const ConvDesc& desc,
                                     ConvDirection direction, const TunedPlan& tuned);

}  // namespace macadam::cuda
