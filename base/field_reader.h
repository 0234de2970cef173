#pragma once
// What a description of fields does: read a table, list what a structure holds.

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/fields.h"

namespace macadam {

/// Reads a table; its dotted keys lead into tables within it.
class FieldReader final : public Fields {
 public:
  /// `table` outlives it.
  FieldReader(const ParameterTable& table, FieldNames names);

  void visit(const Field& field, const FieldKind& kind) override;
  bool given(std::string_view key) const override { return find_value(key) != nullptr; }
  void check(bool holds, std::string_view key, std::string_view what,
             std::string_view remedy) const override;
  void needs(std::string_view key, const Effect& effect) const override;

  /// The value of a key that is read elsewhere, or null.
  const ParameterValue* take(std::string_view key);
  [[noreturn]] void fail(std::string_view key, std::string_view what,
                         std::string_view remedy) const;

  /// The keys that were read, there or not, and those of them that are there.
  const std::vector<std::string>& keys() const { return keys_; }
  std::set<std::string, std::less<>> given_keys() const;
  struct Unread {
    std::string key;
    ValueOrigin origin;
  };
  /// The keys that are there and that nobody read.
  std::vector<Unread> unread() const;

 private:
  const ParameterValue* find_value(std::string_view key) const;
  /// By a command line, or by a sweep's variant.
  bool overridden(std::string_view key) const;
  void collect_unread(const ParameterTable& table, const std::string& prefix,
                      std::vector<Unread>& found) const;

  const ParameterTable& table_;
  FieldNames names_;
  std::vector<std::string> keys_, open_;
};

/// A field as it was described.
struct DescribedField {
  Field field;
  std::string section, type;
  bool one_a_line = false;
  ParameterValue value;
};

/// Lists the fields of a structure with their values.
class FieldList final : public Fields {
 public:
  void visit(const Field& field, const FieldKind& kind) override;
  bool given(std::string_view) const override { return true; }
  void check(bool, std::string_view, std::string_view, std::string_view) const override {}
  void needs(std::string_view, const Effect&) const override {}
  void section(std::string_view title) override { section_ = title; }

  const std::vector<DescribedField>& fields() const { return fields_; }
  /// "{key = value, ...}" as a value.
  ParameterTable table() const;

 private:
  std::string section_;
  std::vector<DescribedField> fields_;
};

}  // namespace macadam
