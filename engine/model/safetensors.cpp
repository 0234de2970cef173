#include "engine/model/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/json_text.h"
#include "base/text.h"
#include "base/to_size.h"
#include "kernels/scalar/half.h"

namespace macadam {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

namespace {

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kMaxRank = 16;
constexpr size_t kDataAlignment = 64;
constexpr std::string_view kMetadataKey = "__metadata__";
constexpr std::string_view kDamaged = "copy or download the file again";

struct TypeRow {
  StoredType type;
  std::string_view name;
  size_t size;
};

constexpr std::array<TypeRow, 15> kTypeRows{{{StoredType::boolean, "BOOL", 1},
                                             {StoredType::u8, "U8", 1},
                                             {StoredType::i8, "I8", 1},
                                             {StoredType::f8_e4m3, "F8_E4M3", 1},
                                             {StoredType::f8_e5m2, "F8_E5M2", 1},
                                             {StoredType::u16, "U16", 2},
                                             {StoredType::i16, "I16", 2},
                                             {StoredType::f16, "F16", 2},
                                             {StoredType::bf16, "BF16", 2},
                                             {StoredType::u32, "U32", 4},
                                             {StoredType::i32, "I32", 4},
                                             {StoredType::f32, "F32", 4},
                                             {StoredType::u64, "U64", 8},
                                             {StoredType::i64, "I64", 8},
                                             {StoredType::f64, "F64", 8}}};

const TypeRow& row_of(StoredType type) { return kTypeRows.at(static_cast<size_t>(type)); }

std::optional<StoredType> type_named(std::string_view name) {
  const auto row = std::ranges::find(kTypeRows, name, &TypeRow::name);
  if (row == kTypeRows.end()) return std::nullopt;
  return row->type;
}

/// Nothing when the product does not fit.
std::optional<int64_t> product(int64_t a, uint64_t b) {
  int64_t result = 0;
  if (__builtin_mul_overflow(a, b, &result)) return std::nullopt;
  return result;
}

/// A tensor as its header describes it.
struct Entry {
  std::optional<StoredType> type;
  std::optional<std::vector<uint64_t>> shape;
  std::optional<std::vector<uint64_t>> offsets;
};

/// Reads the header's JSON event by event: it stores only what the format knows, so that a hostile
/// header costs no more memory than an honest one.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(std::string_view file) : file_(file) {}

  std::map<std::string, std::string> metadata;
  std::map<std::string, Entry> entries;

  bool key(string_t& name) override {
    if (place_ == Place::root) {
      name_ = name;
      if (name == kMetadataKey ? std::exchange(has_metadata_, true) : entries.contains(name)) {
        fail("a name occurs twice in the header");
      }
    } else if (place_ == Place::metadata) {
      key_ = name;
      if (metadata.contains(name)) fail("a key occurs twice in __metadata__");
    } else {
      key_ = name;
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::file) {
      place_ = Place::root;
    } else if (place_ == Place::root) {
      place_ = name_ == kMetadataKey ? Place::metadata : Place::tensor;
      if (place_ == Place::tensor) entry_ = &entries[name_];
    } else {
      unexpected();
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor && !(entry_->type && entry_->shape && entry_->offsets)) {
      fail("a tensor lacks dtype, shape or data_offsets");
    }
    place_ = place_ == Place::root ? Place::file : Place::root;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::tensor) unexpected();
    auto& target = key_ == "shape"          ? entry_->shape
                   : key_ == "data_offsets" ? entry_->offsets
                                            : (unexpected(), entry_->shape);
    if (target) fail(fmt::format("{} occurs twice", key_));
    numbers_ = &target.emplace();
    place_ = Place::numbers;
    return true;
  }

  bool end_array() override {
    place_ = Place::tensor;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::numbers) unexpected();
    if (numbers_->size() == kMaxRank) fail(fmt::format("{} has too many numbers", key_));
    numbers_->push_back(value);
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::metadata) {
      metadata[key_] = std::move(value);
    } else if (place_ == Place::tensor && key_ == "dtype") {
      if (entry_->type) fail("dtype occurs twice");
      entry_->type = type_named(value);
      if (!entry_->type) fail(fmt::format("unknown dtype {}", quote(value, 20)));
    } else {
      unexpected();
    }
    return true;
  }

  bool null() override { return unexpected(); }
  bool boolean(bool) override { return unexpected(); }
  bool number_integer(number_integer_t) override { return unexpected(); }
  bool number_float(number_float_t, const string_t&) override { return unexpected(); }
  bool binary(binary_t&) override { return unexpected(); }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    throw InputError(fmt::format("the header is not JSON (byte {})", kLengthBytes + position),
                     file_, kDamaged);
  }

 private:
  enum class Place { file, root, metadata, tensor, numbers };

  [[noreturn]] void fail(std::string_view what) const {
    throw InputError(what, name_.empty() ? file_ : fmt::format("{}: {}", file_, quote(name_)),
                     kDamaged);
  }
  bool unexpected() const { fail("the header holds a value that the format does not know"); }

  std::string file_;
  Place place_ = Place::file;
  bool has_metadata_ = false;
  std::string name_, key_;
  Entry* entry_ = nullptr;
  std::vector<uint64_t>* numbers_ = nullptr;
};

