#include "server/view/origin_guard.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

namespace macadam {

namespace {

bool is_address(const std::string& name) {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  return ::inet_pton(AF_INET, name.c_str(), bytes.data()) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), bytes.data()) == 1;
}

/// The host and port of "https://host:port".
std::string_view authority_of(std::string_view origin) {
  const size_t scheme = origin.find("://");
  return scheme == std::string_view::npos ? std::string_view() : origin.substr(scheme + 3);
}

}  // namespace

std::string host_name(std::string_view field) {
  std::string_view name = field.substr(0, field.find(':'));
  if (field.starts_with('[')) {
    const size_t end = field.find(']');
    if (end == std::string_view::npos) return {};
    name = field.substr(1, end - 1);
  }
  std::string lower(name);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return lower;
}

bool is_own_host(std::string_view field, std::span<const std::string> names) {
  const std::string host = host_name(field);
  if (host.empty()) return false;
  if (host == "localhost" || is_address(host)) return true;
  return std::ranges::any_of(
      names, [&](const std::string& name) { return name == "*" || host_name(name) == host; });
}

bool is_cross_site(const HttpRequest& request) {
  if (const auto site = request.field("Sec-Fetch-Site")) {
    return *site != "same-origin" && *site != "none";
  }
  const auto origin = request.field("Origin");
  if (!origin) return false;
  return !same_field(authority_of(*origin), request.field("Host").value_or(""));
}

}  // namespace macadam
