#include "app/config_source.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>
#include <system_error>
#include <utility>

#include "app/key_synonyms.h"
#include "base/error.h"
#include "base/text.h"

namespace macadam {

namespace fs = std::filesystem;

namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blank = " \t\r\n";
  const size_t first = text.find_first_not_of(blank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blank) - first + 1);
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

toml::table parse_document(std::string_view text, const std::string& file) {
  try {
    return toml::parse(text, file);
  } catch (const toml::parse_error& error) {
    const std::string what(error.description());
    // TOML cannot say `network = "x"` and `network.option = 1` in one file.
    const bool table =
        what.find("redefine") != std::string::npos || what.find("not a table") != std::string::npos;
    throw InputError(fmt::format("not valid TOML ({})", what),
                     fmt::format("{}:{}", file, error.source().begin.line),
                     table ? "a key stands once; options go into its table: "
                             "network = {name = \"...\", OPTION = ...}"
                           : "correct this line");
  }
}

/// The document {v = VALUE} of an override's text: TOML where it is some, else a string.
toml::table parse_value(std::string_view text, const std::string& override_text) {
  std::string reason = "more than one value";
  try {
    toml::table table = toml::parse(fmt::format("v = {}\n", text));
    if (table.size() == 1) return table;
  } catch (const toml::parse_error& error) {
    reason = error.description();
    if (text.empty() || std::string_view("[{\"'").find(text[0]) == std::string_view::npos) {
      toml::table table;
      table.insert("v", std::string(text));
      return table;
    }
  }
  throw InputError(fmt::format("not a TOML value ({})", reason), quote(override_text),
                   "correct the value");
}

/// A table where `path` leads in `root`, created on the way. A string on the way, the short form of
/// `network` and `dataset`, becomes the table that means the same.
toml::table& table_at(toml::table& root, std::span<const std::string> path,
                      const std::string& override_text) {
  toml::table* table = &root;
  for (const std::string& part : path) {
    toml::node* node = table->get(part);
    if (node == nullptr) {
      node = &table->insert(part, toml::table{}).first->second;
    } else if (const auto* text = node->as_string(); text != nullptr && table == &root) {
      const std::string value = text->get();
      toml::table expanded;
      if (part == "network") expanded.insert("name", value);
      if (part == "dataset") {
        for (const char* split : {"train", "val", "test"}) expanded.insert(split, value);
      }
      if (!expanded.empty()) {
        node = &table->insert_or_assign(part, std::move(expanded)).first->second;
      }
    }
    table = node->as_table();
    if (table == nullptr) {
      throw InputError(fmt::format("{} has no keys below it", quote(part)), quote(override_text),
                       "name a valid key");
    }
  }
  return *table;
}

std::string type_text(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string: return "a string";
    case toml::node_type::integer: return "an integer";
    case toml::node_type::floating_point: return "a number";
    case toml::node_type::boolean: return "true or false";
    case toml::node_type::array: return "a list";
    case toml::node_type::table: return "a table";
    default: return "a date or time";
  }
}

std::optional<double> number_of(const toml::node& node) {
  if (const auto* integer = node.as_integer()) return static_cast<double>(integer->get());
  if (const auto* floating = node.as_floating_point()) return floating->get();
  return std::nullopt;
}

/// A scalar as text that reads the same whatever way it was written.
std::optional<std::string> scalar_text(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* integer = node.as_integer()) return fmt::to_string(integer->get());
  if (const auto* floating = node.as_floating_point()) return fmt::to_string(floating->get());
  if (const auto* boolean = node.as_boolean()) return boolean->get() ? "true" : "false";
  return std::nullopt;
}

/// Empty for dates and times.
std::optional<ParameterValue> value_of(const toml::node& node) {
  if (const auto* boolean = node.as_boolean()) return ParameterValue{boolean->get()};
  if (const auto* integer = node.as_integer()) return ParameterValue{integer->get()};
  if (const auto* number = node.as_floating_point()) return ParameterValue{number->get()};
  if (const auto* text = node.as_string()) return ParameterValue{text->get()};
  if (const auto* array = node.as_array()) {
    ParameterList list;
    for (const toml::node& item : *array) {
      std::optional<ParameterValue> value = value_of(item);
      if (!value) return std::nullopt;
      list.push_back(std::move(*value));
    }
    return ParameterValue{std::move(list)};
  }
  if (const auto* table = node.as_table()) {
    ParameterTable items;
    for (const auto& [name, item] : *table) {
      std::optional<ParameterValue> value = value_of(item);
      if (!value) return std::nullopt;
      items.push_back({std::string(name.str()), std::move(*value)});
    }
    return ParameterValue{std::move(items)};
  }
  return std::nullopt;
}