/// Checks type, shape and place of one tensor against the data area.
StoredTensor checked_tensor(const Entry& entry, std::span<const std::byte> data,
                            const std::string& where) {
  StoredTensor tensor;
  tensor.type = *entry.type;
  std::optional<int64_t> size = static_cast<int64_t>(size_of(tensor.type));
  for (const uint64_t extent : *entry.shape) {
    if (size) size = product(*size, extent);
    if (!size || !std::in_range<int64_t>(extent)) {
      throw InputError("the shape is too large for any file", where, kDamaged);
    }
    tensor.shape.push_back(static_cast<int64_t>(extent));
  }
  if (entry.offsets->size() != 2) {
    throw InputError("data_offsets is not a pair", where, kDamaged);
  }
  const uint64_t begin = entry.offsets->at(0), end = entry.offsets->at(1);
  if (begin > end || end > data.size()) {
    throw InputError(
        fmt::format("the data of a tensor lies outside the file (bytes {} to {} of {})", begin, end,
                    data.size()),
        where, kDamaged);
  }
  if (end - begin != static_cast<uint64_t>(*size)) {
    throw InputError(fmt::format("a tensor of type {} and shape {} needs {} bytes, not {}",
                                 name_of(tensor.type), text_of(tensor.shape), *size, end - begin),
                     where, kDamaged);
  }
  tensor.data = data.subspan(begin, end - begin);
  return tensor;
}

/// Throws unless the tensors fill the data area one after the other.
void check_contiguous(const std::map<std::string, StoredTensor>& tensors,
                      std::span<const std::byte> data, std::string_view file) {
  std::vector<std::pair<std::span<const std::byte>, const std::string*>> places;
  places.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) places.emplace_back(tensor.data, &name);
  std::ranges::sort(places, [](const auto& a, const auto& b) {
    return std::pair(a.first.data(), a.first.size()) < std::pair(b.first.data(), b.first.size());
  });
  const std::byte* next = data.data();
  for (const auto& [place, name] : places) {
    if (place.data() != next) {
      throw InputError(
          place.data() < next ? "tensors overlap" : "a hole before the data of a tensor",
          fmt::format("{}: {}", file, quote(*name)), kDamaged);
    }
    next = place.data() + place.size();
  }
  const auto unused = data.data() + data.size() - next;
  if (unused != 0) {
    throw InputError(fmt::format("{} bytes at the end belong to no tensor", unused), file,
                     kDamaged);
  }
}

template <typename T>
std::vector<float> convert(std::span<const std::byte> data) {
  std::vector<float> result(data.size() / sizeof(T));
  for (size_t i = 0; i < result.size(); ++i) {
    T value;
    std::memcpy(&value, data.data() + i * sizeof(T), sizeof(T));
    if constexpr (std::is_same_v<T, bf16> || std::is_same_v<T, f16>) {
      result[i] = scalar::to_float(value);
    } else {
      result[i] = static_cast<float>(value);
    }
  }
  return result;
}

}  // namespace

std::string_view name_of(StoredType type) { return row_of(type).name; }

size_t size_of(StoredType type) { return row_of(type).size; }

int64_t elements(const TensorShape& shape) {
  int64_t count = 1;
  for (const int64_t extent : shape) {
    require(extent >= 0 && !__builtin_mul_overflow(count, extent, &count),
            "the number of elements fits 64 bits");
  }
  return count;
}

