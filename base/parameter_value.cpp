#include "base/parameter_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"

namespace macadam {

std::string_view type_name(const ParameterValue& value) {
  constexpr std::array<std::string_view, 7> names{
      "true or false", "an integer", "a number", "a string", "a list", "a table", "a date or time"};
  return names[value.value.index()];
}

const ParameterValue* find(const ParameterTable& table, std::string_view key) {
  const auto found = std::ranges::find(table, key, &NamedParameter::name);
  return found == table.end() ? nullptr : &found->value;
}

ParameterValue* find(ParameterTable& table, std::string_view key) {
  const auto found = std::ranges::find(table, key, &NamedParameter::name);
  return found == table.end() ? nullptr : &found->value;
}

std::string place_of(const ValueOrigin& origin, std::string_view otherwise) {
  if (origin.source == nullptr) return std::string(otherwise);
  return origin.is_override() ? quote(*origin.source)
                              : fmt::format("{}:{}", *origin.source, origin.line);
}

std::optional<std::string> scalar_text(const ParameterValue& value) {
  if (const auto* text = std::get_if<std::string>(&value.value)) return *text;
  if (const auto* integer = std::get_if<int64_t>(&value.value)) return fmt::to_string(*integer);
  if (const auto* number = std::get_if<double>(&value.value)) return fmt::to_string(*number);
  if (const auto* boolean = std::get_if<bool>(&value.value)) return *boolean ? "true" : "false";
  const bool date = std::holds_alternative<DateTime>(value.value);
  if (date && !value.override_text.empty()) return value.override_text;
  return std::nullopt;
}

}  // namespace macadam