std::string list_of(std::span<const std::string> names) {
  return fmt::format("\"{}\"", joined(names, "\", \""));
}

}  // namespace

struct ConfigSource::Document {
  toml::table root;

  const toml::node* find(std::string_view key) const {
    const toml::node* node = &root;
    for (const std::string& part : key_parts(key)) {
      const toml::table* table = node->as_table();
      node = table == nullptr ? nullptr : table->get(part);
      if (node == nullptr) return nullptr;
    }
    return node;
  }
};

ConfigSource::ConfigSource(std::string_view toml, fs::path file,
                           std::span<const std::string> overrides)
    : document_(std::make_unique<Document>()), file_(std::move(file)) {
  document_->root = parse_document(toml, file_.string());
  for (const std::string& text : overrides) {
    const size_t equals = text.find('=');
    const std::string key(trimmed(std::string_view(text).substr(0, equals)));
    std::vector<std::string> parts = key_parts(key);
    if (equals == std::string::npos || !std::ranges::all_of(parts, is_bare_key)) {
      throw InputError("not an override", quote(text), "write key=value, for example batch=8");
    }
    const std::string_view value = trimmed(std::string_view(text).substr(equals + 1));
    toml::table parsed = parse_value(value, text);
    const std::string last = std::move(parts.back());
    parts.pop_back();
    toml::table& table = table_at(document_->root, parts, text);
    table.insert_or_assign(last, std::move(*parsed.get("v")));
    // What an earlier override said of this table is gone with it.
    std::erase_if(overrides_, [&](const auto& item) { return item.first.starts_with(key + "."); });
    overrides_[key] = value;
  }
}

ConfigSource::~ConfigSource() = default;

bool ConfigSource::given(std::string_view key) {
  const std::vector<std::string> parts = key_parts(key);
  if (parts.size() == 2 && document_->root.contains(parts[0]) &&
      !document_->root.get(parts[0])->is_table()) {
    fail(parts[0], fmt::format("is {}", type_text(*document_->root.get(parts[0]))),
         fmt::format("write a table with {}", quote(parts[1])));
  }
  if (std::ranges::find(valid_, key) == valid_.end()) valid_.emplace_back(key);
  return document_->find(key) != nullptr;
}

bool ConfigSource::is_table(std::string_view key) const {
  const toml::node* node = document_->find(key);
  return node != nullptr && node->is_table();
}

bool ConfigSource::is_list(std::string_view key) const {
  const toml::node* node = document_->find(key);
  return node != nullptr && node->is_array();
}

bool ConfigSource::overridden(std::string_view key) const {
  return std::ranges::any_of(overrides_, [&](const auto& item) {
    return key == item.first || key.starts_with(item.first + ".");
  });
}

std::set<std::string, std::less<>> ConfigSource::given_keys() const {
  std::set<std::string, std::less<>> keys;
  std::ranges::copy_if(valid_, std::inserter(keys, keys.end()),
                       [&](const std::string& key) { return document_->find(key) != nullptr; });
  return keys;
}

std::string ConfigSource::where(std::string_view key) const {
  for (const auto& [name, text] : overrides_) {
    if (key == name || key.starts_with(name + ".") || name.starts_with(std::string(key) + ".")) {
      return quote(fmt::format("{}={}", name, text));
    }
  }
  const toml::node* node = document_->find(key);
  if (node == nullptr || node->source().begin.line == 0) return file_.string();
  return fmt::format("{}:{}", file_.string(), node->source().begin.line);
}

void ConfigSource::fail(std::string_view key, std::string_view what,
                        std::string_view remedy) const {
  throw InputError(fmt::format("'{}' {}", key, what), where(key), remedy);
}

