#include "base/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "base/to_size.h"

namespace macadam {

namespace fs = std::filesystem;

GivenValue::GivenValue(const ParameterValue& value, const FieldNames& names, std::string key,
                       std::string remedy)
    : value_(value), names_(names), key_(std::move(key)), remedy_(std::move(remedy)) {}

void GivenValue::fail(std::string_view what, std::string_view remedy) const {
  throw InputError(fmt::format("{}{}{} {}", names_.before, key_, names_.after, what), where(),
                   remedy);
}

bool GivenValue::boolean() const {
  const auto* boolean = std::get_if<bool>(&value_.value);
  if (boolean == nullptr) fail(fmt::format("{} {}", verb_, type_name(value_)));
  return *boolean;
}

int64_t GivenValue::integer(int64_t least, int64_t most) const {
  const auto* integer = std::get_if<int64_t>(&value_.value);
  if (integer == nullptr) fail(fmt::format("{} {}", verb_, type_name(value_)));
  if (*integer < least || *integer > most) {
    fail(fmt::format("{} {}, which is out of range", verb_, *integer));
  }
  return *integer;
}

double GivenValue::number(double least, double most) const {
  const auto* integer = std::get_if<int64_t>(&value_.value);
  const auto* given = std::get_if<double>(&value_.value);
  if (integer == nullptr && given == nullptr) fail(fmt::format("{} {}", verb_, type_name(value_)));
  const double number = given != nullptr ? *given : static_cast<double>(*integer);
  if (!(number >= least && number <= most)) {  // NaN too
    fail(fmt::format("{} {}, which is out of range", verb_, number));
  }
  return number;
}

std::string GivenValue::text() const {
  if (const auto* text = std::get_if<std::string>(&value_.value)) return *text;
  const bool scalar = !std::holds_alternative<ParameterList>(value_.value) &&
                      !std::holds_alternative<ParameterTable>(value_.value);
  if (!scalar || value_.override_text.empty()) {
    fail(fmt::format("{} {}", verb_, type_name(value_)));
  }
  return value_.override_text;
}

std::string GivenValue::path() const {
  const std::string given = text();
  if (given.empty()) return given;
  const fs::path base = value_.origin.is_override() ? fs::path() : names_.folder;
  const fs::path path = fs::absolute(base / given).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).string();  // "folder/" is "folder"
}

std::vector<GivenValue> GivenValue::items(size_t count, std::string_view verb) const {
  const auto* list = std::get_if<ParameterList>(&value_.value);
  if (list == nullptr) fail(fmt::format("is {}", type_name(value_)));
  if (count != 0 && list->size() != count) fail(fmt::format("has {} values", list->size()));
  std::vector<GivenValue> items;
  for (const ParameterValue& value : *list) {
    items.emplace_back(value, names_, key_, remedy_);
    items.back().verb_ = verb;
  }
  return items;
}

GivenValue GivenValue::at(std::string_view key) const {
  const auto* table = std::get_if<ParameterTable>(&value_.value);
  const ParameterValue* value = table == nullptr ? nullptr : find(*table, key);
  require(value != nullptr, "a key that is there");
  return {*value, names_, fmt::format("{}.{}", key_, key), remedy_};
}

