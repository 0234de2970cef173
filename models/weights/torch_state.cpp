#include "models/weights/torch_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/text.h"
#include "base/to_size.h"
#include "models/weights/byte_reader.h"

namespace macadam {

namespace {

using Kind = PickleValue::Kind;

/// Where training scripts put the weights, the usual names first.
constexpr std::array<std::string_view, 10> kWeightKeys{
    "state_dict", "model_state_dict", "model_state", "model",  "net",
    "network",    "params",           "weights",     "module", "model_ema"};

constexpr std::string_view kSaveStateDict = "save model.state_dict() in PyTorch and use that file";

/// Looks for the state dict.
class Search {
 public:
  Search(const Pickle& pickle, std::string_view file) : pickle_(pickle), file_(file) {}

  PickleValue find() {
    if (pickle_.root.kind != Kind::dict) {
      throw InputError("the file holds no dictionary of tensors", file_, kSaveStateDict);
    }
    const auto found = find_in(pickle_.root, kMaxDepth);
    if (!found) throw InputError("the file holds no named tensors", file_, kSaveStateDict);
    return *found;
  }

 private:
  static constexpr int kMaxDepth = 4;
  static constexpr size_t kMaxSteps = 4'000'000;

  /// The entries with a text for a key.
  template <typename F>
  void each(const PickleValue& dict, F&& f) {
    const auto items = pickle_.contents(dict);
    for (size_t i = 0; i + 1 < items.size(); i += 2) {
      if (++steps_ > kMaxSteps) damaged("the checkpoint is nested too deeply", file_);
      if (items[i].kind == Kind::text) f(pickle_.text(items[i]), items[i + 1]);
    }
  }

  /// The dictionary of tensors in or below `dict`, nothing if there is none.
  std::optional<PickleValue> find_in(const PickleValue& dict, int depth) {
    bool tensors = false;
    std::array<std::optional<PickleValue>, kWeightKeys.size()> known;
    std::vector<std::pair<std::string_view, PickleValue>> inner;
    each(dict, [&](std::string_view key, const PickleValue& value) {
      tensors |= value.kind == Kind::tensor;
      if (value.kind != Kind::dict || depth == 0) return;
      const auto place = std::ranges::find(kWeightKeys, key);
      if (place != kWeightKeys.end()) {
        known[to_size(place - kWeightKeys.begin())] = value;
      } else if (!key.starts_with("optim")) {
        inner.emplace_back(key, value);
      }
    });
    // First: a checkpoint may keep its best score as a tensor beside the weights.
    for (const auto& value : known) {
      if (!value) continue;
      if (const auto found = find_in(*value, depth - 1)) return found;
    }
    if (tensors) return dict;
    std::optional<PickleValue> found;
    std::string names;
    for (const auto& [key, value] : inner) {
      const auto candidate = find_in(value, depth - 1);
      if (!candidate) continue;
      names += fmt::format("{}{}", names.empty() ? "" : ", ", quote(key));
      if (found) {
        throw InputError(
            fmt::format("the checkpoint holds several sets of weights ({}, ...)", names), file_,
            "save the state_dict() of the one you want");
      }
      found = candidate;
    }
    return found;
  }

  const Pickle& pickle_;
  std::string_view file_;
  size_t steps_ = 0;
};

}  // namespace

std::vector<NamedArray> torch_state(const Pickle& pickle, const StorageBytes& storage_bytes,
                                    std::string_view file) {
  const auto items = pickle.contents(Search(pickle, file).find());
  std::vector<NamedArray> arrays;
  size_t characters = 0;
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    if (items[i + 1].kind != Kind::tensor) continue;
    if (items[i].kind != Kind::text) damaged("a tensor whose name is no text", file);
    const std::string_view text = pickle.text(items[i]);
    check_tensor_name(text, file);
    // Each lies in the pickle once, unless it is remembered and put under many tensors.
    characters += text.size();
    if (characters > pickle.bytes.size()) damaged("tensors of one name", file);
    std::string name(text);
    const std::string where = fmt::format("{}: {}", file, quote(name));
    const PickleTensor& tensor = pickle.tensors[items[i + 1].payload];
    if (!tensor.storage) damaged("a parameter without data", where);
    const PickleStorage& storage = pickle.storages[*tensor.storage];
    arrays.push_back({std::move(name), stored_array(tensor.dtype, tensor.shape, tensor.strides,
                                                    tensor.offset, storage_bytes(storage), where)});
  }
  strip_common_prefixes(arrays);
  return arrays;
}

void strip_common_prefixes(std::vector<NamedArray>& arrays) {
  constexpr std::array<std::string_view, 3> kPrefixes{"module.", "_orig_mod.", "model."};
  if (arrays.empty()) return;
  size_t before = 0;  // characters of what all names begin with
  const auto common = [&] {
    return std::ranges::find_if(kPrefixes, [&](std::string_view prefix) {
      return std::ranges::all_of(arrays, [&](const NamedArray& array) {
        const std::string_view rest = std::string_view(array.name).substr(before);
        return rest.size() > prefix.size() && rest.starts_with(prefix);
      });
    });
  };
  for (auto prefix = common(); prefix != kPrefixes.end(); prefix = common()) {
    before += prefix->size();
  }
  for (NamedArray& array : arrays) array.name.erase(0, before);
}

}  // namespace macadam
