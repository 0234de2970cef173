#include "base/field_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace macadam {

FieldReader::FieldReader(const ParameterTable& table, FieldNames names)
    : table_(table), names_(std::move(names)) {}

const ParameterValue* FieldReader::find_value(std::string_view key) const {
  const ParameterTable* table = &table_;
  for (size_t dot = key.find('.'); dot != std::string_view::npos; dot = key.find('.')) {
    const ParameterValue* inner = find(*table, key.substr(0, dot));
    table = inner == nullptr ? nullptr : std::get_if<ParameterTable>(&inner->value);
    if (table == nullptr) return nullptr;
    key.remove_prefix(dot + 1);
  }
  return find(*table, key);
}

const ParameterValue* FieldReader::take(std::string_view key) {
  keys_.emplace_back(key);
  const size_t dot = key.find('.');
  if (dot != std::string_view::npos) {
    const ParameterValue* table = find(table_, key.substr(0, dot));
    if (table != nullptr && !std::holds_alternative<ParameterTable>(table->value)) {
      fail(key.substr(0, dot), fmt::format("is {}", type_name(*table)),
           fmt::format("write a table with {}", quote(key.substr(dot + 1))));
    }
  }
  return find_value(key);
}

void FieldReader::visit(const Field& field, const FieldKind& kind) {
  const std::string key(field.key);
  for (const std::string& below : kind.below) keys_.push_back(fmt::format("{}.{}", key, below));
  if (kind.any_below) open_.push_back(key);
  const ParameterValue* value = take(key);
  if (value == nullptr) return;
  kind.read(GivenValue(*value, names_, key, "write " + kind.type));
  if (!kind.idle || !kind.idle()) needs(key, field.notes.effect);
}

void FieldReader::fail(std::string_view key, std::string_view what, std::string_view remedy) const {
  const ParameterValue* value = find_value(key);
  throw InputError(fmt::format("{}{}{} {}", names_.before, key, names_.after, what),
                   value == nullptr ? names_.where : place_of(value->origin, names_.where), remedy);
}

void FieldReader::check(bool holds, std::string_view key, std::string_view what,
                        std::string_view remedy) const {
  if (!holds) fail(key, what, remedy);
}

bool FieldReader::overridden(std::string_view key) const {
  const ParameterValue* value = find_value(key);
  return value != nullptr && (value->origin.is_override() || value->origin.of_variant);
}

void FieldReader::needs(std::string_view key, const Effect& effect) const {
  if (effect.holds || !given(key)) return;
  if (!overridden(key) && overridden(effect.cause)) return;
  fail(key, "has no effect here", fmt::format("remove it, or write {}", effect.wanted));
}

std::set<std::string, std::less<>> FieldReader::given_keys() const {
  std::set<std::string, std::less<>> keys;
  std::ranges::copy_if(keys_, std::inserter(keys, keys.end()),
                       [&](const std::string& key) { return given(key); });
  return keys;
}

void FieldReader::collect_unread(const ParameterTable& table, const std::string& prefix,
                                 std::vector<Unread>& found) const {
  for (const auto& [name, value] : table) {
    const std::string key = prefix + name;
    if (std::ranges::find(open_, key) != open_.end()) continue;
    const auto* inner = std::get_if<ParameterTable>(&value.value);
    const auto within = [&](const std::string& other) { return other.starts_with(key + '.'); };
    if (inner != nullptr && std::ranges::any_of(keys_, within)) {
      collect_unread(*inner, key + '.', found);
    } else if (std::ranges::find(keys_, key) == keys_.end()) {
      found.push_back({key, value.origin});
    }
  }
}

std::vector<FieldReader::Unread> FieldReader::unread() const {
  std::vector<Unread> found;
  collect_unread(table_, "", found);
  return found;
}

void FieldList::visit(const Field& field, const FieldKind& kind) {
  if (!kind.write) return;
  fields_.push_back({field, section_, kind.type, kind.one_a_line, kind.write()});
}

ParameterTable FieldList::table() const {
  ParameterTable table;
  for (const DescribedField& f : fields_) table.push_back({std::string(f.field.key), f.value});
  return table;
}

}  // namespace macadam
