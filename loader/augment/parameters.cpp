#include "loader/augment/parameters.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/text.h"

namespace macadam {

namespace {

std::optional<double> number_of(const ParameterValue& value) {
  if (const auto* integer = std::get_if<int64_t>(&value.value)) {
    return static_cast<double>(*integer);
  }
  if (const auto* number = std::get_if<double>(&value.value)) return *number;
  return std::nullopt;
}

std::string remedy_for(Scalar scalar, double least, double most) {
  std::string pair = fmt::format("write [low, high] from {} to {}", least, most);
  switch (scalar) {
    case Scalar::symmetric: return pair + (least < 0 ? ", or a number v for [-v, v]" : "");
    case Scalar::from_zero: return pair + ", or a number v for [0, v]";
    case Scalar::from_one: return pair + ", or a number v for [1, v]";
    case Scalar::about_one: return pair + ", or a number v for [1 - v, 1 + v]";
  }
  return pair;
}

Range range_of(double v, Scalar scalar) {
  switch (scalar) {
    case Scalar::symmetric: return {-v, v};
    case Scalar::from_zero: return {0, v};
    case Scalar::from_one: return {std::min(1.0, v), std::max(1.0, v)};
    case Scalar::about_one: return {v > 0 ? std::max(0.0, 1 - v) : 1 - v, 1 + v};
  }
  return {};
}

/// "[1, 2, 3]".
template <class Values>
std::string list_text(const Values& values) {
  std::vector<std::string> items;
  items.reserve(std::size(values));
  for (const auto value : values) items.push_back(fmt::to_string(value));
  return fmt::format("[{}]", joined(items));
}

const std::array<std::string, 2> kBorders{"reflect_101", "constant"};

/// The valid key that `key` most likely means: `limit` is more of a distort_limit than of a name.
std::string meant(const std::string& key, const std::vector<std::string>& valid) {
  const auto holds = [&](const std::string& other) { return other.find(key) != std::string::npos; };
  const auto found = std::ranges::find_if(valid, holds);
  return key.size() > 2 && found != valid.end() ? *found : nearest(key, valid);
}

/// Keys of the original that are left out on purpose, and what to do instead.
constexpr std::array<std::array<std::string_view, 2>, 4> kLeftOut{{
    {"always_apply", "write p = 1"},
    {"interpolation", "remove it: photos are interpolated linearly, masks take the nearest pixel"},
    {"rotate_method", "remove it: there are no boxes to rotate"},
    {"eps", "remove it: it has no effect"},
}};

}  // namespace

std::string_view type_name(const ParameterValue& value) {
  constexpr std::array<std::string_view, 6> names{"true or false", "an integer", "a number",
                                                  "a string",      "a list",     "a table"};
  return names[value.value.index()];
}

void Fields::border(BorderFill& fill) {
  auto index = static_cast<size_t>(fill.border);
  word("border_mode", index, kBorders);
  fill.border = static_cast<Border>(index);
  colour("value", fill.value);
  label("mask_value", fill.mask_value, false);
}

FieldReader::FieldReader(const ParameterTable& table, std::string path, std::string where,
                         ImageSize size)
    : table_(table), path_(std::move(path)), where_(std::move(where)), size_(size) {}

const ParameterValue* FieldReader::find(std::string_view key) const {
  const auto found = std::ranges::find(table_, key, &NamedParameter::name);
  return found == table_.end() ? nullptr : &found->value;
}

const ParameterValue* FieldReader::take(std::string_view key) {
  valid_.emplace_back(key);
  return find(key);
}

void FieldReader::fail(std::string_view key, std::string_view what, std::string_view remedy) const {
  throw InputError(fmt::format("{}.{} {}", path_, key, what), where_, remedy);
}

void FieldReader::check(bool holds, std::string_view key, std::string_view what,
                        std::string_view remedy) const {
  if (!holds) fail(key, what, remedy);
}

void FieldReader::reject_unknown() const {
  for (const auto& [key, value] : table_) {
    if (std::ranges::find(valid_, key) != valid_.end()) continue;
    const auto left_out =
        std::ranges::find(kLeftOut, key, [](const auto& item) { return item[0]; });
    throw InputError(fmt::format("{} has no parameter {}", path_, quote(key)), where_,
                     left_out != kLeftOut.end() ? std::string((*left_out)[1])
                                                : fmt::format("did you mean '{}'? (valid: {})",
                                                              meant(key, valid_), joined(valid_)));
  }
}

double FieldReader::number_in(std::string_view key, const ParameterValue& value, double least,
                              double most, std::string_view remedy) const {
  const std::optional<double> number = number_of(value);
  if (!number) fail(key, fmt::format("is {}", type_name(value)), remedy);
  if (!(*number >= least && *number <= most)) {  // NaN too
    fail(key, fmt::format("is {}, which is out of range", *number), remedy);
  }
  return *number;
}

int FieldReader::integer_in(std::string_view key, const ParameterValue& value, int least, int most,
                            std::string_view remedy) const {
  const auto* integer = std::get_if<int64_t>(&value.value);
  if (integer == nullptr) fail(key, fmt::format("is {}", type_name(value)), remedy);
  if (*integer < least || *integer > most) {
    fail(key, fmt::format("is {}, which is out of range", *integer), remedy);
  }
  return static_cast<int>(*integer);
}

void FieldReader::boolean(std::string_view key, bool& value) {
  const ParameterValue* given = take(key);
  if (given == nullptr) return;
  const auto* boolean = std::get_if<bool>(&given->value);
  if (boolean == nullptr) {
    fail(key, fmt::format("is {}", type_name(*given)), "write true or false");
  }
  value = *boolean;
}

void FieldReader::integer(std::string_view key, int& value, int least, int most) {
  if (const ParameterValue* given = take(key)) {
    value = integer_in(key, *given, least, most,
                       fmt::format("write an integer from {} to {}", least, most));
  }
}

void FieldReader::number(std::string_view key, double& value, double least, double most) {
  if (const ParameterValue* given = take(key)) {
    value = number_in(key, *given, least, most,
                      fmt::format("write a number from {} to {}", least, most));
  }
}

void FieldReader::integers(std::string_view key, std::span<int> values, int least, int most) {
  const ParameterValue* given = take(key);
  if (given == nullptr) return;
  const std::string remedy =
      fmt::format("write a list of {} integers from {} to {}", values.size(), least, most);
  const auto* list = std::get_if<ParameterList>(&given->value);
  if (list == nullptr) fail(key, fmt::format("is {}", type_name(*given)), remedy);
  if (list->size() != values.size()) fail(key, fmt::format("has {} values", list->size()), remedy);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = integer_in(key, (*list)[i], least, most, remedy);
  }
}

