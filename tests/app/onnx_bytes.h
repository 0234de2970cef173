#pragma once
// What an ONNX file says about itself, read from its protobuf bytes alone.
// https://github.com/onnx/onnx/blob/main/onnx/onnx.proto

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace macadam {

struct OnnxValue {
  std::string name;
  std::vector<std::string> extents;  // numbers, or names of what may vary
};

struct OnnxFacts {
  uint64_t opset = 0;
  OnnxValue input, output;
  std::map<std::string, std::string> metadata;
};

/// Throws std::runtime_error when the bytes are no whole ONNX file with one input and one output.
OnnxFacts read_onnx_facts(const std::string& bytes);

}  // namespace macadam
