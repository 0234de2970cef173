#include "tests/app/onnx_bytes.h"

#include <stdexcept>
#include <string_view>

namespace macadam {

namespace {

/// A protobuf field: a number or a text of bytes.
struct Field {
  uint64_t key = 0, number = 0;
  std::string_view bytes;
};

uint64_t read_varint(std::string_view& rest) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (rest.empty()) break;
    const auto byte = static_cast<unsigned char>(rest.front());
    rest.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  throw std::runtime_error("ONNX: a number has no end");
}

/// The fields of a message. ONNX's own messages have numbers and texts; what this file reads has no
/// other kind.
std::vector<Field> fields_of(std::string_view message) {
  constexpr uint64_t kVarint = 0, kText = 2;
  std::vector<Field> fields;
  while (!message.empty()) {
    const uint64_t tag = read_varint(message);
    Field field{tag >> 3, 0, {}};
    if ((tag & 7) == kVarint) {
      field.number = read_varint(message);
    } else if ((tag & 7) == kText) {
      const uint64_t length = read_varint(message);
      if (length > message.size()) throw std::runtime_error("ONNX: a field has no end");
      field.bytes = message.substr(0, length);
      message.remove_prefix(length);
    } else {
      throw std::runtime_error("ONNX: an unknown kind of field");
    }
    fields.push_back(field);
  }
  return fields;
}

/// The fields of a message that have this key.
std::vector<Field> fields_of(std::string_view message, uint64_t key) {
  std::vector<Field> fields = fields_of(message);
  std::erase_if(fields, [&](const Field& field) { return field.key != key; });
  return fields;
}

Field only(std::string_view message, uint64_t key) {
  const std::vector<Field> fields = fields_of(message, key);
  if (fields.size() != 1) throw std::runtime_error("ONNX: not one field " + std::to_string(key));
  return fields[0];
}

/// ValueInfoProto: name 1, type 2 {tensor 1 {shape 2 {dim 1 {number 1, name 2}}}}.
OnnxValue read_value(std::string_view value) {
  OnnxValue read{std::string(only(value, 1).bytes), {}};
  const std::string_view tensor = only(only(value, 2).bytes, 1).bytes;
  for (const Field& extent : fields_of(only(tensor, 2).bytes, 1)) {
    const std::vector<Field> names = fields_of(extent.bytes, 2);
    read.extents.push_back(names.empty() ? std::to_string(only(extent.bytes, 1).number)
                                         : std::string(names[0].bytes));
  }
  return read;
}

}  // namespace

OnnxFacts read_onnx_facts(const std::string& bytes) {
  // ModelProto: graph 7 {input 11, output 12}, opset_import 8 {version 2}, metadata 14 {key 1,
  // value 2}.
  OnnxFacts facts;
  const std::string_view graph = only(bytes, 7).bytes;
  facts.input = read_value(only(graph, 11).bytes);
  facts.output = read_value(only(graph, 12).bytes);
  facts.opset = only(only(bytes, 8).bytes, 2).number;
  for (const Field& entry : fields_of(bytes, 14)) {
    facts.metadata[std::string(only(entry.bytes, 1).bytes)] = only(entry.bytes, 2).bytes;
  }
  return facts;
}

}  // namespace macadam
