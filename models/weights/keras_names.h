#pragma once
// The names of Keras weights, which changed with every version, brought to one form.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/safetensors.h"

namespace macadam {

/// "LAYER/KIND" for the weights of one layer group of an .h5 file: KIND is kernel, bias, gamma,
/// beta, moving_mean, moving_variance, depthwise_kernel, ... as Keras 2 calls them. `weight_names`
/// are those of the group's attribute: "conv/kernel:0", "conv_W_1:0" (Keras 1), "conv/kernel"
/// (Keras 3). LAYER is the group's name; in the group of a nested model, the name of the layer in
/// it. "conv1/conv" of old versions becomes "conv1_conv", as Keras 3 calls it.
std::vector<std::string> keras_names(std::string_view group,
                                     std::span<const std::string> weight_names);

// Keras 3's .weights.h5: nested groups, called after classes and attributes ("layers/conv2d_1"),
// keep their variables in groups "vars", as "0", "1", ... without a name.

/// The order of groups in a .weights.h5 as Keras walks them: "layers" before all attributes, and
/// numbers by value, "conv2d" < "conv2d_2" < "conv2d_10".
bool keras3_before(std::string_view group, std::string_view other);

/// Whether a group holds the state of the training: optimisers, metrics, seeds.
bool keras3_training_state(std::string_view group);

/// The kinds, as keras_names() calls them, of a layer's variables in their order, told by rank and
/// number; `group` ("depthwise_conv2d_1") and the layer's own name `layer` decide where these leave
/// a doubt. Three vectors are a batch norm's without gamma (scale=False). Nothing for layers that
/// are not known.
std::optional<std::vector<std::string>> keras3_kinds(std::string_view group, std::string_view layer,
                                                     std::span<const TensorShape> shapes);

}  // namespace macadam
