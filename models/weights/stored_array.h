#pragma once
// An array of numbers inside the bytes of a mapped file: type, shape and strides, and how it
// becomes fp32.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/safetensors.h"

namespace macadam {

/// Made by stored_array(), which checks that every element lies inside `bytes`.
struct StoredArray {
  StoredType dtype = StoredType::f32;
  TensorShape shape;
  std::vector<int64_t> strides;      // in elements, one an extent, none negative
  std::span<const std::byte> bytes;  // from the first element to the last
};

/// Row-major strides of a contiguous array.
std::vector<int64_t> contiguous_strides(const TensorShape& shape);

/// The array of `shape` and `strides` whose first element is number `offset` of `storage`.
/// Throws InputError naming `where` when the type cannot be weights, the numbers make no array, or
/// an element lies outside the storage.
StoredArray stored_array(StoredType dtype, TensorShape shape, std::vector<int64_t> strides,
                         int64_t offset, std::span<const std::byte> storage,
                         std::string_view where);

/// What becomes of the memory that was read.
enum class Pages {
  keep,
  give_back,  // to the system: only for bytes of a read-only file mapping
};

/// All values in row-major order, converted to fp32 (rounded where they do not fit; booleans become
/// 0 and 1). With Pages::give_back, reading a whole file does not hold it in memory twice.
/// Requires out.size() == elements(array.shape).
void read_array(const StoredArray& array, std::span<float> out, Pages pages = Pages::keep);

/// The values where they lie, if they are contiguous, aligned fp32.
std::optional<std::span<const float>> view_array(const StoredArray& array);

struct NamedArray {
  std::string name;
  StoredArray array;
};

/// Throws InputError naming `file` unless `name` is usable: UTF-8, not empty, at most 1024 bytes,
/// which bounds what looking for it costs.
void check_tensor_name(std::string_view name, std::string_view file);

/// Throws InputError naming `file` unless every name is usable and occurs once,
/// and the arrays have together at most 4 elements a byte of the file and a million more: more
/// cannot be weights, only an attempt to exhaust the memory (strides of 0 cost nothing in a file).
void check_arrays(std::span<const NamedArray> arrays, size_t file_bytes, std::string_view file);

}  // namespace macadam