void FieldReader::numbers(std::string_view key, std::span<double> values, double least,
                          double most) {
  const ParameterValue* given = take(key);
  if (given == nullptr) return;
  const std::string remedy =
      fmt::format("write a list of {} numbers from {} to {}", values.size(), least, most);
  const auto* list = std::get_if<ParameterList>(&given->value);
  if (list == nullptr) fail(key, fmt::format("is {}", type_name(*given)), remedy);
  if (list->size() != values.size()) fail(key, fmt::format("has {} values", list->size()), remedy);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = number_in(key, (*list)[i], least, most, remedy);
  }
}

void FieldReader::range(std::string_view key, Range& value, Scalar scalar, double least,
                        double most) {
  const ParameterValue* given = take(key);
  if (given == nullptr) return;
  const std::string remedy = remedy_for(scalar, least, most);
  if (const auto* list = std::get_if<ParameterList>(&given->value)) {
    if (list->size() != 2) fail(key, fmt::format("has {} values", list->size()), remedy);
    value = {number_in(key, (*list)[0], least, most, remedy),
             number_in(key, (*list)[1], least, most, remedy)};
    if (value.low > value.high) {
      fail(key, fmt::format("is [{}, {}], the wrong way round", value.low, value.high), remedy);
    }
    return;
  }
  const std::optional<double> number = number_of(*given);
  if (!number) fail(key, fmt::format("is {}", type_name(*given)), remedy);
  value = range_of(*number, scalar);
  if (!(least <= value.low && value.low <= value.high && value.high <= most)) {
    fail(key, fmt::format("is {}, which is out of range", *number), remedy);
  }
}

void FieldReader::both(std::string_view key, Range& first, Range& second, Scalar scalar,
                       double least, double most) {
  const bool is_given = given(key);
  Range common;
  range(key, common, scalar, least, most);
  if (is_given) first = second = common;
}

void FieldReader::whole_range(std::string_view key, int& low, int& high, int from, int least,
                              int most) {
  const ParameterValue* given = take(key);
  if (given == nullptr) return;
  const std::string remedy =
      fmt::format("write whole numbers [low, high] from {} to {}, or a number v for [{}, v]", least,
                  most, from);
  if (const auto* list = std::get_if<ParameterList>(&given->value)) {
    if (list->size() != 2) fail(key, fmt::format("has {} values", list->size()), remedy);
    low = integer_in(key, (*list)[0], least, most, remedy);
    high = integer_in(key, (*list)[1], least, most, remedy);
    if (low > high) fail(key, fmt::format("is [{}, {}], the wrong way round", low, high), remedy);
    return;
  }
  const int number = integer_in(key, *given, least, most, remedy);
  low = std::min(from, number);
  high = std::max(from, number);
}

