#pragma once
// The safetensors file format (huggingface/safetensors): an 8-byte little-endian header length, a
// JSON header that names every tensor with its type, shape and place, then the raw data.
// Files come from anywhere: the reader trusts nothing that it has not checked.

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"

namespace macadam {

/// Element types of stored tensors; more than the engine computes with.
enum class StoredType : uint8_t {
  boolean,
  u8,
  i8,
  f8_e4m3,
  f8_e5m2,
  u16,
  i16,
  f16,
  bf16,
  u32,
  i32,
  f32,
  u64,
  i64,
  f64
};

/// "F32", "BF16", ...: the names of the format.
std::string_view name_of(StoredType type);
/// Bytes of one element.
size_t size_of(StoredType type);

/// Extents, outermost first; empty for a scalar.
using TensorShape = std::vector<int64_t>;

/// Product of the extents. Requires one that fits int64_t (every tensor of a parsed file does).
int64_t elements(const TensorShape& shape);
/// "[64, 3, 3, 3]".
std::string text_of(const TensorShape& shape);

/// A tensor inside somebody else's bytes. `data` need not be aligned.
struct StoredTensor {
  StoredType type = StoredType::f32;
  TensorShape shape;
  std::span<const std::byte> data;
};

struct SafetensorsContent {
  std::map<std::string, std::string> metadata;
  std::map<std::string, StoredTensor> tensors;
};

/// Checks and reads a whole file in memory; the tensors point into `bytes`. `file` is for errors.
/// Throws InputError, naming the file and the tensor, for anything but: a header of at most
/// 100 MB that begins with '{', is JSON without duplicate keys and holds nothing but
/// "__metadata__" (strings) and tensors (dtype, shape, data_offsets); offsets inside the file;
/// sizes equal to shape x type; the whole data area used, without holes or overlap.
SafetensorsContent parse_safetensors(std::span<const std::byte> bytes, std::string_view file);

/// A safetensors file, mapped while the object lives.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::map<std::string, std::string>& metadata() const { return content_.metadata; }
  const std::map<std::string, StoredTensor>& tensors() const { return content_.tensors; }

 private:
  MappedFile file_;
  SafetensorsContent content_;
};

/// Writes the file atomically (see write_file_atomically). The bytes depend on the arguments alone;
/// the data area begins at a multiple of 64 bytes, and every tensor at a multiple of its element.
/// Requires data.size() == elements x type for each tensor. Throws InputError when a name or a
/// metadata text is not UTF-8.
void write_safetensors(const std::filesystem::path& path,
                       const std::map<std::string, StoredTensor>& tensors,
                       const std::map<std::string, std::string>& metadata);

/// The values of a floating-point or integer tensor as float, rounded where they do not fit.
/// Throws InputError naming `file` and `tensor` for types without such values (BOOL, F8).
std::vector<float> to_floats(const StoredTensor& stored, std::string_view file,
                             std::string_view tensor);

}  // namespace macadam
