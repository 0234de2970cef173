#include "kernels/cuda/cudnn/plan_check.h"

#include <algorithm>
#include <set>

#include "kernels/cuda/cudnn/paths.h"
#include "kernels/split_conv.h"

namespace macadam::cuda {

std::vector<PlanReport> check_plans(const ConvDesc& desc, std::string_view device_json,
                                    size_t limit) {
  const CudnnDevice device = CudnnDevice::described(device_json);
  std::vector<ConvDirection> directions{ConvDirection::forward};
  if (desc.backward) directions.push_back(ConvDirection::weights);
  if (desc.backward && desc.input_gradient) directions.push_back(ConvDirection::data);

  const std::vector<int> pieces = batch_pieces(desc, kMostElements);
  std::vector<PlanReport> reports;
  for (const int images : std::set<int, std::greater<>>(pieces.begin(), pieces.end())) {
    ConvDesc piece = desc;
    piece.input.n = images;
    for (const ConvDirection direction : directions) {
      const std::vector<ConvPath> paths = find_paths(device, piece, direction, limit);
      reports.push_back({std::string(name_of(direction)), images, paths.size(),
                         paths.front().name(), paths.front().plan->workspace_bytes()});
    }
  }
  return reports;
}

}  // namespace macadam::cuda
