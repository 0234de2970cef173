#include "server/http/target.h"

#include <algorithm>

#include "base/text.h"

namespace macadam {

namespace {

constexpr size_t kMostParts = 64;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> decode(std::string_view text, bool plus_is_space) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return std::nullopt;
    decoded += c;
  }
  if (!is_utf8(decoded)) return std::nullopt;
  return decoded;
}

/// Calls `take` with each part between separators; false as soon as it gives false.
template <typename Take>
bool split(std::string_view text, char separator, const Take& take) {
  for (size_t count = 0;; ++count) {
    if (count == kMostParts) return false;
    const size_t end = text.find(separator);
    if (!take(text.substr(0, end))) return false;
    if (end == std::string_view::npos) return true;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

std::optional<Target> parse_target(std::string_view target) {
  if (!target.starts_with('/') || target.find('#') != std::string_view::npos) return std::nullopt;
  const size_t question = target.find('?');
  std::string_view path =
      target.substr(1, question == std::string_view::npos ? question : question - 1);
  if (path.ends_with('/')) path.remove_suffix(1);
  Target parsed;
  const bool whole = path.empty() || split(path, '/', [&](std::string_view part) {
                       auto segment = decode(part, false);
                       if (!segment) return false;
                       parsed.path.push_back(std::move(*segment));
                       return true;
                     });
  if (!whole) return std::nullopt;
  if (question == std::string_view::npos || question + 1 == target.size()) return parsed;
  const bool understood = split(target.substr(question + 1), '&', [&](std::string_view part) {
    const size_t equals = part.find('=');
    auto name = decode(part.substr(0, equals), true);
    auto value = equals == std::string_view::npos ? std::optional<std::string>("")
                                                  : decode(part.substr(equals + 1), true);
    if (!name || !value) return false;
    parsed.query.emplace_back(std::move(*name), std::move(*value));
    return true;
  });
  if (!understood) return std::nullopt;
  return parsed;
}

}  // namespace macadam
