#pragma once
// Builds the cuDNN plans of a convolution for a GPU that is only described: no GPU, no driver.

#include <string>
#include <string_view>
#include <vector>

#include "kernels/conv.h"

namespace macadam::cuda {

struct PlanReport {
  std::string direction;       // "forward", "data gradient", "weight gradient"
  int images = 0;              // at once: the batch, or a piece of it
  size_t plans = 0;            // that finalised, at least 1
  std::string first;           // the one that heuristics prefer, "engine 41"
  size_t workspace_bytes = 0;  // of the first
};

/// One report a direction that `desc` asks for, and size of piece that its batch is cut into:
/// forward (with its bias and ReLU) and, with desc.backward, the weight gradient and
/// (desc.input_gradient) the data gradient. At most `limit` plans are built for each.
///
/// `device_json` describes the GPU as cuDNN serialises it; one of an H200 is in
/// tests/golden/cudnn_device_h200.json. cuDNN opens the driver's libcuda.so.1 only when it is
/// there, so that this runs anywhere; engines that compile at run time are then left out.
///
/// Throws RunError naming the shape when a direction has no plan.
std::vector<PlanReport> check_plans(const ConvDesc& desc, std::string_view device_json,
                                    size_t limit = 10);

}  // namespace macadam::cuda
