#include "kernels/cuda/cudnn_plan_check.h"

#include "kernels/cuda/cudnn_paths.h"

namespace macadam::cuda {

std::vector<PlanReport> check_plans(const ConvDesc& desc, std::string_view device_json,
                                    size_t limit) {
  const CudnnDevice device = CudnnDevice::described(device_json);
  std::vector<ConvDirection> directions{ConvDirection::forward};
  if (desc.backward) directions.push_back(ConvDirection::weights);
  if (desc.backward && desc.input_gradient) directions.push_back(ConvDirection::data);

  std::vector<PlanReport> reports;
  for (const ConvDirection direction : directions) {
    const std::vector<ConvPath> paths = find_paths(device, desc, direction, limit);
    reports.push_back({std::string(name_of(direction)), paths.size(), paths.front().name(),
                       paths.front().plan->workspace_bytes()});
  }
  return reports;
}

}  // namespace macadam::cuda