void ConfigSource::read_string(std::string_view key, std::string& value) {
  if (!given(key)) return;
  const toml::node& node = *document_->find(key);
  const auto raw = overrides_.find(key);
  if (const auto* text = node.as_string()) {
    value = text->get();
  } else if (raw != overrides_.end() && node.is_value()) {
    value = raw->second;  // name=3 and name=2024-11-28 on the command line mean the string
  } else {
    fail(key, fmt::format("is {}", type_text(node)), "write a string");
  }
}

void ConfigSource::read_path(std::string_view key, std::string& value) {
  if (!given(key)) return;
  read_string(key, value);
  if (value.empty()) return;
  const fs::path base = overridden(key) ? fs::path() : file_.parent_path();
  const fs::path path = fs::absolute(base / value).lexically_normal();
  value = (path.has_filename() ? path : path.parent_path()).string();  // "folder/" is "folder"
}

void ConfigSource::read_bool(std::string_view key, bool& value) {
  if (!given(key)) return;
  const toml::node& node = *document_->find(key);
  const auto* boolean = node.as_boolean();
  if (boolean == nullptr) fail(key, fmt::format("is {}", type_text(node)), "write true or false");
  value = boolean->get();
}

void ConfigSource::read_integer(std::string_view key, int64_t& value, int64_t least, int64_t most) {
  if (!given(key)) return;
  const toml::node& node = *document_->find(key);
  const auto* integer = node.as_integer();
  const std::string remedy = fmt::format("write an integer from {} to {}", least, most);
  if (integer == nullptr) fail(key, fmt::format("is {}", type_text(node)), remedy);
  if (integer->get() < least || integer->get() > most) {
    fail(key, fmt::format("is {}, which is out of range", integer->get()), remedy);
  }
  value = integer->get();
}

void ConfigSource::read_number(std::string_view key, double& value, double least, double most) {
  if (!given(key)) return;
  const toml::node& node = *document_->find(key);
  const std::optional<double> number = number_of(node);
  const std::string remedy = fmt::format("write a number from {} to {}", least, most);
  if (!number) fail(key, fmt::format("is {}", type_text(node)), remedy);
  if (!(*number >= least && *number <= most)) {  // NaN too
    fail(key, fmt::format("is {}, which is out of range", *number), remedy);
  }
  value = *number;
}

void ConfigSource::read_numbers(std::string_view key, std::vector<double>& values, size_t count,
                                double least, double most) {
  if (!given(key)) return;
  const toml::node& node = *document_->find(key);
  const std::string remedy =
      fmt::format("write a list of {}numbers from {} to {}",
                  count == 0 ? std::string() : fmt::format("{} ", count), least, most);
  const toml::array* list = node.as_array();
  if (list == nullptr) fail(key, fmt::format("is {}", type_text(node)), remedy);
  if (count != 0 && list->size() != count) {
    fail(key, fmt::format("has {} values", list->size()), remedy);
  }
  std::vector<double> result;
  for (const toml::node& item : *list) {
    const std::optional<double> number = number_of(item);
    if (!number) fail(key, fmt::format("holds {}", type_text(item)), remedy);
    if (!(*number >= least && *number <= most)) {
      fail(key, fmt::format("holds {}, which is out of range", *number), remedy);
    }
    result.push_back(*number);
  }
  values = std::move(result);
}

size_t ConfigSource::read_choice(std::string_view key, std::span<const std::string> names,
                                 size_t fallback) {
  std::string value = names[fallback];
  read_string(key, value);
  const auto found = std::ranges::find(names, value);
  if (found == names.end()) {
    fail(key, fmt::format("is {}", quote(value)),
         fmt::format("did you mean \"{}\"? (valid: {})", nearest(value, names), list_of(names)));
  }
  return static_cast<size_t>(found - names.begin());
}

std::map<std::string, std::string> ConfigSource::read_options(std::string_view table,
                                                              std::string_view except) {
  std::map<std::string, std::string> options;
  open_tables_.emplace_back(table);
  const toml::node* node = document_->find(table);
  if (node == nullptr || !node->is_table()) return options;
  for (const auto& [name, value] : *node->as_table()) {
    if (name.str() == except) continue;
    const std::string key = fmt::format("{}.{}", table, name.str());
    std::optional<std::string> text = scalar_text(value);
    const auto raw = overrides_.find(key);
    if (!text && raw != overrides_.end() && value.is_value()) text = raw->second;  // a date
    if (!text) fail(key, fmt::format("is {}", type_text(value)), "write a number or a string");
    options[std::string(name.str())] = *text;
  }
  return options;
}

