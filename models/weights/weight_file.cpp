#include "models/weights/weight_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "base/to_size.h"
#include "models/weights/hdf5_file.h"
#include "models/weights/mapped_weights.h"

namespace macadam {

namespace {

constexpr uint32_t kExponentBits = 0x7f800000;

bool non_finite(float value) {
  return (std::bit_cast<uint32_t>(value) & kExponentBits) == kExponentBits;
}

}  // namespace

WeightFile::WeightFile(std::string name, std::vector<WeightTensor> tensors)
    : name_(std::move(name)), tensors_(std::move(tensors)) {
  for (size_t i = 0; i < tensors_.size(); ++i) places_.emplace(tensors_[i].name, i);
}

std::optional<size_t> WeightFile::find(std::string_view name) const {
  const auto found = places_.find(name);
  if (found == places_.end()) return std::nullopt;
  return found->second;
}

std::optional<std::span<const float>> WeightFile::view(size_t) const { return std::nullopt; }

std::unique_ptr<WeightFile> open_weights(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return open_numpy_folder(path);
  MappedFile file(path);
  if (is_hdf5(file.bytes())) return open_keras_hdf5(std::move(file), path);
  return open_mapped_weights(std::move(file), path);
}

std::optional<size_t> first_non_finite(std::span<const float> values) {
  constexpr size_t kBlock = 4096;  // without a way out inside a block the loop is vectorised
  for (size_t first = 0; first < values.size(); first += kBlock) {
    const auto part = values.subspan(first, std::min(kBlock, values.size() - first));
    bool found = false;
    for (const float value : part) found |= non_finite(value);
    if (!found) continue;
    return first + to_size(std::ranges::find_if(part, non_finite) - part.begin());
  }
  return std::nullopt;
}

void check_finite(std::span<const float> values, std::string_view file, std::string_view tensor) {
  const auto place = first_non_finite(values);
  if (!place) return;
  throw InputError(fmt::format("the weights are not finite (element {} of {} is {})", *place,
                               values.size(), values[*place]),
                   fmt::format("{}: {}", file, quote(tensor)),
                   "use weights from before the training diverged");
}

}  // namespace macadam
