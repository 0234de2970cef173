#pragma once
// From an unpickled checkpoint to named tensors.

#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "models/weights/pickle.h"
#include "models/weights/stored_array.h"

namespace macadam {

/// The bytes of a storage, of exactly storage.count elements.
using StorageBytes = std::function<std::span<const std::byte>(const PickleStorage& storage)>;

/// The tensors of the state dict in `pickle`: the root itself, the dictionary that training scripts
/// put under "state_dict", "model" and the like, or the only dictionary of tensors that there is.
/// Plain values beside the tensors (epoch, options, optimiser) are skipped. Throws InputError
/// naming `file` when there is no such dictionary or more than one, or a tensor does not fit its
/// storage.
std::vector<NamedArray> torch_state(const Pickle& pickle, const StorageBytes& storage_bytes,
                                    std::string_view file);

/// Removes "module." (DataParallel), "_orig_mod." (torch.compile) and "model." (Lightning) as long
/// as all names begin with one of them.
void strip_common_prefixes(std::vector<NamedArray>& arrays);

}  // namespace macadam
