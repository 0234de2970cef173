#pragma once
// The bytes of an ONNX file (protobuf).

#include <string>
#include <string_view>

#include "models/onnx/model.h"

namespace macadam {

constexpr int kOnnxOpset = 17;
constexpr int kOnnxIrVersion = 8;  // the first with that opset

/// The same bytes for the same model. Throws InputError naming `file` when the file would pass
/// protobuf's 2 GiB, and when this build has no ONNX.
std::string serialize(OnnxModel model, std::string_view file);

}  // namespace macadam
