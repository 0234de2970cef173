#include "models/network.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "engine/text.h"
#include "models/unet_mini.h"

namespace macadam {

// One line a network.
std::span<const NetworkEntry> networks() {
  static const std::vector<NetworkEntry> entries{kUnetMini};
  return entries;
}

const NetworkEntry& find_network(std::string_view name) {
  std::vector<std::string> known;
  for (const NetworkEntry& entry : networks()) {
    if (entry.name == name) return entry;
    known.emplace_back(entry.name);
  }
  throw InputError("no such network", std::string(name),
                   fmt::format("did you mean '{}'?", nearest(name, known)));
}

float float_option(const NetworkSpec& spec, const NetworkOption& option, float low, float high) {
  const auto found = spec.options.find(std::string(option.key));
  const std::string_view text =
      found == spec.options.end() ? option.default_value : std::string_view(found->second);
  float value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool number = error == std::errc() && end == text.data() + text.size();
  if (!number || !(value >= low && value <= high)) {
    throw InputError(fmt::format("'{}' is not a number from {} to {}", text, low, high),
                     fmt::format("network.{}", option.key), "see `macadam info " + spec.name + "`");
  }
  return value;
}

Graph build_network(const NetworkSpec& spec, Shape input) {
  const NetworkEntry& entry = find_network(spec.name);
  if (spec.classes < 2 || spec.classes > 64) {
    throw InputError(fmt::format("{} classes", spec.classes), spec.name,
                     "a network takes 2 to 64 classes");
  }
  for (const auto& [key, value] : spec.options) {
    std::vector<std::string> known;
    for (const NetworkOption& option : entry.options) known.emplace_back(option.key);
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      throw InputError(
          fmt::format("{} has no option '{}'", spec.name, key), "network." + key,
          known.empty() ? "it takes none" : fmt::format("did you mean '{}'?", nearest(key, known)));
    }
  }
  const int m = entry.size_multiple;
  if (input.h < m || input.w < m || input.h % m != 0 || input.w % m != 0) {
    throw InputError(fmt::format("{} does not take images of {}x{} (height x width)", spec.name,
                                 input.h, input.w),
                     "size", fmt::format("use multiples of {}", m));
  }
  return entry.build(spec, input);
}

}  // namespace macadam
