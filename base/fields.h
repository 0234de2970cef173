#pragma once
// The fields of a structure, described once: its describe(Fields&) names each of them with its
// kind, range and meaning, and that one description serves reading a configuration, refusing what
// does not fit, writing it back, comparing two, and documenting it.

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/parameter_value.h"
#include "base/rgb.h"

namespace macadam {

/// Where a number is drawn from, uniformly.
struct Range {
  double low = 0, high = 0;

  bool operator==(const Range&) const = default;
};

/// The range that a single number v stands for.
enum class Scalar : uint8_t {
  symmetric,  // [-v, v]
  from_zero,  // [0, v]
  from_one,   // [1, v], or [v, 1] below 1
  about_one,  // [1 - v, 1 + v], not below 0
};

/// A length in pixels, or as a fraction of the image's.
struct Extent {
  double value = 0;
  bool fraction = false;

  bool operator==(const Extent&) const = default;
};

inline constexpr int kKeepLabel = -1;

/// Whether a run that is resumed may have another value than it was begun with.
enum class OnResume : uint8_t {
  same,      // no
  kept,      // no; where it is not given, the run's stands, whatever the default has become
  resolved,  // what it comes to may not change; that is compared where it is known
  free,      // yes: no result of the steps to come depends on it
};

/// What another key must say for a field to do anything.
struct Effect {
  bool holds = true;
  std::string_view cause;   // the other key
  std::string_view wanted;  // what it should say: optimizer = "sgd"
};

struct FieldNotes {
  OnResume on_resume = OnResume::same;
  Effect effect = {};
  std::string type = {};        // instead of the kind's, in documents: where it depends on others
  std::string by_default = {};  // the same instead of the value
};

/// The name of a field, and what is to be said of it besides its kind.
struct Field {
  // NOLINTNEXTLINE(google-explicit-constructor): most fields of transforms are a name alone
  Field(const char* name, std::string_view means = {}, FieldNotes more = {})
      : key(name), meaning(means), notes(std::move(more)) {}

  std::string_view key;  // dotted where it stands in a table
  std::string_view meaning;
  FieldNotes notes;
};

/// How errors speak of keys, and where what they say stands.
struct FieldNames {
  std::string before, after;          // round a key: "'batch'", "augment[2] Blur.blur_limit"
  std::string where;                  // of what has no origin of its own
  std::filesystem::path folder = {};  // from which relative paths in a file are seen
};

/// A value that is given for a field, with the ways to take it. All throw InputError naming key and
/// place for what does not fit.
class GivenValue {
 public:
  /// remedy: what to write instead. `names` outlives it.
  GivenValue(const ParameterValue& value, const FieldNames& names, std::string key,
             std::string remedy);

  const ParameterValue& value() const { return value_; }
  std::string where() const { return place_of(value_.origin, names_.where); }
  [[noreturn]] void fail(std::string_view what) const { fail(what, remedy_); }
  [[noreturn]] void fail(std::string_view what, std::string_view remedy) const;

  bool boolean() const;
  int64_t integer(int64_t least, int64_t most) const;
  double number(double least, double most) const;
  /// Of an override any scalar: name=3 means "3".
  std::string text() const;
  /// An absolute path; those of overrides are seen from the current folder. Empty stays empty.
  std::string path() const;
  /// The values of a list; of `count` unless that is 0. Errors say what the key `verb`.
  std::vector<GivenValue> items(size_t count = 0, std::string_view verb = "holds") const;
  /// The value below this table's key, which is there.
  GivenValue at(std::string_view key) const;

 private:
  const ParameterValue& value_;
  const FieldNames& names_;
  std::string key_, remedy_;
  std::string_view verb_ = "is";
};

/// What a field's values are.
struct FieldKind {
  std::string type;  // "an integer from 1 to 8"; behind "write" it is the remedy
  std::function<void(const GivenValue&)> read;
  std::function<ParameterValue()> write = {};  // none: a short form of other fields, never written
  std::vector<std::string> below = {};         // the keys of a table that may stand for the value
  bool any_below = false;                      // all keys are taken there
  bool one_a_line = false;                     // a list, written so when there are several
  std::function<bool()> idle = {};             // the value asks for nothing: it needs no effect
};

/// Receives a description. When fields are read, what is not given stays as it is.
class Fields {
 public:
  virtual ~Fields() = default;

  virtual void visit(const Field& field, const FieldKind& kind) = 0;
  /// False only when reading and the key is missing.
  virtual bool given(std::string_view key) const = 0;
  /// Throws InputError for `key` unless `holds`, when reading.
  virtual void check(bool holds, std::string_view key, std::string_view what,
                     std::string_view remedy) const = 0;
  /// The same for a key that is given and does nothing, unless an override (or a sweep's variant)
  /// made it so: there is no way to take a file's keys back there.
  virtual void needs(std::string_view key, const Effect& effect) const = 0;
  /// What the fields behind it have in common, for documents.
  virtual void section(std::string_view) {}

  void boolean(const Field& field, bool& value);
  void integer(const Field& field, int64_t& value, int64_t least, int64_t most);
  void integer(const Field& field, int& value, int least, int most);
  void number(const Field& field, double& value, double least, double most);
  void number(const Field& field, float& value, double least, double most);
  void integers(const Field& field, std::span<int> values, int least, int most);
  void numbers(const Field& field, std::span<double> values, double least, double most);
  void numbers(const Field& field, std::span<float> values, double least, double most);
  void text(const Field& field, std::string& value);
  void path(const Field& field, std::string& value);
  /// A single string stands for a list of it.
  void strings(const Field& field, std::vector<std::string>& values);
  void word(const Field& field, size_t& index, std::span<const std::string> words);
  /// The words in the order of the enumeration, whose values count from 0.
  template <typename Enum>
  void choice(const Field& field, Enum& value, std::span<const std::string> words) {
    auto index = static_cast<size_t>(value);
    word(field, index, words);
    value = static_cast<Enum>(index);
  }
  void range(const Field& field, Range& value, Scalar scalar, double least, double most);
  /// A short form for two ranges that have keys of their own; never written.
  void both(const Field& field, Range& first, Range& second, Scalar scalar, double least,
            double most);
  /// Whole numbers; a single one v stands for [from, v].
  void whole_range(const Field& field, int& low, int& high, int from, int least, int most);
  void extent(const Field& field, Extent& value, int most);
  /// Bytes R, G, B; a single number stands for all.
  void color(const Field& field, Rgb& value);
  /// A byte, or "none" for kKeepLabel if `optional`.
  void label(const Field& field, int& value, bool optional);
};

/// A float as the double with the same shortest text: 0.1 of 0.1f.
double shortest(float value);

}  // namespace macadam
