#pragma once
// The bytes of a connection become requests. Strict: what two programs could read differently is
// refused (RFC 9112, section 11.2), and nothing is kept beyond the limits. The door to Boost.Beast;
// request_parser.cpp alone includes it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "server/http/byte_budget.h"
#include "server/http/message.h"

namespace macadam {

struct RequestLimits {
  size_t head_bytes = size_t{16} << 10;  // request line and fields
  size_t fields = 100;
  size_t body_bytes = size_t{64} << 20;
  size_t chunks = 65'536;  // of a chunked body
};

/// Why a request cannot be read, or is not answered: what it is answered with. The connection ends
/// with the answer.
struct RequestFault {
  enum class Kind : uint8_t {
    malformed,    // or too large, or too slow
    memory,       // too many bodies at once
    connections,  // too many at once
    dropped,      // whoever had to answer did not
  };
  int status = 400;
  const char* reason = "";  // for the client
  Kind kind = Kind::malformed;
};

/// Reads one request; make another for the next.
class RequestParser {
 public:
  /// `budget`, of all bodies that are held, outlives it; what the body took of it is given back
  /// with the parser.
  RequestParser(const RequestLimits& limits, ByteBudget& budget);
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  /// Takes bytes from the connection. Returns how many belong to the request: all of them, unless
  /// it is done(). While !head_done() bytes are taken only once the whole head is among them: call
  /// again with the same bytes and more. After a fault nothing more is taken.
  size_t take(std::span<const char> bytes);

  /// Whether request() has all but its body.
  bool head_done() const;
  bool done() const;
  const std::optional<RequestFault>& fault() const;
  /// Whether the client waits for "100 Continue" before it sends the body.
  bool expects_continue() const;

  HttpRequest& request();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace macadam
