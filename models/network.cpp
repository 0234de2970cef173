#include "models/network.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "base/text.h"
#include "base/to_size.h"
#include "engine/model/model_info.h"
#include "kernels/classes.h"
#include "models/auxiliary_head.h"
#include "models/encoder_unets.h"
#include "models/keras_unets.h"
#include "models/realtime/realtime.h"
#include "models/unet.h"
#include "models/unet_mini.h"

namespace macadam {

namespace {

/// Labels of a classifier at most: no kernel holds all of its scores at once.
constexpr int kMaxLabels = 65536;

std::vector<NetworkEntry> all_networks() {
  std::vector<NetworkEntry> all{unet_mini(), unet()};
  for (const auto& family :
       {encoder_unets(), keras_unets(), all_realtime_networks(), classifiers()}) {
    all.insert(all.end(), family.begin(), family.end());
  }
  return all;
}

std::string_view option_text(const NetworkSpec& spec, const NetworkOption& option) {
  const auto found = spec.options.find(std::string(option.key));
  return found == spec.options.end() ? option.default_value : std::string_view(found->second);
}

InputError bad_option(const NetworkSpec& spec, const NetworkOption& option, std::string_view text,
                      std::string_view wanted) {
  return InputError(fmt::format("'{}' is not {}", text, wanted),
                    fmt::format("network.{}", option.key), "see `macadam info " + spec.name + "`");
}

}  // namespace

std::span<const NetworkEntry> networks() {
  static const std::vector<NetworkEntry> entries = all_networks();
  return entries;
}

std::vector<NetworkOption> options_of(const NetworkEntry& entry) {
  std::vector<NetworkOption> options(entry.options.begin(), entry.options.end());
  if (entry.task == Task::segmentation) {
    options.push_back(entry.parts.auxiliary.empty() ? kAuxiliaryOption : kOwnAuxiliaryOption);
  }
  return options;
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

const NetworkEntry& find_segmentation_network(std::string_view name) {
  const NetworkEntry& entry = find_network(name);
  if (entry.task != Task::segmentation) {
    throw InputError("the network is a classifier", std::string(name),
                     "choose a network that `macadam info` does not call a classifier");
  }
  return entry;
}

bool bool_option(const NetworkSpec& spec, const NetworkOption& option) {
  const std::string_view text = option_text(spec, option);
  if (text != "true" && text != "false") throw bad_option(spec, option, text, "true or false");
  return text == "true";
}

size_t choice_option(const NetworkSpec& spec, const NetworkOption& option,
                     std::span<const std::string_view> choices) {
  const std::string_view text = option_text(spec, option);
  const auto found = std::find(choices.begin(), choices.end(), text);
  if (found == choices.end()) {
    throw bad_option(spec, option, text, fmt::format("one of {}", fmt::join(choices, ", ")));
  }
  return to_size(found - choices.begin());
}

float float_option(const NetworkSpec& spec, const NetworkOption& option, float low, float high) {
  const std::string_view text = option_text(spec, option);
  float value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool number = error == std::errc() && end == text.data() + text.size();
  if (!number || !(value >= low && value <= high)) {
    throw bad_option(spec, option, text, fmt::format("a number from {} to {}", low, high));
  }
  return value;
}

Graph build_network(const NetworkSpec& spec, Shape input) {
  const NetworkEntry& entry = find_network(spec.name);
  const int most = entry.task == Task::segmentation ? kMaxLossClasses : kMaxLabels;
  if (spec.classes < 2 || spec.classes > most) {
    throw InputError(fmt::format("{} classes", spec.classes), spec.name,
                     fmt::format("the network takes 2 to {} classes", most));
  }
  for (const auto& [key, value] : spec.options) {
    std::vector<std::string> known;
    for (const NetworkOption& option : options_of(entry)) known.emplace_back(option.key);
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      throw InputError(
          fmt::format("{} has no option '{}'", spec.name, key), "network." + key,
          known.empty() ? "it takes none" : fmt::format("did you mean '{}'?", nearest(key, known)));
    }
  }
  if (input.h > kMaxModelExtent || input.w > kMaxModelExtent) {
    throw InputError(fmt::format("images of {}x{} (height x width)", input.h, input.w), "size",
                     fmt::format("use at most {} pixels a side", kMaxModelExtent));
  }
  const int m = entry.size_multiple, least = std::max(m, entry.minimum_size);
  if (input.h < least || input.w < least || input.h % m != 0 || input.w % m != 0) {
    throw InputError(fmt::format("{} does not take images of {}x{} (height x width)", spec.name,
                                 input.h, input.w),
                     "size",
                     m > 1 ? fmt::format("use multiples of {}", m)
                           : fmt::format("use at least {} pixels a side", least));
  }
  Graph graph = entry.build(spec, input);
  if (entry.task == Task::segmentation && entry.parts.auxiliary.empty()) {
    const float auxiliary = auxiliary_weight(spec);
    if (auxiliary > 0) add_auxiliary_head(graph, spec.classes, auxiliary);
  }
  graph.mark_encoder(entry.parts.encoder);
  return graph;
}

}  // namespace macadam
