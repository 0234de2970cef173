#include "models/weights/stored_array.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_set>

#include "base/text.h"
#include "base/to_size.h"
#include "kernels/scalar/half.h"
#include "models/weights/byte_reader.h"

namespace macadam {

static_assert(std::endian::native == std::endian::little, "the formats are little-endian");

namespace {

constexpr size_t kMaxRank = 16, kMaxNameBytes = 1024;
constexpr size_t kReleaseBytes = size_t{8} << 20;  // pages are given back in pieces of this size
constexpr int64_t kSpareElements = 1 << 20;

bool convertible(StoredType type) {
  return type != StoredType::f8_e4m3 && type != StoredType::f8_e5m2;
}

/// Takes the pages that lie wholly inside `part` out of this process's memory; whoever reads them
/// again gets them from the file again.
void release_pages(std::span<const std::byte> part) {
  static const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t before = reinterpret_cast<uintptr_t>(part.data()) % page;
  const size_t skipped = (page - before) % page;
  if (part.size() < skipped + page) return;
  const std::span<const std::byte> whole = part.subspan(skipped);
  ::madvise(const_cast<std::byte*>(whole.data()), whole.size() / page * page, MADV_DONTNEED);
}

template <typename T>
float float_at(const std::byte* place) {
  T value;
  std::memcpy(&value, place, sizeof(T));
  if constexpr (std::is_same_v<T, bf16> || std::is_same_v<T, f16>) {
    return scalar::to_float(value);
  } else {
    return static_cast<float>(value);
  }
}

template <>
float float_at<bool>(const std::byte* place) {
  return *place == std::byte{0} ? 0.0f : 1.0f;
}

/// The same elements in the same order with as few dimensions as possible.
struct Loops {
  std::vector<int64_t> extents, strides;
};

Loops merged_loops(const StoredArray& array) {
  Loops loops;
  for (size_t d = 0; d < array.shape.size(); ++d) {
    const int64_t extent = array.shape[d], stride = array.strides[d];
    if (extent == 1) continue;
    if (!loops.extents.empty() && loops.strides.back() == extent * stride) {
      loops.extents.back() *= extent;
      loops.strides.back() = stride;
    } else {
      loops.extents.push_back(extent);
      loops.strides.push_back(stride);
    }
  }
  if (loops.extents.empty()) return {{1}, {1}};
  return loops;
}

/// `count` elements, one each `stride`.
template <typename T>
void read_run(const std::byte* from, int64_t count, int64_t stride, float* to) {
  const int64_t step = stride * static_cast<int64_t>(sizeof(T));
  if (stride == 1 && std::is_same_v<T, float>) {
    std::memcpy(to, from, to_size(count) * sizeof(float));
  } else if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) to[i] = float_at<T>(from + i * int64_t{sizeof(T)});
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = float_at<T>(from + i * step);
  }
}

template <typename T>
void read_as(const StoredArray& array, float* to, Pages pages) {
  const auto [extents, strides] = merged_loops(array);
  if (extents.size() == 1 && strides[0] == 1) {
    constexpr auto kPiece = static_cast<int64_t>(kReleaseBytes / sizeof(T));
    for (int64_t first = 0; first < extents[0]; first += kPiece) {
      const int64_t count = std::min(kPiece, extents[0] - first);
      const auto part = array.bytes.subspan(to_size(first) * sizeof(T), to_size(count) * sizeof(T));
      read_run<T>(part.data(), count, 1, to + first);
      if (pages == Pages::give_back) release_pages(part);
    }
    return;
  }
  const size_t outer = extents.size() - 1;
  std::vector<int64_t> index(outer, 0);
  int64_t offset = 0;
  while (true) {
    read_run<T>(array.bytes.data() + offset * int64_t{sizeof(T)}, extents[outer], strides[outer],
                to);
    to += extents[outer];
    size_t d = outer;
    while (d > 0 && ++index[d - 1] == extents[d - 1]) {
      offset -= strides[d - 1] * (extents[d - 1] - 1);
      index[--d] = 0;
    }
    if (d == 0) break;
    offset += strides[d - 1];
  }
  if (pages == Pages::give_back) release_pages(array.bytes);
}

}  // namespace

std::vector<int64_t> contiguous_strides(const TensorShape& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    strides[d] = stride;
    // An overflow means a shape that stored_array() refuses, or one without elements.
    if (__builtin_mul_overflow(stride, shape[d], &stride)) stride = 0;
  }
  return strides;
}

