#include "models/weights/keras_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "base/to_size.h"

namespace macadam {

namespace {

/// Keras 1's names. Its running_std is a variance.
constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kOldKinds{
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
  const auto old = std::ranges::find(kOldKinds, kind, &decltype(kOldKinds)::value_type::first);
  return std::string(old == kOldKinds.end() ? kind : old->second);
}

/// Sorts by the text, then by the number behind it, however long that is.
auto natural_key(std::string_view name) {
  const size_t digits = name.find_last_not_of("0123456789") + 1;  // npos + 1 is 0
  std::string_view text = name.substr(0, digits), number = name.substr(digits);
  if (text.ends_with('_')) text.remove_suffix(1);
  number.remove_prefix(std::min(number.find_first_not_of('0'), number.size()));
  return std::tuple(name != "layers", text, name.size() > digits, number.size(), number, name);
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
    std::string shown(layer.empty() ? group : layer);
    std::ranges::replace(shown, '/', '_');
    names.push_back(fmt::format("{}/{}", shown, kind_of(layer, name)));
  }
  return names;
}

bool keras3_before(std::string_view group, std::string_view other) {
  return natural_key(group) < natural_key(other);
}

bool keras3_training_state(std::string_view group) {
  return group.ends_with("optimizer") || group.ends_with("metrics") ||
         group.starts_with("seed_generator") || group.ends_with("random_generator");
}

std::optional<std::vector<std::string>> keras3_kinds(std::string_view group, std::string_view layer,
                                                     std::span<const TensorShape> shapes) {
  using Kinds = std::vector<std::string>;
  const auto says = [&](std::string_view word) {
    return group.find(word) != group.npos || layer.find(word) != layer.npos;
  };
  const size_t count = shapes.size();
  const auto kernels =
      to_size(std::ranges::find_if(shapes, [](const TensorShape& s) { return s.size() < 2; }) -
              shapes.begin());
  const bool biased = kernels + 1 == count && shapes.back().size() == 1;
  if (kernels > 0 && (kernels == count || biased)) {
    Kinds kinds;
    if (kernels == 1) {
      kinds = {says("depthwise") ? "depthwise_kernel" : "kernel"};
    } else if (kernels == 2 && says("separable")) {
      kinds = {"depthwise_kernel", "pointwise_kernel"};
    } else {
      return std::nullopt;
    }
    if (biased) kinds.push_back("bias");
    return kinds;
  }
  if (count == 3 && shapes[2].empty() && group.starts_with("normalization")) {
    return Kinds{"mean", "variance", "count"};
  }
  const bool equal_vectors = std::ranges::all_of(
      shapes, [&](const TensorShape& s) { return s.size() == 1 && s == shapes.front(); });
  if (!equal_vectors) return std::nullopt;
  if (count == 4) return Kinds{"gamma", "beta", "moving_mean", "moving_variance"};
  if (count == 3 && (says("batch_norm") || says("bn"))) {
    return Kinds{"beta", "moving_mean", "moving_variance"};
  }
  if (count == 2 && (says("layer_norm") || says("group_norm"))) return Kinds{"gamma", "beta"};
  return std::nullopt;
}

}  // namespace macadam
