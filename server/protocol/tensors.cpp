#include "server/protocol/tensors.h"

#include <array>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_text.h"

namespace macadam {

namespace {

constexpr std::array<std::pair<TensorType, std::string_view>, 5> kTypes{{
    {TensorType::uint8, "UINT8"},
    {TensorType::fp16, "FP16"},
    {TensorType::bf16, "BF16"},
    {TensorType::fp32, "FP32"},
    {TensorType::bytes, "BYTES"},
}};

/// Calls `visit` with each value, row-major.
template <typename T, typename Visit>
void for_each_value(const OutputTensor& tensor, const Visit& visit) {
  for (const void* const image : tensor.images) {
    const auto* const values = static_cast<const T*>(image);
    for (size_t plane = 0; plane < tensor.planes; ++plane) {
      for (size_t p = 0; p < tensor.pixels; ++p) visit(values[p * tensor.planes + plane]);
    }
  }
}

template <typename Visit>
void visit_values(const OutputTensor& tensor, const Visit& visit) {
  if (tensor.type == TensorType::uint8) return for_each_value<uint8_t>(tensor, visit);
  require(tensor.type == TensorType::fp32, "outputs are uint8 or fp32");
  for_each_value<float>(tensor, visit);
}

/// Adds a list of the values, without levels, as the protocol allows.
void add_list(std::string& text, const OutputTensor& tensor) {
  text += '[';
  visit_values(tensor, [&](auto value) {
    add_json_number(text, value);
    text += ',';
  });
  if (text.back() == ',') text.pop_back();
  text += ']';
}

void add_bytes(std::string& body, const OutputTensor& tensor) {
  visit_values(tensor, [&](auto value) {
    std::array<char, sizeof(value)> bytes{};
    std::memcpy(bytes.data(), &value, sizeof(value));
    body.append(bytes.data(), bytes.size());
  });
}

/// An object without its end, so that more can follow.
std::string opened(const nlohmann::ordered_json& object) {
  std::string text = json_text(object);
  text.pop_back();
  return text;
}

}  // namespace

std::string_view name_of(TensorType type) {
  for (const auto& [known, name] : kTypes) {
    if (known == type) return name;
  }
  return {};
}

std::optional<TensorType> tensor_type(std::string_view name) {
  for (const auto& [type, known] : kTypes) {
    if (known == name) return type;
  }
  return std::nullopt;
}

size_t size_of(TensorType type) {
  switch (type) {
    case TensorType::uint8: return 1;
    case TensorType::fp16:
    case TensorType::bf16: return 2;
    case TensorType::fp32: return 4;
    case TensorType::bytes: break;
  }
  return 0;
}

size_t value_bytes(TensorType type, bool binary) {
  if (binary) return size_of(type);
  constexpr size_t kComma = 1, kLongestByte = 3;
  return kComma + (type == TensorType::uint8 ? kLongestByte : kLongestJsonNumber);
}

InferResponse make_infer_response(std::string_view model, std::string_view version,
                                  std::string_view id, std::span<const OutputTensor> outputs) {
  nlohmann::ordered_json json{{"model_name", std::string(model)},
                              {"model_version", std::string(version)}};
  if (!id.empty()) json["id"] = std::string(id);
  std::string body = opened(json) + ",\"outputs\":[";
  size_t most = body.size();
  for (const OutputTensor& tensor : outputs) {
    constexpr size_t kHead = 512;  // name, shape and the like
    most += kHead + tensor.values() * value_bytes(tensor.type, tensor.binary);
  }
  body.reserve(most);
  for (const OutputTensor& tensor : outputs) {
    nlohmann::ordered_json entry{
        {"name", tensor.name}, {"datatype", name_of(tensor.type)}, {"shape", tensor.shape}};
    if (tensor.binary) {
      entry["parameters"] = {{"binary_data_size", tensor.values() * size_of(tensor.type)}};
    }
    if (&tensor != outputs.data()) body += ',';
    body += opened(entry);
    if (!tensor.binary) {
      body += ",\"data\":";
      add_list(body, tensor);
    }
    body += '}';
  }
  body += "]}";
  InferResponse response;
  response.json_bytes = body.size();
  for (const OutputTensor& tensor : outputs) {
    if (tensor.binary) add_bytes(body, tensor);
  }
  response.body = std::move(body);
  return response;
}

}  // namespace macadam