void FieldReader::extent(std::string_view key, Extent& value, int most) {
  const ParameterValue* given = take(key);
  if (given == nullptr) return;
  const std::string remedy = fmt::format(
      "write an integer from 1 to {} (pixels), or a fraction of the image below 1.0", most);
  if (std::holds_alternative<int64_t>(given->value)) {
    value = {static_cast<double>(integer_in(key, *given, 1, most, remedy)), false};
  } else {
    const double number = number_in(key, *given, 0, 1, remedy);
    if (!(number > 0 && number < 1)) {
      fail(key, fmt::format("is {:.1f}, which is out of range", number), remedy);
    }
    value = {number, true};
  }
}

void FieldReader::colour(std::string_view key, Rgb& value) {
  const ParameterValue* given = take(key);
  if (given == nullptr) return;
  constexpr std::string_view remedy =
      "write an integer from 0 to 255, or a list of three: red, green, blue";
  if (const auto* list = std::get_if<ParameterList>(&given->value)) {
    if (list->size() != value.size()) {
      fail(key, fmt::format("has {} values", list->size()), remedy);
    }
    for (size_t c = 0; c < value.size(); ++c) {
      value[c] = static_cast<uint8_t>(integer_in(key, (*list)[c], 0, 255, remedy));
    }
  } else {
    value.fill(static_cast<uint8_t>(integer_in(key, *given, 0, 255, remedy)));
  }
}

void FieldReader::word(std::string_view key, size_t& index, std::span<const std::string> words) {
  const ParameterValue* given = take(key);
  if (given == nullptr) return;
  const std::string valid = fmt::format("\"{}\"", joined(words, "\", \""));
  const auto* text = std::get_if<std::string>(&given->value);
  if (text == nullptr) {
    fail(key, fmt::format("is {}", type_name(*given)), fmt::format("write one of {}", valid));
  }
  const auto found = std::ranges::find(words, *text);
  if (found == words.end()) {
    fail(key, fmt::format("is {}", quote(*text)),
         fmt::format("did you mean \"{}\"? (valid: {})", nearest(*text, words), valid));
  }
  index = static_cast<size_t>(found - words.begin());
}

void FieldReader::label(std::string_view key, int& value, bool optional) {
  const ParameterValue* given = take(key);
  if (given == nullptr) return;
  const auto* text = std::get_if<std::string>(&given->value);
  if (optional && text != nullptr && *text == "none") {
    value = kKeepLabel;
  } else {
    value = integer_in(key, *given, 0, 255,
                       optional ? "write a label from 0 to 255 (255 is ignored), or \"none\""
                                : "write a label from 0 to 255 (255 is ignored)");
  }
}

void FieldWriter::raw(std::string_view key, std::string_view text) {
  items_.push_back(fmt::format("{} = {}", key, text));
}

void FieldWriter::boolean(std::string_view key, bool& value) { raw(key, value ? "true" : "false"); }

void FieldWriter::integer(std::string_view key, int& value, int, int) {
  raw(key, fmt::to_string(value));
}

void FieldWriter::number(std::string_view key, double& value, double, double) {
  raw(key, fmt::to_string(value));
}

void FieldWriter::integers(std::string_view key, std::span<int> values, int, int) {
  raw(key, list_text(values));
}

void FieldWriter::numbers(std::string_view key, std::span<double> values, double, double) {
  raw(key, list_text(values));
}

void FieldWriter::range(std::string_view key, Range& value, Scalar, double, double) {
  raw(key, fmt::format("[{}, {}]", value.low, value.high));
}

void FieldWriter::whole_range(std::string_view key, int& low, int& high, int, int, int) {
  raw(key, fmt::format("[{}, {}]", low, high));
}

void FieldWriter::extent(std::string_view key, Extent& value, int) {
  raw(key, fmt::to_string(value.value));  // a fraction is below 1 and so keeps its point
}

void FieldWriter::colour(std::string_view key, Rgb& value) { raw(key, list_text(value)); }

void FieldWriter::word(std::string_view key, size_t& index, std::span<const std::string> words) {
  raw(key, fmt::format("\"{}\"", words[index]));
}

void FieldWriter::label(std::string_view key, int& value, bool) {
  raw(key, value == kKeepLabel ? "\"none\"" : fmt::to_string(value));
}

}  // namespace macadam
