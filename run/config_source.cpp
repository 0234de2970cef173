#include "run/config_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "base/toml.h"
#include "run/key_synonyms.h"

namespace macadam {

namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::vector<std::string> key_parts(std::string_view key) {
  std::vector<std::string> parts(1);
  for (const char c : key) {
    if (c == '.') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

bool is_bare_key(std::string_view part) {
  return !part.empty() && std::ranges::all_of(part, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

/// Sets `key` of the table, and returns its value.
ParameterValue& set(ParameterTable& table, const std::string& key, ParameterValue value) {
  ParameterValue* there = find(table, key);
  if (there == nullptr) return table.emplace_back(NamedParameter{key, std::move(value)}).value;
  return *there = std::move(value);
}

/// What `key = TEXT`, the short form of `network` and `dataset`, says as a table; empty for others.
ParameterTable expanded(std::string_view key, const ParameterValue& text) {
  if (key == "network") return {{"name", text}};
  if (key == "dataset") return {{"train", text}, {"val", text}, {"test", text}};
  return {};
}

/// The table where `path` leads from `root`, made on the way.
ParameterTable& table_at(ParameterTable& root, std::span<const std::string> path,
                         const ValueOrigin& origin) {
  ParameterTable* table = &root;
  for (const std::string& part : path) {
    ParameterValue* value = find(*table, part);
    if (value == nullptr) {
      value = &set(*table, part, {ParameterTable{}, origin});
    } else if (std::holds_alternative<std::string>(value->value) && table == &root) {
      ParameterTable long_form = expanded(part, *value);
      if (!long_form.empty()) value->value = std::move(long_form);
    }
    table = std::get_if<ParameterTable>(&value->value);
    if (table == nullptr) {
      throw InputError(fmt::format("{} has no keys below it", quote(part)), place_of(origin, ""),
                       "name a valid key");
    }
  }
  return *table;
}

/// Says that `value`, and all in it, is of a variant.
void mark(ParameterValue& value) {
  value.origin.of_variant = true;
  if (auto* table = std::get_if<ParameterTable>(&value.value)) {
    for (NamedParameter& entry : *table) mark(entry.value);
  }
}

/// Sets what `table` has at `path` of `root`.
void merge(ParameterTable& root, const ParameterTable& table, std::vector<std::string>& path) {
  for (const auto& [name, value] : table) {
    const auto* inner = std::get_if<ParameterTable>(&value.value);
    if (inner != nullptr && !value.inline_table) {
      path.push_back(name);
      merge(root, *inner, path);
      path.pop_back();
    } else {
      mark(set(table_at(root, path, value.origin), name, value));
    }
  }
}

}  // namespace

ParameterTable with_variant(ParameterTable values, const ParameterTable& variant) {
  std::vector<std::string> path;
  merge(values, variant, path);
  return values;
}

ParameterTable with_overrides(ParameterTable values, std::span<const std::string> overrides) {
  for (const std::string& text : overrides) {
    const size_t equals = text.find('=');
    std::vector<std::string> parts = key_parts(trimmed(std::string_view(text).substr(0, equals)));
    if (equals == std::string::npos || !std::ranges::all_of(parts, is_bare_key)) {
      throw InputError("not an override", quote(text), "write key=value, for example batch=8");
    }
    ParameterValue value =
        parse_override_value(trimmed(std::string_view(text).substr(equals + 1)), text);
    const std::string last = std::move(parts.back());
    parts.pop_back();
    ParameterTable& table = table_at(values, parts, value.origin);
    set(table, last, std::move(value));
  }
  return values;
}

void reject_unknown(const FieldReader& reader) {
  for (const auto& [key, origin] : reader.unread()) {
    const KeySynonym* synonym = find_synonym(key);
    throw InputError(
        fmt::format("unknown key {}", quote(key)), place_of(origin, ""),
        synonym == nullptr      ? fmt::format("did you mean '{}'?", nearest(key, reader.keys()))
        : synonym->ours.empty() ? fmt::format("there is no such key: {}", synonym->why)
                                : fmt::format("it is called '{}' here", synonym->ours));
  }
}

}  // namespace macadam
