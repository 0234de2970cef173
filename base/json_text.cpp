#include "base/json_text.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"

namespace macadam {

namespace {

/// The library escapes C0 only. What is left of such characters stands in strings.
std::string with_escapes(std::string_view json) {
  std::string result;
  result.reserve(json.size());
  while (!json.empty()) {
    const Character c = first_character(json);
    if (json[0] == '\n' || shows_itself(c.code)) {
      result += json.substr(0, c.bytes);
    } else {
      result += fmt::format("\\u{:04x}", c.code);
    }
    json.remove_prefix(c.bytes);
  }
  return result;
}

template <typename Json>
std::string text_of_json(const Json& value, int indent) {
  return with_escapes(value.dump(indent, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

std::string json_text(const nlohmann::json& value, int indent) {
  return text_of_json(value, indent);
}

std::string json_text(const nlohmann::ordered_json& value, int indent) {
  return text_of_json(value, indent);
}

void add_json_number(std::string& text, float value) {
  if (!std::isfinite(value)) {
    text += "null";
    return;
  }
  std::array<char, kLongestJsonNumber> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  text.append(digits.data(), end);
}

void add_json_number(std::string& text, uint8_t value) {
  std::array<char, 3> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  text.append(digits.data(), end);
}

std::string exact_json_text(const nlohmann::ordered_json& value, std::string_view what,
                            std::string_view where, std::string_view remedy) {
  try {
    return value.dump();
  } catch (const nlohmann::json::type_error&) {
    throw InputError(what, where, remedy);
  }
}

}  // namespace macadam
