// A request of the Open Inference Protocol: two bytes say how long its JSON is.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/to_size.h"
#include "server/http/http_error.h"
#include "server/protocol/tensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace macadam;
  if (size < 2) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data) + 2, size - 2);
  const size_t claimed = size_t{data[0]} << 8 | data[1];
  const size_t json_bytes = claimed < body.size() ? claimed : body.size();
  try {
    const InferRequest request = parse_infer_request(body, json_bytes, {});
    for (const InputTensor& input : request.inputs) {
      size_t count = 1;
      for (const int64_t extent : input.shape) count *= to_size(extent);
      const size_t there = input.type == TensorType::bytes ? input.elements.size()
                           : input.is_binary ? input.binary.size() / size_of(input.type)
                                             : input.values.size();
      if (there != count) __builtin_trap();
    }
  } catch (const HttpError& error) {
    if (error.status() != 400) __builtin_trap();
  }
  return 0;
}
