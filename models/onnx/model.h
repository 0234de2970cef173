#pragma once
// What an ONNX file says, as plain data: the translation fills it in, the serialisation writes it.

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace macadam {

enum class OnnxType : uint8_t { f32, i64 };

/// A constant: a parameter, or a list of sizes.
struct OnnxTensor {
  std::string name;
  OnnxType type = OnnxType::f32;
  std::vector<int64_t> dims;  // none: a scalar
  std::string bytes;          // little-endian, row-major
};

using OnnxAttribute = std::variant<int64_t, float, std::string, std::vector<int64_t>>;

struct OnnxNode {
  std::string op, name;
  std::vector<std::string> inputs;  // "" where an optional one is left out
  std::string output;
  std::vector<std::pair<std::string, OnnxAttribute>> attributes;
};

/// An extent: a number, or the name of one that is known only when the network runs.
using OnnxDim = std::variant<int64_t, std::string>;

/// An input or an output of the network.
struct OnnxValue {
  std::string name;
  OnnxType type = OnnxType::f32;
  std::vector<OnnxDim> dims;
};

struct OnnxModel {
  std::string name, producer_version;
  OnnxValue input, output;
  std::vector<OnnxNode> nodes;  // each after those that it reads
  std::vector<OnnxTensor> tensors;
  std::vector<std::pair<std::string, std::string>> metadata;
};

}  // namespace macadam
