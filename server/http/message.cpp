#include "server/http/message.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/to_size.h"

namespace macadam {

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string one_line(std::string_view value) {
  std::string line(value);
  std::ranges::replace_if(
      line, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return line;
}

}  // namespace

bool same_field(std::string_view left, std::string_view right) {
  return std::ranges::equal(left, right, {}, lower, lower);
}

std::optional<std::string_view> HttpRequest::field(std::string_view name) const {
  for (const auto& [key, value] : fields) {
    if (same_field(key, name)) return value;
  }
  return std::nullopt;
}

size_t HttpRequest::count(std::string_view name) const {
  return to_size(
      std::ranges::count_if(fields, [&](const HttpField& f) { return same_field(f.first, name); }));
}

std::string_view reason_of(int status) {
  static constexpr std::array<std::pair<int, std::string_view>, 22> kReasons{{
      {200, "OK"},
      {204, "No Content"},
      {206, "Partial Content"},
      {304, "Not Modified"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {406, "Not Acceptable"},
      {408, "Request Timeout"},
      {411, "Length Required"},
      {413, "Content Too Large"},
      {415, "Unsupported Media Type"},
      {421, "Misdirected Request"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {502, "Bad Gateway"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {505, "HTTP Version Not Supported"},
  }};
  for (const auto& [code, reason] : kReasons) {
    if (code == status) return reason;
  }
  return {};
}

std::string response_head(const HttpResponse& response, bool keep_alive) {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\n", response.status, reason_of(response.status));
  if (!response.content_type.empty()) {
    head += fmt::format("Content-Type: {}\r\n", one_line(response.content_type));
  }
  for (const auto& [name, value] : response.fields) {
    head += fmt::format("{}: {}\r\n", one_line(name), one_line(value));
  }
  // RFC 9110, 8.6: none of these has content.
  if (response.status != 204 && response.status != 304 && !response.head_alone) {
    head += fmt::format("Content-Length: {}\r\n", response.body.size());
  }
  head += keep_alive ? "\r\n" : "Connection: close\r\n\r\n";
  return head;
}

}  // namespace macadam
