#pragma once
// The names of Keras weights, which changed with every version, brought to one form.

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace macadam {

/// "LAYER/KIND" for the weights of one layer group of an .h5 file: KIND is kernel, bias, gamma,
/// beta, moving_mean, moving_variance, depthwise_kernel, ... as Keras 2 calls them. `weight_names`
/// are those of the group's attribute: "conv/kernel:0", "conv_W_1:0" (Keras 1), "conv/kernel"
/// (Keras 3). LAYER is the group's name; in the group of a nested model, the name of the layer in
/// it.
std::vector<std::string> keras_names(std::string_view group,
                                     std::span<const std::string> weight_names);

}  // namespace macadam
