// Model files from anywhere: parsing ends with a model or with an InputError, and nothing else.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>

#include "base/error.h"
#include "base/to_size.h"
#include "engine/model/model_file.h"

namespace {

void parse_file(std::span<const std::byte> bytes) {
  const macadam::Model model = macadam::parse_model(bytes, "fuzz", macadam::ModelPart::everything);
  for (const auto& [name, tensor] : model.parameters) {
    if (macadam::to_size(macadam::elements(tensor.shape)) != tensor.values.size()) std::abort();
  }
}

/// What parses is written in a form that parses to the same.
void parse_info(const std::string& json) {
  const macadam::ModelInfo info = macadam::parse_model_info(json, "fuzz");
  const std::string written = macadam::to_json(info);
  if (macadam::to_json(macadam::parse_model_info(written, "fuzz")) != written) std::abort();
}

}  // namespace

/// The first byte chooses: the rest is a file; or a header whose length is filled in and, after a
/// newline, data; or the JSON description alone.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string rest(reinterpret_cast<const char*>(data + 1), size - 1);
  try {
    if (data[0] % 3 == 0) {
      parse_file(std::as_bytes(std::span(rest)));
    } else if (data[0] % 3 == 1) {
      const size_t split = std::min(rest.find('\n'), rest.size());
      const uint64_t header_bytes = split;
      std::string file(sizeof header_bytes, '\0');
      std::memcpy(file.data(), &header_bytes, sizeof header_bytes);
      file += rest.substr(0, split);
      if (split < rest.size()) file += rest.substr(split + 1);
      parse_file(std::as_bytes(std::span(file)));
    } else {
      parse_info(rest);
    }
  } catch (const macadam::InputError&) {
  }
  return 0;
}
