#pragma once
// A pickle reader that runs nothing: the opcodes and the few classes that torch.save writes become
// plain values; everything else is refused by its name.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/safetensors.h"

namespace macadam {

/// A value of a pickle: 16 bytes whose meaning depends on the kind.
struct PickleValue {
  enum class Kind : uint8_t {
    none,
    boolean,
    integer,
    real,
    long_integer,  // more than 64 bits
    text,          // str and bytes
    tuple,
    list,
    dict,
    global,   // one of the known functions and classes
    storage,  // a persistent id
    tensor,
    inert,  // a plain object that holds no weights
  };

  Kind kind = Kind::none;
  uint32_t size = 0;     // bytes of a text or long integer
  uint64_t payload = 0;  // value, index into Pickle's vectors, or place of a text in the bytes
};

/// The data behind tensors, as a persistent id names it.
struct PickleStorage {
  std::optional<StoredType> dtype;  // none: untyped, counted in bytes
  std::string_view key;
  int64_t count = 0;                               // elements
  std::optional<int64_t> view_offset, view_count;  // of a view into the storage called `key`
};

struct PickleTensor {
  std::optional<size_t> storage;  // none: a parameter whose data was never given
  StoredType dtype = StoredType::f32;
  int64_t offset = 0;  // in elements
  TensorShape shape;
  std::vector<int64_t> strides;
};

/// What one pickle holds. Texts point into its bytes.
struct Pickle {
  std::span<const std::byte> bytes;  // up to and including STOP
  PickleValue root;
  std::vector<std::vector<PickleValue>>
      items;  // of tuples and lists; of dicts key, value, key, ...
  std::vector<PickleStorage> storages;
  std::vector<PickleTensor> tensors;

  /// Requires a text or a long integer.
  std::string_view text(const PickleValue& value) const;
  /// Requires a tuple, list or dict.
  std::span<const PickleValue> contents(const PickleValue& value) const;
};

/// Reads the pickle (protocol 2 to 5) that `bytes` begin with; there may be more behind it.
/// Bounded by 64 MiB of pickle and 4 million values (of which a tensor counts 16). Throws
/// InputError naming `file` for damaged pickles, for globals that would run code or are classes of
/// somebody's program, and for tensors that are not plain (quantised, sparse, complex).
Pickle read_pickle(std::span<const std::byte> bytes, std::string_view file);

}  // namespace macadam
