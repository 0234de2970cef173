#include "kernels/cuda/cudnn/paths.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace macadam::cuda {

namespace {

/// How many of the second-kernel form are tried where others fuse.
constexpr size_t kEpiloguePlaces = 3;

/// Part of every key: to be raised when find_paths() proposes other paths than before, so that the
/// choices of old are not taken for the best of the new.
constexpr int kCandidatesVersion = 3;

/// The pass that runs a direction, with what follows it in a kernel of its own or without; none
/// where there is no such pass.
std::optional<ConvPass> pass_of(const ConvDesc& desc, ConvDirection direction, bool epilogue) {
  if (direction == ConvDirection::forward && has_epilogue(desc)) {
    if (epilogue) return ConvPass::forward;
    if (desc.activation == Activation::relu) return ConvPass::forward_bias_relu;
    if (desc.activation == Activation::identity) return ConvPass::forward_bias;
    return std::nullopt;
  }
  if (epilogue) return std::nullopt;
  switch (direction) {
    case ConvDirection::forward: return ConvPass::forward;
    case ConvDirection::data: return ConvPass::data;
    case ConvDirection::weights: return ConvPass::weights;
  }
  return std::nullopt;
}

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
                                 ConvDirection direction, size_t limit, size_t most_workspace) {
  std::vector<ConvPath> paths;
  std::string why;
  const auto search = [&](bool epilogue, size_t count) {
    const std::optional<ConvPass> pass = pass_of(desc, direction, epilogue);
    if (!pass) return;
    for (CudnnPlan& plan : find_plans(device, desc, *pass, count, most_workspace, &why)) {
      paths.push_back({*pass, std::make_shared<const CudnnPlan>(std::move(plan)), epilogue});
    }
  };

  if (direction == ConvDirection::forward && has_epilogue(desc)) {
    search(false, limit - std::min(kEpiloguePlaces, limit / 2));
    search(true, paths.empty() ? limit : std::min(kEpiloguePlaces, limit - paths.size()));
  } else {
    search(false, limit);
  }
  if (paths.empty()) {
    throw RunError(
        fmt::format("cuDNN {} has no plan for the {}", cudnn_version(), name_of(direction)),
        fmt::format("{} ({})", text_of(desc), why),
        "use another precision (fp16 or fp32), or --device cpu");
  }
  return paths;
}

std::string path_key(const ConvDesc& desc, ConvDirection direction) {
  const bool forward = direction == ConvDirection::forward;
  const Padding& pad = desc.padding;
  return fmt::format("{}: {} {} {} {}x{} s{} d{} p{},{},{},{} g{} {} {} a{} v{}",
                     name_of(direction), name_of(desc.dtype), desc.input.text(), desc.out_channels,
                     desc.kernel_h, desc.kernel_w, desc.stride, desc.dilation, pad.left, pad.right,
                     pad.top, pad.bottom, desc.groups, forward && desc.bias ? "bias" : "-",
                     forward ? name_of(desc.activation) : "-", kOperandAlignment,
                     kCandidatesVersion);
}

std::optional<ConvPath> restore_path(const CudnnDevice& device, const ConvDesc& desc,
                                     ConvDirection direction, const TunedPlan& tuned) {
  const std::optional<ConvPass> pass = pass_of(desc, direction, tuned.epilogue);
  if (!pass) return std::nullopt;
  std::optional<CudnnPlan> plan = build_plan(device, desc, *pass, tuned.recipe);
  if (!plan || plan->workspace_bytes() != tuned.workspace_bytes) return std::nullopt;
  return ConvPath{*pass, std::make_shared<const CudnnPlan>(std::move(*plan)), tuned.epilogue};
}

}  // namespace macadam::cuda
