#include "bench/convolution_call.h"

#include <memory>

namespace macadam::bench {

Call convolution_call(Workbench& workbench, const ConvDesc& desc, const std::string& direction) {
  const std::shared_ptr<Convolution> conv = workbench.ops().conv->make(desc);
  const Tensor x = workbench.random(desc.input, desc.dtype);
  const Tensor y = workbench.random(desc.output(), desc.dtype);
  const Tensor weights = workbench.random(desc.weights(), DType::f32);
  std::byte* packed = workbench.memory(conv->packed_bytes());
  std::byte* workspace = workbench.memory(conv->workspace_bytes());
  conv->pack(weights, {}, packed);
  std::function<void()> run;
  if (direction == "forward") {
    run = [=] { conv->forward(x, packed, y, workspace); };
  } else if (direction == "backward_data") {
    run = [=] { conv->backward_data(y, packed, x, workspace); };
  } else {
    run = [=] { conv->backward_weights(x, y, weights, workspace); };
  }
  return {run, x.bytes() + y.bytes()};
}

}  // namespace macadam::bench
