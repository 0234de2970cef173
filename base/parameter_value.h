#pragma once
// A value as a person wrote it: TOML's kinds, and where it stands.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace macadam {

/// Where a value stands, for errors.
struct ValueOrigin {
  std::shared_ptr<const std::string> source;  // a file's name, or an override of a command line
  int line = 0;                               // of the file; 0: an override
  bool of_variant = false;                    // stands over the file's other values

  bool is_override() const { return source != nullptr && line == 0; }
};

struct DateTime {};  // TOML's dates and times: nothing here is one

struct ParameterValue;
struct NamedParameter;
using ParameterList = std::vector<ParameterValue>;
using ParameterTable = std::vector<NamedParameter>;
struct ParameterValue {
  std::variant<bool, int64_t, double, std::string, ParameterList, ParameterTable, DateTime> value;
  ValueOrigin origin = {};
  std::string override_text = {};  // of an override, behind its key: name=3 may mean the text "3"
  bool inline_table = false;       // {key = value}: one value, unlike dotted keys and [headers]
};
struct NamedParameter {
  std::string name;
  ParameterValue value;
};

/// "a string", "a list" and so on.
std::string_view type_name(const ParameterValue& value);

/// The value of the key, or null.
const ParameterValue* find(const ParameterTable& table, std::string_view key);
ParameterValue* find(ParameterTable& table, std::string_view key);

/// "first.toml:3", or the override in quotes; `otherwise` when nothing is known.
std::string place_of(const ValueOrigin& origin, std::string_view otherwise);

/// A scalar as text that reads the same whatever way it was written ("0.1" of 0.1 and "0.1"); none
/// for lists and tables, and for dates but those of an override.
std::optional<std::string> scalar_text(const ParameterValue& value);

}  // namespace macadam
