#include "engine/model/model_info.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/json_text.h"
#include "base/rgb.h"
#include "base/text.h"
#include "kernels/classes.h"

namespace macadam {

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxJsonBytes = 1 << 20;
constexpr int kMaxJsonDepth = 4;

/// Parses JSON without duplicate keys or deep nesting.
Json strict_json(std::string_view text, std::string_view file) {
  const auto fail = [&](std::string_view what) {
    throw InputError(what, file, "save the model again");
  };
  if (text.size() > kMaxJsonBytes) fail("the description of the model is too long");
  std::vector<std::set<std::string>> keys;
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxJsonDepth) fail("the description of the model is nested too deeply");
    if (event == Json::parse_event_t::object_start) {
      keys.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      keys.pop_back();
    } else if (event == Json::parse_event_t::key) {
      if (!keys.back().insert(parsed.get<std::string>()).second) {
        fail(fmt::format("the description of the model has {} twice",
                         quote(parsed.get<std::string>())));
      }
    }
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const Json::exception&) {
    fail("the description of the model is not JSON");
    throw;
  }
}

/// One JSON object, read field by field; errors name the file and the field.
class Fields {
 public:
  Fields(const Json& object, std::string_view file) : object_(object), file_(file) {
    if (!object.is_object()) {
      throw InputError("the description of the model is not a JSON object", file,
                       "save the model again");
    }
  }

  std::string text(const char* key) const {
    const Json& value = at(key);
    if (!value.is_string()) fail(key, "a string");
    return value.get<std::string>();
  }

  bool boolean(const char* key) const {
    const Json& value = at(key);
    if (!value.is_boolean()) fail(key, "true or false");
    return value.get<bool>();
  }

  int64_t integer(const char* key, int64_t least, int64_t most) const {
    return integer_of(at(key), key, least, most);
  }

  uint64_t unsigned_integer(const char* key) const {
    const Json& value = at(key);
    if (!value.is_number_unsigned()) fail(key, "an integer of at least 0");
    return value.get<uint64_t>();
  }

  /// {"name": number or null}.
  std::map<std::string, double> numbers(const char* key) const {
    std::map<std::string, double> result;
    for (const auto& [name, value] : object_at(key).items()) {
      if (!value.is_number() && !value.is_null()) fail(key, "an object of numbers");
      result[name] =
          value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
    }
    return result;
  }

  std::map<std::string, std::string> texts(const char* key) const {
    std::map<std::string, std::string> result;
    for (const auto& [name, value] : object_at(key).items()) {
      if (!value.is_string()) fail(key, "an object of strings");
      result[name] = value.get<std::string>();
    }
    return result;
  }

  std::vector<std::string> text_list(const char* key) const {
    std::vector<std::string> result;
    for (const Json& value : array_at(key)) {
      if (!value.is_string()) fail(key, "a list of strings");
      result.push_back(value.get<std::string>());
    }
    return result;
  }

  std::vector<uint8_t> bytes(const char* key) const { return bytes_of(array_at(key), key); }

  std::vector<Rgb> colors(const char* key) const {
    std::vector<Rgb> result;
    for (const Json& value : array_at(key)) {
      if (!value.is_array() || value.size() != 3) fail(key, "a list of [red, green, blue]");
      const std::vector<uint8_t> rgb = bytes_of(value, key);
      result.push_back({rgb[0], rgb[1], rgb[2]});
    }
    return result;
  }

  /// A finite number above 0.
  float positive(const char* key) const {
    const Json& value = at(key);
    const float number = value.is_number() ? value.get<float>() : 0;
    if (!std::isfinite(number) || number <= 0) fail(key, "a finite number above 0");
    return number;
  }

  /// Three finite numbers above `least`.
  std::array<float, 3> triple(const char* key, float least) const {
    const Json& list = array_at(key);
    std::array<float, 3> result{};
    if (list.size() != result.size()) fail(key, "three numbers");
    for (size_t i = 0; i < result.size(); ++i) {
      if (!list[i].is_number()) fail(key, "three numbers");
      result[i] = list[i].get<float>();
      if (!std::isfinite(result[i]) || result[i] <= least) fail(key, "three finite numbers");
    }
    return result;
  }

  [[noreturn]] void fail(const char* key, std::string_view expected) const {
    throw InputError(fmt::format("the model's '{}' is not {}", key, expected), file_,
                     "save the model again");
  }

