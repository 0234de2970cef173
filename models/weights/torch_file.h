#pragma once
// The two file formats of torch.save: a zip archive since PyTorch 1.6, a chain of pickles before.

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "models/weights/stored_array.h"
#include "models/weights/zip_archive.h"

namespace macadam {

/// True when the archive was written by torch.save (or torch.jit.save, which read_torch_zip()
/// refuses).
bool is_torch_zip(const ZipArchive& archive);

/// The weights of FOLDER/data.pkl, FOLDER/data/KEY, FOLDER/byteorder; they point into the archive.
/// Throws InputError naming `file` for everything that is not a checkpoint of plain tensors.
std::vector<NamedArray> read_torch_zip(const ZipArchive& archive, std::string_view file);

/// The weights of a file of torch.save before 1.6: pickles of a magic number, the protocol version,
/// the system, the object and the keys of its storages; then for every key the number of elements
/// (int64) and the elements. Requires bytes that begin with a pickle (0x80).
std::vector<NamedArray> read_torch_legacy(std::span<const std::byte> bytes, std::string_view file);

}  // namespace macadam
