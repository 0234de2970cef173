#pragma once
// The functions and classes that may occur in a pickle of weights.

#include <optional>
#include <string_view>

#include "engine/model/safetensors.h"

namespace macadam {

struct PickleGlobal {
  enum class Kind : uint8_t {
    ordered_dict,
    rebuild_tensor,     // (storage, offset, shape, strides, ...)
    rebuild_tensor_v3,  // (storage, offset, shape, strides, requires_grad, hooks, dtype, ...)
    rebuild_parameter,  // (tensor, requires_grad, hooks), and the class Parameter
    shape,              // torch.Size
    storage_type,       // dtype: none for untyped storages
    dtype,
    inert,  // makes plain values that are no weights: numbers, dates, options of a run
  };

  Kind kind = Kind::inert;
  std::optional<StoredType> dtype;
};

/// Throws InputError naming `file` and the global unless it is a known one.
PickleGlobal find_pickle_global(std::string_view module, std::string_view name,
                                std::string_view file);

}  // namespace macadam