namespace {

/// "[low, high] from 1 to 2, or a number v for [-v, v]".
std::string type_of_range(Scalar scalar, double least, double most) {
  std::string pair = fmt::format("[low, high] from {} to {}", least, most);
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

Range read_range(const GivenValue& given, Scalar scalar, double least, double most) {
  if (std::holds_alternative<ParameterList>(given.value().value)) {
    const std::vector<GivenValue> items = given.items(2, "is");
    const Range range{items[0].number(least, most), items[1].number(least, most)};
    if (range.low > range.high) {
      given.fail(fmt::format("is [{}, {}], the wrong way round", range.low, range.high));
    }
    return range;
  }
  constexpr double any = std::numeric_limits<double>::infinity();
  const double number = given.number(-any, any);
  const Range range = range_of(number, scalar);
  if (!(least <= range.low && range.low <= range.high && range.high <= most)) {
    given.fail(fmt::format("is {}, which is out of range", number));
  }
  return range;
}

template <class Values>
ParameterValue list_value(const Values& values) {
  ParameterList list;
  for (const auto value : values) {
    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, float>) {
      list.push_back({shortest(value)});
    } else if constexpr (std::is_same_v<std::decay_t<decltype(value)>, double>) {
      list.push_back({value});
    } else {
      list.push_back({static_cast<int64_t>(value)});
    }
  }
  return {std::move(list)};
}

template <class Number>
FieldKind kind_of_numbers(std::span<Number> values, double least, double most) {
  return {fmt::format("a list of {} numbers from {} to {}", values.size(), least, most),
          [=](const GivenValue& given) {
            const std::vector<GivenValue> items = given.items(values.size());
            for (size_t i = 0; i < values.size(); ++i) {
              values[i] = static_cast<Number>(items[i].number(least, most));
            }
          },
          [=] { return list_value(values); }};
}

}  // namespace

double shortest(float value) {
  const std::string text = fmt::to_string(value);
  double result = 0;
  std::from_chars(text.data(), text.data() + text.size(), result);
  return result;
}

void Fields::boolean(const Field& field, bool& value) {
  visit(field, {"true or false", [&](const GivenValue& given) { value = given.boolean(); },
                [&] { return ParameterValue{value}; }});
}

void Fields::integer(const Field& field, int64_t& value, int64_t least, int64_t most) {
  visit(field, {fmt::format("an integer from {} to {}", least, most),
                [&](const GivenValue& given) { value = given.integer(least, most); },
                [&] { return ParameterValue{value}; }});
}

void Fields::integer(const Field& field, int& value, int least, int most) {
  int64_t wide = value;
  integer(field, wide, int64_t{least}, int64_t{most});
  value = static_cast<int>(wide);
}

void Fields::number(const Field& field, double& value, double least, double most) {
  visit(field, {fmt::format("a number from {} to {}", least, most),
                [&](const GivenValue& given) { value = given.number(least, most); },
                [&] { return ParameterValue{value}; }});
}

void Fields::number(const Field& field, float& value, double least, double most) {
  double wide = shortest(value);
  number(field, wide, least, most);
  value = static_cast<float>(wide);
}

void Fields::integers(const Field& field, std::span<int> values, int least, int most) {
  visit(field, {fmt::format("a list of {} integers from {} to {}", values.size(), least, most),
                [&](const GivenValue& given) {
                  const std::vector<GivenValue> items = given.items(values.size());
                  for (size_t i = 0; i < values.size(); ++i) {
                    values[i] = static_cast<int>(items[i].integer(least, most));
                  }
                },
                [&] { return list_value(values); }});
}

void Fields::numbers(const Field& field, std::span<double> values, double least, double most) {
  visit(field, kind_of_numbers(values, least, most));
}

void Fields::numbers(const Field& field, std::span<float> values, double least, double most) {
  visit(field, kind_of_numbers(values, least, most));
}

void Fields::text(const Field& field, std::string& value) {
  visit(field, {"a string", [&](const GivenValue& given) { value = given.text(); },
                [&] { return ParameterValue{value}; }});
}

void Fields::strings(const Field& field, std::vector<std::string>& values) {
  visit(field, {"a list of strings",
                [&](const GivenValue& given) {
                  values.clear();
                  if (std::holds_alternative<std::string>(given.value().value)) {
                    return values.push_back(given.text());
                  }
                  for (const GivenValue& item : given.items()) values.push_back(item.text());
                },
                [&] {
                  ParameterList list;
                  for (const std::string& value : values) list.push_back({value});
                  return ParameterValue{list};
                }});
}
void Fields::path(const Field& field, std::string& value) {
  visit(field, {"a path", [&](const GivenValue& given) { value = given.path(); },
                [&] { return ParameterValue{value}; }});
}

