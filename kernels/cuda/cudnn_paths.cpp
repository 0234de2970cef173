#include "kernels/cuda/cudnn_paths.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kernels/error.h"

namespace macadam::cuda {

namespace {

/// Of the places on the list, how many are kept for the second-kernel form.
constexpr size_t epilogue_places = 3;

std::string text_of(const ConvDesc& desc) {
  const Padding& pad = desc.padding;
  return fmt::format(
      "{} convolution {} -> {} channels, kernel {}x{}, stride {}, dilation {}, groups {}, "
      "padding {},{},{},{}",
      name_of(desc.dtype), desc.input.text(), desc.out_channels, desc.kernel_h, desc.kernel_w,
      desc.stride, desc.dilation, desc.groups, pad.left, pad.right, pad.top, pad.bottom);
}

}  // namespace

std::string_view name_of(ConvDirection direction) {
  switch (direction) {
    case ConvDirection::forward: return "forward";
    case ConvDirection::data: return "data gradient";
    case ConvDirection::weights: return "weight gradient";
  }
  throw std::logic_error("requirement violated: a direction of a convolution");
}

std::string ConvPath::name() const { return plan->name() + (epilogue ? " + epilogue" : ""); }

bool has_epilogue(const ConvDesc& desc) {
  return desc.bias || desc.activation != Activation::identity;
}

std::vector<ConvPath> find_paths(const CudnnDevice& device, const ConvDesc& desc,
                                 ConvDirection direction, size_t limit) {
  std::vector<ConvPath> paths;
  std::string why;
  const auto search = [&](ConvPass pass, bool epilogue, size_t count) {
    for (CudnnPlan& plan : find_plans(device, desc, pass, count, &why)) {
      paths.push_back({pass, std::make_shared<const CudnnPlan>(std::move(plan)), epilogue});
    }
  };

  if (direction == ConvDirection::data) {
    search(ConvPass::data, false, limit);
  } else if (direction == ConvDirection::weights) {
    search(ConvPass::weights, false, limit);
  } else if (!has_epilogue(desc)) {
    search(ConvPass::forward, false, limit);
  } else {
    const size_t fused = limit - std::min(epilogue_places, limit / 2);
    if (desc.activation == Activation::relu) search(ConvPass::forward_bias_relu, false, fused);
    if (desc.activation == Activation::identity) search(ConvPass::forward_bias, false, fused);
    if (paths.size() < limit) search(ConvPass::forward, true, limit - paths.size());
  }
  if (paths.empty()) {
    throw RunError(
        fmt::format("cuDNN {} has no plan for the {}", cudnn_version(), name_of(direction)),
        fmt::format("{} ({})", text_of(desc), why),
        "use another precision (fp16 or fp32), or --device cpu");
  }
  return paths;
}

}  // namespace macadam::cuda