StoredArray stored_array(StoredType dtype, TensorShape shape, std::vector<int64_t> strides,
                         int64_t offset, std::span<const std::byte> storage,
                         std::string_view where) {
  if (!convertible(dtype)) {
    throw InputError(fmt::format("tensors of type {} cannot be weights", name_of(dtype)), where,
                     "store them as F32, F16 or BF16");
  }
  if (shape.size() != strides.size()) damaged("a tensor's shape and strides do not match", where);
  if (shape.size() > kMaxRank) damaged("a tensor has more than 16 dimensions", where);
  bool fits = offset >= 0, empty = false;
  int64_t count = 1, last = 0;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] < 0 || strides[d] < 0) damaged("a tensor has a negative size or stride", where);
    if (shape[d] == 0) empty = true;
    int64_t reach = 0;
    fits &= !__builtin_mul_overflow(count, std::max<int64_t>(shape[d], 1), &count) &&
            !__builtin_mul_overflow(std::max<int64_t>(shape[d] - 1, 0), strides[d], &reach) &&
            !__builtin_add_overflow(last, reach, &last);
  }
  const auto size = size_of(dtype);
  if (fits && empty) return {dtype, std::move(shape), std::move(strides), {}};
  int64_t end = 0;  // past the last element
  fits = fits && !__builtin_add_overflow(offset, last, &end) &&
         !__builtin_add_overflow(end, int64_t{1}, &end);
  if (!fits || static_cast<uint64_t>(end) > storage.size() / size) {
    damaged(fmt::format("a tensor of shape {} and strides {} from element {} on does not fit its "
                        "{} bytes",
                        text_of(shape), text_of(strides), offset, storage.size()),
            where);
  }
  const auto bytes = storage.subspan(to_size(offset) * size, to_size(last + 1) * size);
  return {dtype, std::move(shape), std::move(strides), bytes};
}

void read_array(const StoredArray& array, std::span<float> out, Pages pages) {
  require(to_size(elements(array.shape)) == out.size(),
          "the buffer has room for exactly the elements of the tensor");
  if (out.empty()) return;
  switch (array.dtype) {
    case StoredType::f32: return read_as<float>(array, out.data(), pages);
    case StoredType::f16: return read_as<f16>(array, out.data(), pages);
    case StoredType::bf16: return read_as<bf16>(array, out.data(), pages);
    case StoredType::f64: return read_as<double>(array, out.data(), pages);
    case StoredType::boolean: return read_as<bool>(array, out.data(), pages);
    case StoredType::u8: return read_as<uint8_t>(array, out.data(), pages);
    case StoredType::i8: return read_as<int8_t>(array, out.data(), pages);
    case StoredType::u16: return read_as<uint16_t>(array, out.data(), pages);
    case StoredType::i16: return read_as<int16_t>(array, out.data(), pages);
    case StoredType::u32: return read_as<uint32_t>(array, out.data(), pages);
    case StoredType::i32: return read_as<int32_t>(array, out.data(), pages);
    case StoredType::u64: return read_as<uint64_t>(array, out.data(), pages);
    case StoredType::i64: return read_as<int64_t>(array, out.data(), pages);
    case StoredType::f8_e4m3:
    case StoredType::f8_e5m2: break;
  }
  require(false, "a stored array has a type that converts to fp32");
}

std::optional<std::span<const float>> view_array(const StoredArray& array) {
  if (array.dtype != StoredType::f32) return std::nullopt;
  if (array.bytes.empty()) return std::span<const float>();
  const Loops loops = merged_loops(array);
  const bool contiguous = loops.extents.size() == 1 && loops.strides[0] == 1;
  const bool aligned = reinterpret_cast<uintptr_t>(array.bytes.data()) % alignof(float) == 0;
  if (!contiguous || !aligned) return std::nullopt;
  return std::span(reinterpret_cast<const float*>(array.bytes.data()),
                   array.bytes.size() / sizeof(float));
}

void check_tensor_name(std::string_view name, std::string_view file) {
  if (name.size() > kMaxNameBytes) {
    damaged(
        fmt::format("the name of a tensor has {} bytes (at most {})", name.size(), kMaxNameBytes),
        file);
  }
  if (name.empty() || !is_utf8(name) || name.find('\0') != std::string_view::npos) {
    damaged(fmt::format("{} is no name for a tensor", quote(name)), file);
  }
}

void check_arrays(std::span<const NamedArray> arrays, size_t file_bytes, std::string_view file) {
  std::unordered_set<std::string_view> names;
  int64_t room = kSpareElements + 4 * static_cast<int64_t>(file_bytes);
  for (const auto& [name, array] : arrays) {
    check_tensor_name(name, file);
    if (!names.insert(name).second) {
      damaged(fmt::format("the name {} occurs twice", quote(name)), file);
    }
    room -= elements(array.shape);
    if (room < 0) damaged("the tensors repeat their data more often than weights do", file);
  }
}

}  // namespace macadam
