#pragma once
// The parameters of a transform: named once, in the transform's describe(), which serves reading
// them from a configuration, refusing what does not fit, and writing them back.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "kernels/augment_program.h"

namespace macadam {

/// A value of a configuration.
struct ParameterValue;
struct NamedParameter;
using ParameterList = std::vector<ParameterValue>;
using ParameterTable = std::vector<NamedParameter>;
struct ParameterValue {
  std::variant<bool, int64_t, double, std::string, ParameterList, ParameterTable> value;
};
struct NamedParameter {
  std::string name;
  ParameterValue value;
};

/// "a string", "a list" and so on.
std::string_view type_name(const ParameterValue& value);

/// What the network sees.
struct ImageSize {
  int height = 0, width = 0;

  bool operator==(const ImageSize&) const = default;
};

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

using Rgb = std::array<uint8_t, 3>;
inline constexpr int kKeepLabel = -1;

/// What lies beyond the image for a transform that moves pixels.
struct BorderFill {
  Border border = Border::reflect;
  Rgb value{};           // with Border::constant
  int mask_value = 255;  // the same; 255 is ignored, while 0 would be a class

  bool operator==(const BorderFill&) const = default;
};

/// A description of parameters. When they are read, functions leave what is not given as it is and
/// throw InputError for what does not fit; when written, they take the values as they are.
class Fields {
 public:
  virtual ~Fields() = default;

  virtual ImageSize size() const = 0;
  /// False only when reading and the key is missing.
  virtual bool given(std::string_view key) const = 0;

  virtual void boolean(std::string_view key, bool& value) = 0;
  virtual void integer(std::string_view key, int& value, int least, int most) = 0;
  virtual void number(std::string_view key, double& value, double least, double most) = 0;
  virtual void integers(std::string_view key, std::span<int> values, int least, int most) = 0;
  virtual void numbers(std::string_view key, std::span<double> values, double least,
                       double most) = 0;
  virtual void range(std::string_view key, Range& value, Scalar scalar, double least,
                     double most) = 0;
  /// A short form for two ranges that have keys of their own; never written.
  virtual void both(std::string_view key, Range& first, Range& second, Scalar scalar, double least,
                    double most) = 0;
  /// Whole numbers; a single one v stands for [from, v].
  virtual void whole_range(std::string_view key, int& low, int& high, int from, int least,
                           int most) = 0;
  virtual void extent(std::string_view key, Extent& value, int most) = 0;
  /// Bytes R, G, B; a single number stands for all.
  virtual void colour(std::string_view key, Rgb& value) = 0;
  virtual void word(std::string_view key, size_t& index, std::span<const std::string> words) = 0;
  /// A byte, or "none" for kKeepLabel if `optional`.
  virtual void label(std::string_view key, int& value, bool optional) = 0;

  /// Throws InputError for `key` unless `holds`, when reading.
  virtual void check(bool holds, std::string_view key, std::string_view what,
                     std::string_view remedy) const = 0;

  /// The keys border_mode, value and mask_value.
  void border(BorderFill& fill);
};

/// Reads the table of one transform.
class FieldReader final : public Fields {
 public:
  /// path: of the transform, "augment[2] GridDistortion"; where: the place in the configuration;
  /// both stand in errors.
  FieldReader(const ParameterTable& table, std::string path, std::string where, ImageSize size);

  ImageSize size() const override { return size_; }
  bool given(std::string_view key) const override { return find(key) != nullptr; }

  void boolean(std::string_view key, bool& value) override;
  void integer(std::string_view key, int& value, int least, int most) override;
  void number(std::string_view key, double& value, double least, double most) override;
  void integers(std::string_view key, std::span<int> values, int least, int most) override;
  void numbers(std::string_view key, std::span<double> values, double least, double most) override;
  void range(std::string_view key, Range& value, Scalar scalar, double least, double most) override;
  void both(std::string_view key, Range& first, Range& second, Scalar scalar, double least,
            double most) override;
  void whole_range(std::string_view key, int& low, int& high, int from, int least,
                   int most) override;
  void extent(std::string_view key, Extent& value, int most) override;
  void colour(std::string_view key, Rgb& value) override;
  void word(std::string_view key, size_t& index, std::span<const std::string> words) override;
  void label(std::string_view key, int& value, bool optional) override;
  void check(bool holds, std::string_view key, std::string_view what,
             std::string_view remedy) const override;

  /// The value of a key that is read elsewhere, or null.
  const ParameterValue* take(std::string_view key);
  /// Throws InputError for the first key that nobody read, with the nearest valid one.
  void reject_unknown() const;
  [[noreturn]] void fail(std::string_view key, std::string_view what,
                         std::string_view remedy) const;

 private:
  const ParameterValue* find(std::string_view key) const;
  double number_in(std::string_view key, const ParameterValue& value, double least, double most,
                   std::string_view remedy) const;
  int integer_in(std::string_view key, const ParameterValue& value, int least, int most,
                 std::string_view remedy) const;

  const ParameterTable& table_;
  std::string path_, where_;
  ImageSize size_;
  std::vector<std::string> valid_;
};

/// Writes "key = value" for each parameter, as TOML.
class FieldWriter final : public Fields {
 public:
  const std::vector<std::string>& items() const { return items_; }
  void raw(std::string_view key, std::string_view text);

  ImageSize size() const override { return {}; }
  bool given(std::string_view) const override { return true; }

  void boolean(std::string_view key, bool& value) override;
  void integer(std::string_view key, int& value, int, int) override;
  void number(std::string_view key, double& value, double, double) override;
  void integers(std::string_view key, std::span<int> values, int, int) override;
  void numbers(std::string_view key, std::span<double> values, double, double) override;
  void range(std::string_view key, Range& value, Scalar, double, double) override;
  void both(std::string_view, Range&, Range&, Scalar, double, double) override {}
  void whole_range(std::string_view key, int& low, int& high, int, int, int) override;
  void extent(std::string_view key, Extent& value, int) override;
  void colour(std::string_view key, Rgb& value) override;
  void word(std::string_view key, size_t& index, std::span<const std::string> words) override;
  void label(std::string_view key, int& value, bool) override;
  void check(bool, std::string_view, std::string_view, std::string_view) const override {}

 private:
  std::vector<std::string> items_;
};

}  // namespace macadam
