#pragma once
// From a network and its parameters to what an ONNX file says.

#include "models/onnx/model.h"
#include "models/onnx_export.h"

namespace macadam {

/// The model of export_onnx without its metadata; `file` is for messages.
OnnxModel translate(const Graph& graph, const std::map<std::string, ModelTensor>& parameters,
                    const OnnxOptions& options, std::string_view file);

}  // namespace macadam
