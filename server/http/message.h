#pragma once
// What travels over a connection: a request that was read whole, and the answer to it.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace macadam {

/// Name and value of a header field.
using HttpField = std::pair<std::string, std::string>;

/// Whether two names of header fields are the same: ASCII, in any case.
bool same_field(std::string_view left, std::string_view right);

struct HttpRequest {
  std::string method;  // as sent: "GET"
  std::string target;  // as sent, in origin form: "/v1/images?offset=3"
  std::vector<HttpField> fields;
  std::string body;
  bool keep_alive = false;  // whether the client wants to go on

  /// The value of a field; nothing where it is missing. Of several, the first.
  std::optional<std::string_view> field(std::string_view name) const;
  size_t count(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type;  // empty: no body
  std::string body;
  std::vector<HttpField> fields;  // besides Content-Type, Content-Length and Connection
  /// Of HEAD, as another server answered it: there is no body to take the length from, and `fields`
  /// has that server's Content-Length, if it said one.
  bool head_alone = false;
};

/// "Not Found" of 404; empty for a status that this server does not give.
std::string_view reason_of(int status);

/// Status line and fields, up to the empty line. A value's control characters become spaces: text
/// from outside cannot add a field.
std::string response_head(const HttpResponse& response, bool keep_alive);

}  // namespace macadam