void Fields::word(const Field& field, size_t& index, std::span<const std::string> words) {
  const std::string valid = fmt::format("\"{}\"", joined(words, "\", \""));
  visit(field, {"one of " + valid,
                [&](const GivenValue& given) {
                  const std::string text = given.text();
                  const auto found = std::ranges::find(words, text);
                  if (found == words.end()) {
                    given.fail(fmt::format("is {}", quote(text)),
                               fmt::format("did you mean \"{}\"? (valid: {})", nearest(text, words),
                                           valid));
                  }
                  index = to_size(found - words.begin());
                },
                [&] { return ParameterValue{words[index]}; }});
}

void Fields::range(const Field& field, Range& value, Scalar scalar, double least, double most) {
  visit(field, {type_of_range(scalar, least, most),
                [&](const GivenValue& given) { value = read_range(given, scalar, least, most); },
                [&] {
                  return list_value(std::array{value.low, value.high});
                }});
}

void Fields::both(const Field& field, Range& first, Range& second, Scalar scalar, double least,
                  double most) {
  visit(field,
        {type_of_range(scalar, least, most),
         [&](const GivenValue& given) { first = second = read_range(given, scalar, least, most); },
         {}});
}

void Fields::whole_range(const Field& field, int& low, int& high, int from, int least, int most) {
  visit(field, {fmt::format("whole numbers [low, high] from {} to {}, or a number v for [{}, v]",
                            least, most, from),
                [&](const GivenValue& given) {
                  if (std::holds_alternative<ParameterList>(given.value().value)) {
                    const std::vector<GivenValue> items = given.items(2, "is");
                    low = static_cast<int>(items[0].integer(least, most));
                    high = static_cast<int>(items[1].integer(least, most));
                    if (low > high) {
                      given.fail(fmt::format("is [{}, {}], the wrong way round", low, high));
                    }
                  } else {
                    const auto number = static_cast<int>(given.integer(least, most));
                    low = std::min(from, number);
                    high = std::max(from, number);
                  }
                },
                [&] {
                  return list_value(std::array{low, high});
                }});
}

void Fields::extent(const Field& field, Extent& value, int most) {
  visit(field, {fmt::format(
                    "an integer from 1 to {} (pixels), or a fraction of the image below 1.0", most),
                [&](const GivenValue& given) {
                  if (std::holds_alternative<int64_t>(given.value().value)) {
                    value = {static_cast<double>(given.integer(1, most)), false};
                    return;
                  }
                  const double number = given.number(0, 1);
                  if (!(number > 0 && number < 1)) {
                    given.fail(fmt::format("is {:.1f}, which is out of range", number));
                  }
                  value = {number, true};
                },
                [&] {
                  return value.fraction ? ParameterValue{value.value}
                                        : ParameterValue{static_cast<int64_t>(value.value)};
                }});
}

void Fields::color(const Field& field, Rgb& value) {
  visit(field, {"an integer from 0 to 255, or a list of three: red, green, blue",
                [&](const GivenValue& given) {
                  if (!std::holds_alternative<ParameterList>(given.value().value)) {
                    value.fill(static_cast<uint8_t>(given.integer(0, 255)));
                    return;
                  }
                  const std::vector<GivenValue> items = given.items(value.size());
                  for (size_t c = 0; c < value.size(); ++c) {
                    value[c] = static_cast<uint8_t>(items[c].integer(0, 255));
                  }
                },
                [&] { return list_value(value); }});
}

void Fields::label(const Field& field, int& value, bool optional) {
  visit(field, {optional ? "a label from 0 to 255 (255 is ignored), or \"none\""
                         : "a label from 0 to 255 (255 is ignored)",
                [&, optional](const GivenValue& given) {
                  const auto* text = std::get_if<std::string>(&given.value().value);
                  const bool none = optional && text != nullptr && *text == "none";
                  value = none ? kKeepLabel : static_cast<int>(given.integer(0, 255));
                },
                [&] {
                  return value == kKeepLabel ? ParameterValue{std::string("none")}
                                             : ParameterValue{int64_t{value}};
                }});
}

}  // namespace macadam
