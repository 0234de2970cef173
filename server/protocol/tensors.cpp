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

/// Values in JSON, row-major in one list, as the protocol allows.
nlohmann::ordered_json values_of(const OutputTensor& tensor) {
  nlohmann::ordered_json values = nlohmann::ordered_json::array();
  if (tensor.type == TensorType::uint8) {
    for (const char value : tensor.data) values.push_back(static_cast<uint8_t>(value));
    return values;
  }
  require(tensor.type == TensorType::fp32, "outputs are uint8 or fp32");
  for (size_t i = 0; i + sizeof(float) <= tensor.data.size(); i += sizeof(float)) {
    float value = 0;
    std::memcpy(&value, tensor.data.data() + i, sizeof(value));
    values.push_back(value);
  }
  return values;
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

InferResponse make_infer_response(std::string_view model, std::string_view version,
                                  std::string_view id, std::span<const OutputTensor> outputs) {
  nlohmann::ordered_json json{{"model_name", std::string(model)},
                              {"model_version", std::string(version)}};
  if (!id.empty()) json["id"] = std::string(id);
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const OutputTensor& tensor : outputs) {
    nlohmann::ordered_json entry{
        {"name", tensor.name}, {"datatype", name_of(tensor.type)}, {"shape", tensor.shape}};
    if (tensor.binary) {
      entry["parameters"] = {{"binary_data_size", tensor.data.size()}};
    } else {
      entry["data"] = values_of(tensor);
    }
    list.push_back(std::move(entry));
  }
  json["outputs"] = std::move(list);
  InferResponse response;
  response.body = json_text(json);
  response.json_bytes = response.body.size();
  for (const OutputTensor& tensor : outputs) {
    if (tensor.binary) response.body += tensor.data;
  }
  return response;
}

}  // namespace macadam
