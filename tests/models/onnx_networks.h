#pragma once
// Networks and models for the tests of the ONNX export.

#include <map>
#include <string>

#include "engine/graph/graph.h"
#include "engine/model/model_file.h"

namespace macadam::testing {

/// A network with every kind of layer and activation, asymmetric padding, dilation, groups, batch
/// norms that can and that cannot be folded, and two that are not behind a convolution. Takes
/// heights and widths that are even, from 12.
Graph every_layer(Shape input, int classes);

/// What every_layer() has not: hard activations and gates, 1 x 7 and 7 x 1 kernels, additions of a
/// multiple, averages that count the padding, and poolings in ceil_mode; with padding behind the
/// image in all of these where it is for `one_size`. Takes any size from 12.
Graph every_window(Shape input, int classes, bool one_size);

/// The values of set_hashed_values, as a model file has them.
std::map<std::string, ModelTensor> hashed_parameters(const Graph& graph);

/// What a model file of that network says about itself.
ModelInfo model_info(std::string network, int classes, Shape input);

}  // namespace macadam::testing
