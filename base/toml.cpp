#include "base/toml.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cctype>
#include <type_traits>

#include "base/error.h"
#include "base/printable.h"
#include "base/text.h"

namespace macadam {

namespace {

using Source = std::shared_ptr<const std::string>;

// toml++ 3.3 asks whether a character is white space by tables that lack most of those beyond
// ASCII: what it does then is undefined. Each of their bytes travels through it as a character of a
// private plane behind the tables, U+10F000 + byte.
constexpr std::string_view kLow = "\xF4\x8F\x82", kHigh = "\xF4\x8F\x83";

std::string armored(std::string_view text) {
  std::string result;
  for (const char c : text.substr(text.starts_with("\xEF\xBB\xBF") ? 3 : 0)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      result += c;
    } else {
      result += byte < 0xC0 ? kLow : kHigh;
      result += static_cast<char>(byte & ~0x40);
    }
  }
  return result;
}

std::string disarmored(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view plane = text.substr(i, 3);
    if ((plane != kLow && plane != kHigh) || i + 3 == text.size()) {
      result += text[i];
    } else {
      i += 3;
      result += static_cast<char>(text[i] | (plane == kHigh ? 0x40 : 0));
    }
  }
  return result;
}

ParameterTable table_of(const toml::table& table, const Source& source, bool file);

ParameterValue value_of(const toml::node& node, const Source& source, bool file) {
  ParameterValue result{DateTime{},
                        {source, file ? static_cast<int>(node.source().begin.line) : 0}};
  if (const auto* boolean = node.as_boolean()) result.value = boolean->get();
  if (const auto* integer = node.as_integer()) result.value = integer->get();
  if (const auto* number = node.as_floating_point()) result.value = number->get();
  if (const auto* text = node.as_string()) result.value = disarmored(text->get());
  if (const auto* table = node.as_table()) {
    result.value = table_of(*table, source, file);
    result.inline_table = table->is_inline();
  }
  if (const auto* array = node.as_array()) {
    ParameterList list;
    for (const toml::node& item : *array) list.push_back(value_of(item, source, file));
    result.value = std::move(list);
  }
  return result;
}

ParameterTable table_of(const toml::table& table, const Source& source, bool file) {
  ParameterTable result;
  for (const auto& [name, node] : table) {
    ParameterValue value = value_of(node, source, file);
    if (file) value.origin.line = static_cast<int>(name.source().begin.line);
    result.push_back({disarmored(name.str()), std::move(value)});
  }
  return result;
}

/// A key as TOML writes it: bare where it may be.
std::string toml_key(const std::string& key) {
  const bool bare = !key.empty() && std::ranges::all_of(key, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-';
  });
  return bare ? key : toml_string(key);
}

/// The line of the first bytes that are not UTF-8; 0: there are none.
size_t line_of_bad_bytes(std::string_view text) {
  size_t line = 1;
  for (size_t i = 0; i < text.size();) {
    const Character character = first_character(text.substr(i));
    if (character.bytes == 0) return line;
    line += character.code == '\n' ? 1 : 0;
    i += character.bytes;
  }
  return 0;
}

}  // namespace

ParameterTable parse_toml(std::string_view text, const std::string& file) {
  if (const size_t line = line_of_bad_bytes(text); line > 0) {
    throw InputError("not valid TOML (not UTF-8)", fmt::format("{}:{}", file, line),
                     "correct this line");
  }
  try {
    return table_of(toml::parse(armored(text), file), std::make_shared<const std::string>(file),
                    true);
  } catch (const toml::parse_error& error) {
    const std::string what = disarmored(error.description());
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

ParameterValue parse_override_value(std::string_view text, std::string_view whole) {
  const auto source = std::make_shared<const std::string>(whole);
  std::string reason = "not UTF-8";
  try {
    if (is_utf8(text)) {
      const toml::table table = toml::parse(armored(fmt::format("v = {}\n", text)));
      if (table.size() == 1) {
        ParameterValue value = value_of(*table.get("v"), source, false);
        value.override_text = text;
        return value;
      }
      throw InputError("not a TOML value (more than one value)", quote(whole), "correct the value");
    }
  } catch (const toml::parse_error& error) {
    reason = disarmored(error.description());
  }
  if (text.empty() || std::string_view("[{\"'").find(text[0]) == std::string_view::npos) {
    return {std::string(text), {source, 0}, std::string(text)};
  }
  throw InputError(fmt::format("not a TOML value ({})", reason), quote(whole), "correct the value");
}

std::string toml_string(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      result += fmt::format("\\u{:04X}", static_cast<unsigned char>(c));
    } else {
      result += c;
    }
  }
  return result + '"';
}

std::string toml_text(const ParameterValue& value) {
  const auto text = [](const auto& v) -> std::string {
    using T = std::decay_t<decltype(v)>;
    std::vector<std::string> items;
    if constexpr (std::is_same_v<T, std::string>) {
      return toml_string(v);
    } else if constexpr (std::is_same_v<T, ParameterList>) {
      for (const ParameterValue& item : v) items.push_back(toml_text(item));
      return fmt::format("[{}]", joined(items));
    } else if constexpr (std::is_same_v<T, ParameterTable>) {
      for (const auto& [name, item] : v) {
        items.push_back(fmt::format("{} = {}", toml_key(name), toml_text(item)));
      }
      return fmt::format("{{{}}}", joined(items));
    } else if constexpr (std::is_same_v<T, DateTime>) {
      require(false, "a value without dates");
      return {};
    } else {
      return fmt::to_string(v);
    }
  };
  return std::visit(text, value.value);
}

}  // namespace macadam
