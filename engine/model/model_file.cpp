#include "engine/model/model_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "base/to_size.h"

namespace macadam {

namespace {

constexpr const char* kInfoKey = "macadam";
constexpr std::string_view kOptimizerPrefix = "optimizer.";
constexpr size_t kNamesShown = 3;

Model model_of(const SafetensorsContent& content, std::string_view file, ModelPart part) {
  const auto description = content.metadata.find(kInfoKey);
  if (description == content.metadata.end()) {
    throw InputError("the file holds weights but not a Macadam model", file,
                     "turn it into one with macadam convert");
  }
  Model model;
  model.info = parse_model_info(description->second, file);
  for (const auto& [name, stored] : content.tensors) {
    const bool of_optimizer = name.starts_with(kOptimizerPrefix);
    if (of_optimizer && part == ModelPart::parameters) continue;
    ModelTensor tensor{stored.shape, to_floats(stored, file, name)};
    if (!std::ranges::all_of(tensor.values, [](float v) { return std::isfinite(v); })) {
      throw InputError("the weights hold NaN or infinity", fmt::format("{}: {}", file, quote(name)),
                       "use an earlier model, or train again with a lower lr");
    }
    if (of_optimizer) {
      model.optimizer.emplace(name.substr(kOptimizerPrefix.size()), std::move(tensor));
    } else {
      model.parameters.emplace(name, std::move(tensor));
    }
  }
  return model;
}

template <typename T, typename Describe>
void describe(std::vector<std::string>& lines, std::string_view what, const std::vector<T>& items,
              Describe&& one) {
  if (items.empty()) return;
  std::vector<std::string> shown;
  for (size_t i = 0; i < std::min(items.size(), kNamesShown); ++i) shown.push_back(one(items[i]));
  std::string line = fmt::format("{} {}", what, joined(shown));
  if (items.size() > kNamesShown) line += fmt::format(" and {} more", items.size() - kNamesShown);
  lines.push_back(std::move(line));
}

/// Copies a tensor of `outer` blocks, each a rows x columns matrix, transposing every block.
void transpose_blocks(size_t outer, size_t rows, size_t columns, std::span<const float> from,
                      std::span<float> to) {
  for (size_t block = 0; block < outer; ++block) {
    const float* source = from.data() + block * rows * columns;
    float* target = to.data() + block * rows * columns;
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < columns; ++c) target[c * rows + r] = source[r * columns + c];
    }
  }
}

void check_convolution(const TensorShape& oihw, std::span<const float> from, std::span<float> to) {
  require(oihw.size() == 4, "convolution weights have 4 extents");
  const auto count = to_size(elements(oihw));
  require(from.size() == count && to.size() == count,
          "the weights have as many values as the shape");
}

}  // namespace

Model parse_model(std::span<const std::byte> bytes, std::string_view file, ModelPart part) {
  return model_of(parse_safetensors(bytes, file), file, part);
}

Model load_model(const std::filesystem::path& path, ModelPart part) {
  // Read, not mapped: a server reads files that may be overwritten meanwhile, and what is cut short
  // under a mapping ends the process.
  constexpr size_t kMostBytes = size_t{1} << 40;
  const FileBytes file(path, kMostBytes);
  return parse_model(file.bytes(), path.string(), part);
}

void save_model(const std::filesystem::path& path, const ModelInfo& info,
                const std::map<std::string, ModelTensorView>& parameters,
                const std::map<std::string, ModelTensorView>& optimizer) {
  std::map<std::string, StoredTensor> stored;
  const auto add = [&](std::string name, const ModelTensorView& tensor) {
    stored.emplace(std::move(name),
                   StoredTensor{StoredType::f32, tensor.shape, std::as_bytes(tensor.values)});
  };
  for (const auto& [name, tensor] : parameters) {
    require(!name.starts_with(kOptimizerPrefix), "no parameter is called optimizer.*");
    add(name, tensor);
  }
  for (const auto& [name, tensor] : optimizer) add(std::string(kOptimizerPrefix) + name, tensor);
  // "format": PyTorch's tools ask for it.
  write_safetensors(path, stored, {{"format", "pt"}, {kInfoKey, to_json(info)}});
}

std::string ParameterDifference::text() const {
  std::vector<std::string> lines;
  const auto name = [](const std::string& n) { return quote(n); };
  describe(lines, "missing", missing, name);
  describe(lines, "unexpected", unexpected, name);
  describe(lines, "wrong shape", wrong_shape, [](const WrongShape& w) {
    return fmt::format("{} ({} instead of {})", quote(w.name), text_of(w.found),
                       text_of(w.expected));
  });
  return joined(lines, "; ");
}

ParameterDifference compare_parameters(const ParameterShapes& expected,
                                       const std::map<std::string, ModelTensor>& found) {
  ParameterDifference difference;
  for (const auto& [name, shape] : expected) {
    const auto match = found.find(name);
    if (match == found.end()) {
      difference.missing.push_back(name);
    } else if (match->second.shape != shape) {
      difference.wrong_shape.push_back({name, shape, match->second.shape});
    }
  }
  for (const auto& [name, tensor] : found) {
    if (!expected.contains(name)) difference.unexpected.push_back(name);
  }
  return difference;
}

void match_parameters(const ParameterShapes& expected,
                      const std::map<std::string, ModelTensor>& found, std::string_view file) {
  const ParameterDifference difference = compare_parameters(expected, found);
  if (difference.none()) return;
  throw InputError(fmt::format("the weights do not fit the network ({})", difference.text()), file,
                   "use a model of this network with the same options and classes");
}

void oihw_to_ohwi(const TensorShape& oihw, std::span<const float> from, std::span<float> to) {
  check_convolution(oihw, from, to);
  transpose_blocks(to_size(oihw[0]), to_size(oihw[1]), to_size(oihw[2] * oihw[3]), from, to);
}

void ohwi_to_oihw(const TensorShape& oihw, std::span<const float> from, std::span<float> to) {
  check_convolution(oihw, from, to);
  transpose_blocks(to_size(oihw[0]), to_size(oihw[2] * oihw[3]), to_size(oihw[1]), from, to);
}

}  // namespace macadam
