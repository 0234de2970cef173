#pragma once
// The weight files whose numbers lie as they are in mapped bytes: every format but HDF5.

#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "models/weights/stored_array.h"
#include "models/weights/weight_file.h"

namespace macadam {

/// The tensors of one file's bytes.
struct ParsedWeights {
  std::string_view format;
  std::vector<NamedArray> arrays;  // point into the bytes
};

/// Recognises and reads every format that is one file, except HDF5. Throws InputError naming
/// `file`.
ParsedWeights parse_weights(std::span<const std::byte> bytes, std::string_view file);

/// The same for a file that is mapped while the object lives.
std::unique_ptr<WeightFile> open_mapped_weights(MappedFile file, const std::filesystem::path& path);

/// All .npy files in and below a folder: "a/b" is FOLDER/a/b.npy. Symbolic links to folders are not
/// followed. Throws InputError when there are none.
std::unique_ptr<WeightFile> open_numpy_folder(const std::filesystem::path& folder);

}  // namespace macadam
