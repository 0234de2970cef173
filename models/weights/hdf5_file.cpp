#include "models/weights/hdf5_file.h"

#include <array>
#include <cstring>
#include <string_view>

#ifdef MACADAM_HAS_HDF5
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <unordered_set>
#include <utility>

#include "base/text.h"
#include "models/weights/confined.h"
#include "models/weights/hdf5_reader.h"
#endif

#include "base/error.h"
#include "base/to_size.h"
#include "models/weights/byte_reader.h"

namespace macadam {

bool is_hdf5(std::span<const std::byte> bytes) {
  // The superblock lies at 0, or behind a user block of 512, 1024, 2048, ... bytes.
  constexpr std::array<size_t, 4> kPlaces{0, 512, 1024, 2048};
  constexpr std::string_view kSignature = "\x89HDF\r\n\x1a\n";
  for (const size_t place : kPlaces) {
    if (place < bytes.size() && text_of(bytes.subspan(place)).starts_with(kSignature)) return true;
  }
  return false;
}

#ifndef MACADAM_HAS_HDF5

bool has_hdf5() { return false; }

std::unique_ptr<WeightFile> open_keras_hdf5(MappedFile, const std::filesystem::path& path) {
  throw InputError("this build cannot read HDF5, the format of Keras weights", path.string(),
                   "install libhdf5-dev and build again with MACADAM_HDF5=ON, or save the weights "
                   "as .safetensors");
}

#else

namespace {

constexpr size_t kMaxRank = 32;  // HDF5's own limit

/// Far more than Keras's files take: 100 MB are read in a tenth of a second.
ConfinedLimits limits_for(size_t file_bytes) {
  const auto megabytes = static_cast<int>(std::min<size_t>(file_bytes >> 20, 1 << 20));
  ConfinedLimits limits;
  limits.memory_bytes = (size_t{512} << 20) + 8 * file_bytes;
  limits.cpu_seconds = 2 + megabytes / 5;
  limits.wall_seconds = 60 + megabytes;  // a busy machine, a slow network disk
  limits.answer_bytes = (size_t{64} << 20) + 2 * file_bytes;
  return limits;
}

template <typename T>
void append(std::string& text, T number) {
  text.append(reinterpret_cast<const char*>(&number), sizeof(T));
}

/// A table of contents as a child answers it.
std::string to_bytes(std::span<const WeightTensor> tensors) {
  std::string bytes;
  append(bytes, static_cast<uint64_t>(tensors.size()));
  for (const WeightTensor& tensor : tensors) {
    append(bytes, static_cast<uint64_t>(tensor.name.size()));
    bytes += tensor.name;
    append(bytes, static_cast<uint8_t>(tensor.dtype));
    append(bytes, static_cast<uint8_t>(tensor.shape.size()));
    for (const int64_t extent : tensor.shape) append(bytes, extent);
  }
  return bytes;
}

/// The contents, believed no more than the file: a hostile one may have made the child say
/// anything.
std::vector<WeightTensor> from_bytes(std::string_view answer, std::string_view file,
                                     int64_t most_elements) {
  ByteReader reader(std::as_bytes(std::span(answer)), file, "the list of tensors");
  const auto fail = [&] { damaged("the list of tensors contradicts itself", file); };
  const auto count = reader.number<uint64_t>();
  std::vector<WeightTensor> tensors;
  std::unordered_set<std::string> names;
  for (uint64_t i = 0; i < count; ++i) {
    WeightTensor tensor;
    tensor.name = text_of(reader.take(reader.number<uint64_t>()));
    const auto dtype = reader.number<uint8_t>(), rank = reader.number<uint8_t>();
    if (dtype > static_cast<uint8_t>(StoredType::f64) || rank > kMaxRank) fail();
    tensor.dtype = StoredType{dtype};
    int64_t all = 1;
    for (uint8_t d = 0; d < rank; ++d) {
      const auto extent = tensor.shape.emplace_back(reader.number<int64_t>());
      if (extent < 0 || __builtin_mul_overflow(all, extent, &all) || all > most_elements) fail();
    }
    most_elements -= all;
    if (tensor.name.empty() || !is_utf8(tensor.name) || !names.insert(tensor.name).second) fail();
    tensors.push_back(std::move(tensor));
  }
  if (reader.left() != 0 || tensors.empty()) fail();
  return tensors;
}

std::vector<WeightTensor> contents_of(std::span<const std::byte> image, const std::string& file) {
  const std::string answer = run_confined([&] { return to_bytes(list_hdf5_tensors(image, file)); },
                                          limits_for(image.size()), file);
  return from_bytes(answer, file, most_hdf5_elements(image.size()));
}

class KerasFile final : public WeightFile {
 public:
  KerasFile(MappedFile file, const std::filesystem::path& path)
      : WeightFile(path.string(), contents_of(file.bytes(), path.string())),
        file_(std::move(file)) {
    for (const WeightTensor& tensor : tensors()) {
      begins_.push_back(all_);
      all_ += to_size(elements(tensor.shape));
    }
  }

  void read(size_t index, std::span<float> out) const override {
    require(out.size() == to_size(elements(tensors()[index].shape)),
            "the buffer has room for exactly the elements of the tensor");
    if (!values_) read_all();
    if (readable_[index] != '1') {
      damaged("the data of a tensor cannot be read",
              fmt::format("{}: {}", name(), quote(tensors()[index].name)));
    }
    if (out.empty()) return;
    std::memcpy(out.data(), values_->bytes().data() + begins_[index] * sizeof(float),
                out.size_bytes());
  }
  std::string_view format() const override { return "Keras HDF5"; }
  bool keras() const override { return true; }

 private:
  /// At once: a child finds the tensors anew.
  void read_all() const {
    auto values = std::make_unique<SharedMemory>(all_ * sizeof(float), name());
    const std::span<float> floats(reinterpret_cast<float*>(values->bytes().data()), all_);
    readable_ = run_confined([&] { return read_hdf5_tensors(file_.bytes(), name(), floats); },
                             limits_for(file_.bytes().size()), name());
    if (readable_.size() != tensors().size()) {
      damaged("the list of tensors contradicts itself", name());
    }
    values_ = std::move(values);
  }

  MappedFile file_;
  std::vector<size_t> begins_;  // of each tensor among all values
  size_t all_ = 0;
  mutable std::unique_ptr<SharedMemory> values_;  // once somebody asked
  mutable std::string readable_;                  // '1' or '0' a tensor
};

}  // namespace

bool has_hdf5() { return true; }

std::unique_ptr<WeightFile> open_keras_hdf5(MappedFile file, const std::filesystem::path& path) {
  return std::make_unique<KerasFile>(std::move(file), path);
}

#endif

}  // namespace macadam