void ConfigSource::read_value(std::string_view key, ParameterValue& value) {
  if (!given(key)) return;
  std::optional<ParameterValue> read = value_of(*document_->find(key));
  if (!read) fail(key, "holds a date or time", "write numbers and strings");
  value = std::move(*read);
}

void ConfigSource::read_freeze_rules(std::string_view key, std::vector<FreezeRule>& rules) {
  if (!given(key)) return;
  constexpr std::string_view example =
      "write for example [\"encoder.*\"] or [{pattern = \"encoder.*\", epochs = 5}]";
  const toml::node& node = *document_->find(key);
  const toml::array* list = node.as_array();
  if (list == nullptr) fail(key, fmt::format("is {}", type_text(node)), example);
  rules.clear();
  for (const toml::node& item : *list) {
    FreezeRule rule;
    if (const toml::table* table = item.as_table()) {
      for (const auto& [part, value] : *table) {
        if (const auto* pattern = value.as_string(); part.str() == "pattern" && pattern) {
          rule.pattern = pattern->get();
        } else if (const auto* epochs = value.as_integer(); part.str() == "epochs" && epochs) {
          rule.epochs = epochs->get();
        } else {
          fail(key, fmt::format("holds {} as {}", type_text(value), quote(part.str())), example);
        }
      }
    } else if (const auto* pattern = item.as_string()) {
      rule.pattern = pattern->get();
    } else {
      fail(key, fmt::format("holds {}", type_text(item)), example);
    }
    if (rule.pattern.empty()) fail(key, "holds a rule without a pattern", example);
    if (rule.epochs < 1) {
      fail(key, fmt::format("freezes {} for {} epochs", quote(rule.pattern), rule.epochs),
           "write an integer from 1");
    }
    const auto same = [&](const FreezeRule& other) { return other.pattern == rule.pattern; };
    if (std::ranges::any_of(rules, same)) {
      fail(key, fmt::format("holds {} twice", quote(rule.pattern)), "keep one of them");
    }
    rules.push_back(std::move(rule));
  }
}

void ConfigSource::reject_unknown() {
  const auto check = [&](const auto& self, const toml::table& table,
                         const std::string& prefix) -> void {
    for (const auto& [name, node] : table) {
      const std::string key = prefix + std::string(name.str());
      const bool valid = std::ranges::find(valid_, key) != valid_.end();
      const bool parent = std::ranges::any_of(
          valid_, [&](const std::string& other) { return other.starts_with(key + "."); });
      if (std::ranges::find(open_tables_, key) != open_tables_.end()) continue;
      if (parent && node.is_table()) {
        self(self, *node.as_table(), key + ".");
        continue;
      }
      if (valid) continue;
      const std::string place =
          overridden(key) ? where(key)
                          : fmt::format("{}:{}", file_.string(), name.source().begin.line);
      const KeySynonym* synonym = find_synonym(key);
      throw InputError(fmt::format("unknown key {}", quote(key)), place,
                       synonym == nullptr ? fmt::format("did you mean '{}'?", nearest(key, valid_))
                       : synonym->ours.empty()
                           ? fmt::format("there is no such key: {}", synonym->why)
                           : fmt::format("it is called '{}' here", synonym->ours));
    }
  };
  check(check, document_->root, "");
}

ParameterTable toml_values(std::string_view toml) {
  const toml::table document = parse_document(toml, "");
  ParameterTable values;
  const auto collect = [&](const auto& self, const toml::table& table,
                           const std::string& prefix) -> void {
    for (const auto& [name, node] : table) {
      const std::string key = prefix + std::string(name.str());
      if (const toml::table* inner = node.as_table()) {
        self(self, *inner, key + ".");
      } else if (std::optional<ParameterValue> value = value_of(node)) {
        values.push_back({key, std::move(*value)});
      }
    }
  };
  collect(collect, document, "");
  return values;
}

}  // namespace macadam
