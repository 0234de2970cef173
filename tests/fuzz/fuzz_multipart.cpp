// A Content-Type, a newline, and a body of several parts.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "server/http/multipart.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace macadam;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t line = text.find('\n');
  if (line == std::string_view::npos) return 0;
  const auto boundary = multipart_boundary(text.substr(0, line));
  const std::string_view body = text.substr(line + 1);
  const auto parts = parse_multipart(body, boundary.value_or("b"), 8);
  if (!parts) return 0;
  size_t bytes = 0;
  for (const BodyPart& part : *parts) bytes += part.content.size();
  if (parts->empty() || parts->size() > 8 || bytes > body.size()) __builtin_trap();
  return 0;
}
