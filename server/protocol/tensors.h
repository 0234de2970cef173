#pragma once
// Tensors and requests of the Open Inference Protocol, version 2, with the binary tensor data
// extension. Sources: kserve/open-inference-protocol, inference_rest.md; Triton's
// extension_binary_data.md.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace macadam {

enum class TensorType : uint8_t { uint8, fp16, bf16, fp32, bytes };

/// "UINT8", "FP16", "BF16", "FP32", "BYTES".
std::string_view name_of(TensorType type);
/// Nothing for types that no input or output has.
std::optional<TensorType> tensor_type(std::string_view name);
/// Bytes of an element; 0 for BYTES, whose elements say their own.
size_t size_of(TensorType type);

/// An input of a request.
struct InputTensor {
  std::string name;
  TensorType type = TensorType::fp32;
  std::vector<int64_t> shape;  // not negative; the product of uint8 and floats is the data's size
  /// Of floats and uint8 in JSON: the values.
  std::vector<float> values;
  /// Of binary data: little-endian, a view of the body; BYTES as below.
  std::string_view binary;
  bool is_binary = false;
  /// Of BYTES: the elements; views of the body or of the request's texts.
  std::vector<std::string_view> elements;
};

struct RequestedOutput {
  std::string name;
  bool binary = false;
};

struct InferRequest {
  std::string id;
  std::vector<InputTensor> inputs;
  std::vector<RequestedOutput> outputs;  // empty: all
  bool binary_outputs = false;           // of those that are not in the list
  std::vector<std::string> texts;        // of BYTES in JSON
};

struct InferLimits {
  size_t inputs = 16, outputs = 16;
  size_t dimensions = 8;
  size_t values = size_t{1} << 24;  // numbers in JSON, of all inputs
  size_t json_values = 10'000;      // besides those
  size_t depth = 100;
  size_t photos = 32;
};

/// Reads a request. `json_bytes`: of the body, the JSON at its beginning; the binary tensors follow
/// it. Throws HttpError (400) that says what is wrong.
InferRequest parse_infer_request(std::string_view body, size_t json_bytes,
                                 const InferLimits& limits);

/// The value of Inference-Header-Content-Length. Throws HttpError when it is not a number up to
/// `body_bytes`.
size_t json_bytes_of(std::string_view field, size_t body_bytes);

/// A tensor of an answer: N x planes x pixels, a view of N images whose pixels have their planes
/// beside each other. Of uint8 or fp32.
struct OutputTensor {
  std::string name;
  TensorType type = TensorType::uint8;
  std::vector<int64_t> shape;
  std::vector<const void*> images;
  size_t planes = 1, pixels = 0;
  bool binary = false;

  size_t values() const { return images.size() * planes * pixels; }
};

/// Bytes that a value takes in an answer, at most.
size_t value_bytes(TensorType type, bool binary);

struct InferResponse {
  std::string body;
  size_t json_bytes = 0;  // less than the body when tensors follow
};

/// The answer of a model. Nothing of the tensors is held besides the body.
InferResponse make_infer_response(std::string_view model, std::string_view version,
                                  std::string_view id, std::span<const OutputTensor> outputs);

}  // namespace macadam
