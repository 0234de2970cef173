#pragma once
// The ways in which cuDNN can run one direction of a convolution.

#include <memory>
#include <string_view>
#include <vector>

#include "kernels/cuda/cudnn_graph.h"

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
/// then (a few, or all where nothing fuses) as a second kernel, which takes any activation. Throws
/// RunError naming the shape when there is none.
std::vector<ConvPath> find_paths(const CudnnDevice& device, const ConvDesc& desc,
                                 ConvDirection direction, size_t limit);

}  // namespace macadam::cuda
