#pragma once
// Values by dotted key from a TOML text and overrides, with errors that say where a value stands.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/train/fine_tuning.h"
#include "loader/augment/parameters.h"

namespace macadam {

/// Every read_*() and find names a valid key; reject_unknown() then refuses all others.
/// The functions leave `value` as it is when the key is not given, and throw InputError when what
/// is given does not fit.
class ConfigSource {
 public:
  ConfigSource(std::string_view toml, std::filesystem::path file,
               std::span<const std::string> overrides);
  ~ConfigSource();

  bool given(std::string_view key);
  bool is_table(std::string_view key) const;
  bool is_list(std::string_view key) const;
  /// True when an override sets the key or a table that holds it.
  bool overridden(std::string_view key) const;
  /// The valid keys that the text or an override sets.
  std::set<std::string, std::less<>> given_keys() const;
  /// "first.toml:3", or the override, or the file alone when the key is not given.
  std::string where(std::string_view key) const;

  void read_string(std::string_view key, std::string& value);
  /// A path, made absolute (see load_config).
  void read_path(std::string_view key, std::string& value);
  void read_bool(std::string_view key, bool& value);
  /// Refuses what is not within [least, most].
  void read_integer(std::string_view key, int64_t& value, int64_t least, int64_t most);
  void read_number(std::string_view key, double& value, double least, double most);
  /// Lists of numbers; requires `count` of them unless it is 0.
  void read_numbers(std::string_view key, std::vector<double>& values, size_t count, double least,
                    double most);
  /// The index of the given string among `names`, or `fallback`.
  size_t read_choice(std::string_view key, std::span<const std::string> names, size_t fallback);
  /// The scalars of a table as text, without the keys in `except`; all its keys become valid.
  std::map<std::string, std::string> read_options(std::string_view table, std::string_view except);
  /// Any value, with the lists and tables in it; dates and times are refused.
  void read_value(std::string_view key, ParameterValue& value);
  /// A list of patterns, each a string (for the whole run) or a table {pattern = STRING, epochs =
  /// INTEGER}. Patterns must differ.
  void read_freeze_rules(std::string_view key, std::vector<FreezeRule>& rules);

  /// Throws for the first key that nobody read: with our name for it where it is another tool's,
  /// else with the nearest valid key.
  void reject_unknown();

  /// Throws InputError("KEY what", where(key), remedy).
  [[noreturn]] void fail(std::string_view key, std::string_view what,
                         std::string_view remedy) const;

 private:
  struct Document;  // keeps the TOML library out of this header
  std::unique_ptr<Document> document_;
  std::filesystem::path file_;
  std::map<std::string, std::string, std::less<>> overrides_;  // key -> text of the value
  std::vector<std::string> valid_;
  std::vector<std::string> open_tables_;
};

/// The values of a TOML text without dates, by dotted key; tables within lists stay values.
/// Requires valid TOML.
ParameterTable toml_values(std::string_view toml);

}  // namespace macadam