std::string text_of(const TensorShape& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

SafetensorsContent parse_safetensors(std::span<const std::byte> bytes, std::string_view file) {
  const auto fail = [&](std::string_view what) { throw InputError(what, file, kDamaged); };
  const auto foreign = [&] {
    refuse_git_lfs_pointer(bytes, file);
    throw InputError("not a safetensors file", file, "name a .safetensors file");
  };
  if (bytes.size() < kLengthBytes + 2) foreign();
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), kLengthBytes);
  const auto header_begin = reinterpret_cast<const char*>(bytes.data() + kLengthBytes);
  if (*header_begin != '{') foreign();
  if (header_bytes > kMaxHeaderBytes) {
    fail(fmt::format("a header of {} bytes (the format allows {})", header_bytes, kMaxHeaderBytes));
  }
  if (header_bytes > bytes.size() - kLengthBytes) {
    fail(fmt::format("the file ends inside its header ({} of {} bytes are there)",
                     bytes.size() - kLengthBytes, header_bytes));
  }
  const std::string_view header(header_begin, header_bytes);
  // The JSON library takes a zero byte for the end of the text.
  if (header.find('\0') != std::string_view::npos) fail("a zero byte in the header");

  HeaderReader reader(file);
  nlohmann::json::sax_parse(header, &reader);
  const auto data = bytes.subspan(kLengthBytes + header_bytes);
  SafetensorsContent content;
  content.metadata = std::move(reader.metadata);
  for (const auto& [name, entry] : reader.entries) {
    content.tensors.emplace(name,
                            checked_tensor(entry, data, fmt::format("{}: {}", file, quote(name))));
  }
  check_contiguous(content.tensors, data, file);
  return content;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(path), content_(parse_safetensors(file_.bytes(), path.string())) {}

void write_safetensors(const std::filesystem::path& path,
                       const std::map<std::string, StoredTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  // Wide elements first: then every tensor begins at a multiple of its element without padding.
  std::vector<std::pair<const std::string*, const StoredTensor*>> order;
  for (const auto& [name, tensor] : tensors) {
    require(name != kMetadataKey, "a tensor is not named __metadata__");
    require(tensor.shape.size() <= kMaxRank, "a stored tensor has at most 16 dimensions");
    require(to_size(elements(tensor.shape)) * size_of(tensor.type) == tensor.data.size(),
            "the data of a tensor matches its shape");
    order.emplace_back(&name, &tensor);
  }
  std::ranges::stable_sort(order, std::greater<>{},
                           [](const auto& item) { return size_of(item.second->type); });

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[std::string(kMetadataKey)] = metadata;
  uint64_t offset = 0;
  std::vector<std::span<const std::byte>> parts(2);
  for (const auto& [name, tensor] : order) {
    const uint64_t end = offset + tensor->data.size();
    header.push_back({*name,
                      {{"dtype", name_of(tensor->type)},
                       {"shape", tensor->shape},
                       {"data_offsets", {offset, end}}}});
    parts.push_back(tensor->data);
    offset = end;
  }
  std::string text = exact_json_text(header, "a name or a text of the model is not UTF-8",
                                     path.string(), "rename the classes or the run");
  const size_t used = kLengthBytes + text.size();
  text.append((kDataAlignment - used % kDataAlignment) % kDataAlignment, ' ');
  require(text.size() <= kMaxHeaderBytes, "a header has at most 100 MB");
  const uint64_t header_bytes = text.size();
  parts[0] = std::as_bytes(std::span(&header_bytes, 1));
  parts[1] = std::as_bytes(std::span(text));
  write_file_atomically(path, parts);
}

std::vector<float> to_floats(const StoredTensor& stored, std::string_view file,
                             std::string_view tensor) {
  switch (stored.type) {
    case StoredType::f32: return convert<float>(stored.data);
    case StoredType::f16: return convert<f16>(stored.data);
    case StoredType::bf16: return convert<bf16>(stored.data);
    case StoredType::f64: return convert<double>(stored.data);
    case StoredType::u8: return convert<uint8_t>(stored.data);
    case StoredType::i8: return convert<int8_t>(stored.data);
    case StoredType::u16: return convert<uint16_t>(stored.data);
    case StoredType::i16: return convert<int16_t>(stored.data);
    case StoredType::u32: return convert<uint32_t>(stored.data);
    case StoredType::i32: return convert<int32_t>(stored.data);
    case StoredType::u64: return convert<uint64_t>(stored.data);
    case StoredType::i64: return convert<int64_t>(stored.data);
    case StoredType::boolean:
    case StoredType::f8_e4m3:
    case StoredType::f8_e5m2: break;
  }
  throw InputError(
      fmt::format("a tensor of type {} cannot be used as weights", name_of(stored.type)),
      fmt::format("{}: {}", file, quote(tensor)), "store the weights as F32, F16 or BF16");
}

}  // namespace macadam