 private:
  const Json& at(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end()) {
      throw InputError(fmt::format("the model does not say its '{}'", key), file_,
                       "save the model again");
    }
    return *found;
  }

  const Json& array_at(const char* key) const {
    const Json& value = at(key);
    if (!value.is_array()) fail(key, "a list");
    return value;
  }

  const Json& object_at(const char* key) const {
    const Json& value = at(key);
    if (!value.is_object()) fail(key, "an object");
    return value;
  }

  int64_t integer_of(const Json& value, const char* key, int64_t least, int64_t most) const {
    // A value above the signed range would wrap around in get<int64_t>.
    const bool fits = value.is_number_integer() && (!value.is_number_unsigned() ||
                                                    std::in_range<int64_t>(value.get<uint64_t>()));
    if (!fits || value.get<int64_t>() < least || value.get<int64_t>() > most) {
      fail(key, fmt::format("an integer from {} to {}", least, most));
    }
    return value.get<int64_t>();
  }

  std::vector<uint8_t> bytes_of(const Json& list, const char* key) const {
    std::vector<uint8_t> result;
    for (const Json& value : list) {
      result.push_back(static_cast<uint8_t>(integer_of(value, key, 0, 255)));
    }
    return result;
  }

  const Json& object_;
  std::string_view file_;
};

}  // namespace

std::string to_json(const ModelInfo& info) {
  const Json json = {{"format_version", kModelFormatVersion},
                     {"macadam_version", info.macadam_version},
                     {"network", info.network},
                     {"network_options", info.network_options},
                     {"class_names", info.class_names},
                     {"palette", info.palette},
                     {"inverse_ids", info.inverse_ids},
                     {"label_set", info.label_set},
                     {"void_is_class", info.void_is_class},
                     {"height", info.height},
                     {"width", info.width},
                     {"mean", info.normalization.mean},
                     {"std", info.normalization.std},
                     {"range", info.normalization.range},
                     {"bgr", info.normalization.bgr},
                     {"precision", info.precision},
                     {"seed", info.seed},
                     {"epoch", info.epoch},
                     {"step", info.step},
                     {"metrics", info.metrics},
                     {"progress", info.progress}};
  return exact_json_text(json, "a text that describes the model is not UTF-8", info.network,
                         "rename the classes");
}

ModelInfo parse_model_info(std::string_view json, std::string_view file) {
  const Json root = strict_json(json, file);
  const Fields fields(root, file);
  constexpr int64_t kAny = std::numeric_limits<int64_t>::max();
  const int64_t version = fields.integer("format_version", 1, kAny);
  if (version > kModelFormatVersion) {
    throw InputError(fmt::format("the model has format version {}, this program reads up to {}",
                                 version, kModelFormatVersion),
                     file, "update macadam");
  }
  ModelInfo info;
  info.macadam_version = fields.text("macadam_version");
  info.network = fields.text("network");
  info.network_options = fields.texts("network_options");
  info.class_names = fields.text_list("class_names");
  info.palette = fields.colors("palette");
  info.inverse_ids = fields.bytes("inverse_ids");
  info.label_set = fields.text("label_set");
  info.void_is_class = fields.boolean("void_is_class");
  info.height = static_cast<int>(fields.integer("height", 1, kMaxModelExtent));
  info.width = static_cast<int>(fields.integer("width", 1, kMaxModelExtent));
  info.normalization.mean = fields.triple("mean", std::numeric_limits<float>::lowest());
  info.normalization.std = fields.triple("std", 0);
  if (version >= 2) {  // before, every network read R, G, B from 0 to 1
    info.normalization.range = fields.positive("range");
    info.normalization.bgr = fields.boolean("bgr");
  }
  info.precision = fields.text("precision");
  info.seed = fields.unsigned_integer("seed");
  info.epoch = fields.integer("epoch", 0, kAny);
  info.step = fields.integer("step", 0, kAny);
  info.metrics = fields.numbers("metrics");
  info.progress = fields.numbers("progress");

  const size_t classes = info.class_names.size();
  if (classes == 0 || classes > kMaxClasses)
    fields.fail("class_names", fmt::format("1 to {} names", kMaxClasses));
  if (info.palette.size() != classes) fields.fail("palette", "one colour a class");
  if (info.inverse_ids.size() != classes) fields.fail("inverse_ids", "one id a class");
  return info;
}

}  // namespace macadam
