#include "models/weights/keras_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace macadam {

namespace {

/// Keras 1's names. Its running_std is a variance.
constexpr std::array<std::pair<std::string_view, std::string_view>, 4> old_kinds{
    {{"W", "kernel"},
     {"b", "bias"},
     {"running_mean", "moving_mean"},
     {"running_std", "moving_variance"}}};

/// Without ":0", the number of TensorFlow's output.
std::string_view without_output(std::string_view name) { return name.substr(0, name.rfind(':')); }

std::string_view last_component(std::string_view path) {
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0
}

std::string_view parent(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

/// "kernel_1" is the kernel of a second layer of one name, "conv_W_1" a kernel of Keras 1.
std::string kind_of(std::string_view group, std::string_view weight_name) {
  std::string_view kind = last_component(without_output(weight_name));
  const size_t digits = kind.find_last_not_of("0123456789");
  if (digits != std::string_view::npos && digits > 0 && digits + 1 < kind.size() &&
      kind[digits] == '_') {
    kind = kind.substr(0, digits);
  }
  if (kind.size() > group.size() && kind.starts_with(group) && kind[group.size()] == '_') {
    kind.remove_prefix(group.size() + 1);
  }
  const auto old = std::ranges::find(old_kinds, kind, &decltype(old_kinds)::value_type::first);
  return std::string(old == old_kinds.end() ? kind : old->second);
}

}  // namespace

std::vector<std::string> keras_names(std::string_view group,
                                     std::span<const std::string> weight_names) {
  const bool nested = std::ranges::any_of(weight_names, [&](std::string_view name) {
    return parent(name) != parent(weight_names.front());
  });
  std::vector<std::string> names;
  for (const std::string_view name : weight_names) {
    const std::string_view layer = nested ? last_component(parent(name)) : group;
    names.push_back(fmt::format("{}/{}", layer.empty() ? group : layer, kind_of(layer, name)));
  }
  return names;
}

}  // namespace macadam
