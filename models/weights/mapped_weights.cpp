#include "models/weights/mapped_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/files.h"
#include "base/folder.h"
#include "base/text.h"
#include "models/weights/byte_reader.h"
#include "models/weights/numpy_file.h"
#include "models/weights/torch_file.h"
#include "models/weights/torch_state.h"
#include "models/weights/zip_archive.h"

namespace macadam {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kKnownFormats =
    "name a .safetensors, .pth, .pt, .h5 or .npz file, or a folder of .npy files";
constexpr std::string_view kNpySuffix = ".npy";
constexpr size_t kMaxFiles = 20'000;  // each takes one of the process's 65,530 mappings
constexpr size_t kTarMagicPlace = 257;

std::vector<WeightTensor> described(std::span<const NamedArray> arrays) {
  std::vector<WeightTensor> tensors;
  for (const auto& [name, array] : arrays) tensors.push_back({name, array.shape, array.dtype});
  return tensors;
}

class MappedWeights final : public WeightFile {
 public:
  MappedWeights(std::string_view format, const fs::path& path, std::vector<MappedFile> files,
                std::vector<NamedArray> arrays)
      : WeightFile(path.string(), described(arrays)),
        format_(format),
        files_(std::move(files)),
        arrays_(std::move(arrays)) {}

  void read(size_t index, std::span<float> out) const override {
    read_array(arrays_.at(index).array, out, Pages::give_back);
  }
  std::optional<std::span<const float>> view(size_t index) const override {
    return view_array(arrays_.at(index).array);
  }
  std::string_view format() const override { return format_; }

 private:
  std::string_view format_;
  std::vector<MappedFile> files_;
  std::vector<NamedArray> arrays_;
};

std::vector<NamedArray> read_safetensors(std::span<const std::byte> bytes, std::string_view file) {
  const SafetensorsContent content = parse_safetensors(bytes, file);
  std::vector<NamedArray> arrays;
  for (const auto& [name, tensor] : content.tensors) {
    check_tensor_name(name, file);
    const auto where = fmt::format("{}: {}", file, quote(name));
    arrays.push_back({name, stored_array(tensor.type, tensor.shape,
                                         contiguous_strides(tensor.shape), 0, tensor.data, where)});
  }
  strip_common_prefixes(arrays);
  return arrays;
}

std::vector<NamedArray> read_npz(const ZipArchive& archive, std::string_view file) {
  std::vector<NamedArray> arrays;
  for (const ZipArchive::Entry& entry : archive.entries()) {
    if (!entry.name.ends_with(kNpySuffix)) continue;
    const auto name = entry.name.substr(0, entry.name.size() - kNpySuffix.size());
    const auto where = fmt::format("{}: {}", file, quote(name));
    arrays.push_back({std::string(name), read_npy(archive.content(entry), where)});
  }
  return arrays;
}

ParsedWeights parse_zip(std::span<const std::byte> bytes, std::string_view file) {
  const ZipArchive archive(bytes, file);
  if (is_torch_zip(archive)) return {"PyTorch", read_torch_zip(archive, file)};
  if (archive.find("model.weights.h5") != nullptr) {
    throw InputError("Keras 3's .keras format is not supported", file,
                     "save the model with model.save('model.h5') or the weights as .safetensors");
  }
  ParsedWeights weights{"NumPy archive", read_npz(archive, file)};
  if (weights.arrays.empty()) {
    throw InputError("a zip archive without weights (no data.pkl of torch.save, no .npy files)",
                     file, kKnownFormats);
  }
  return weights;
}

/// What people take for weights: half a download, or something else altogether.
[[noreturn]] void refuse_unknown(std::span<const std::byte> bytes, std::string_view file) {
  const std::string_view text = text_of(bytes);
  const auto fail = [&](std::string_view what, std::string_view remedy) {
    throw InputError(what, file, remedy);
  };
  if (text.empty()) fail("the file is empty", kDownloadAgain);
  refuse_git_lfs_pointer(bytes, file);
  if (text.starts_with("<!DOCTYPE") || text.starts_with("<!doctype") || text.starts_with("<html")) {
    fail("a web page in place of weights", "download the file itself from its page");
  }
  if (text.size() > kTarMagicPlace && text.substr(kTarMagicPlace).starts_with("ustar")) {
    fail("PyTorch's tar format of 2016 is not supported",
         "load it in PyTorch (torch.load) and save the state_dict() again");
  }
  if (is_npy(bytes)) {
    fail("a single array without a name", "put it into a folder as NAME.npy and name the folder");
  }
  throw InputError("the format of the weights is not known", file, kKnownFormats);
}

/// The .npy files below `folder`, sorted.
std::vector<fs::path> find_npy_files(const fs::path& folder) {
  const std::array extensions{kNpySuffix};
  FolderFiles found =
      files_below(folder, {.extensions = extensions, .max_entries = 10 * kMaxFiles});
  if (!found.unusable.empty()) {
    const UnusableEntry& first = found.unusable.front();
    throw InputError(first.what, first.path.string(), "mend or remove it");
  }
  return std::move(found.files);
}

}  // namespace

ParsedWeights parse_weights(std::span<const std::byte> bytes, std::string_view file) {
  constexpr auto kPickleBegin = std::byte{0x80};
  ParsedWeights weights;
  if (is_zip(bytes)) {
    weights = parse_zip(bytes, file);
  } else if (!bytes.empty() && bytes[0] == kPickleBegin) {
    weights = {"PyTorch (before 1.6)", read_torch_legacy(bytes, file)};
  } else if (bytes.size() > sizeof(uint64_t) && bytes[sizeof(uint64_t)] == std::byte{'{'}) {
    weights = {"safetensors", read_safetensors(bytes, file)};
  } else {
    refuse_unknown(bytes, file);
  }
  check_arrays(weights.arrays, bytes.size(), file);
  return weights;
}

std::unique_ptr<WeightFile> open_mapped_weights(MappedFile file, const fs::path& path) {
  auto [format, arrays] = parse_weights(file.bytes(), path.string());
  std::vector<MappedFile> files;
  files.push_back(std::move(file));
  return std::make_unique<MappedWeights>(format, path, std::move(files), std::move(arrays));
}

std::unique_ptr<WeightFile> open_numpy_folder(const fs::path& folder) {
  const std::vector<fs::path> paths = find_npy_files(folder);
  if (paths.empty()) {
    throw InputError("no .npy files in the folder", folder.string(), kKnownFormats);
  }
  if (paths.size() > kMaxFiles) {
    throw InputError(fmt::format("the folder has more than {} .npy files", kMaxFiles),
                     folder.string(), "name a folder that holds the weights alone");
  }
  std::vector<MappedFile> files;
  std::vector<NamedArray> arrays;
  size_t bytes = 0;
  for (const fs::path& path : paths) {
    const MappedFile& file = files.emplace_back(path);
    bytes += file.bytes().size();
    const std::string name = path.lexically_relative(folder).replace_extension().generic_string();
    arrays.push_back({name, read_npy(file.bytes(), path.string())});
  }
  check_arrays(arrays, bytes, folder.string());
  return std::make_unique<MappedWeights>("NumPy folder", folder, std::move(files),
                                         std::move(arrays));
}

}  // namespace macadam
