// The bytes of a connection: the first byte says in which pieces they come.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "server/http/request_parser.h"
#include "server/http/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace macadam;
  if (size < 2) return 0;
  ByteBudget budget(1 << 20);
  const RequestLimits limits{.head_bytes = 2048, .fields = 16, .body_bytes = 1024, .chunks = 8};
  const size_t piece = size_t{data[0]} + 1;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::string held;
  while (!bytes.empty()) {
    RequestParser parser(limits, budget);
    while (!parser.done() && !parser.fault() && !bytes.empty()) {
      const std::string_view more = bytes.substr(0, piece);
      held += more;
      bytes.remove_prefix(more.size());
      for (size_t taken = 1; taken > 0 && !parser.done() && !parser.fault();) {
        taken = parser.take(held);
        if (taken > held.size()) __builtin_trap();
        held.erase(0, taken);
      }
    }
    if (parser.fault()) break;
    if (!parser.done()) break;
    const HttpRequest& request = parser.request();
    if (request.body.size() > limits.body_bytes || request.fields.size() > limits.fields) {
      __builtin_trap();
    }
    parse_target(request.target);
  }
  return 0;
}
