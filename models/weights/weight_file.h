#pragma once
// Weights that other tools wrote: named tensors, whatever the format of the file.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/model/safetensors.h"

namespace macadam {

struct WeightTensor {
  std::string name;  // unique, not empty, UTF-8
  TensorShape shape;
  StoredType dtype = StoredType::f32;  // as stored; read() converts

  bool operator==(const WeightTensor&) const = default;
};

/// An open file. Its data is mapped and read when asked for: opening costs the table of contents,
/// and read() gives back the pages that it has used.
class WeightFile {
 public:
  virtual ~WeightFile() = default;
  WeightFile(const WeightFile&) = delete;
  WeightFile& operator=(const WeightFile&) = delete;

  /// In the order of the file (by name where the format has none).
  std::span<const WeightTensor> tensors() const { return tensors_; }
  /// The index of the tensor called `name`.
  std::optional<size_t> find(std::string_view name) const;

  /// The tensor in row-major order as fp32; integers and F64 are rounded, booleans are 0 and 1.
  /// Requires out.size() == elements(tensors()[index].shape). Throws InputError when the file
  /// cannot be read after all.
  virtual void read(size_t index, std::span<float> out) const = 0;

  /// The tensor where it lies in the file, when it is contiguous, aligned, little-endian fp32;
  /// valid while this object lives.
  virtual std::optional<std::span<const float>> view(size_t index) const;

  /// "PyTorch", "Keras HDF5", ...: for people.
  virtual std::string_view format() const = 0;
  /// True when names and shapes are Keras's: "conv/kernel", kernels HWIO (depthwise HWC1).
  virtual bool keras() const { return false; }
  /// The path, for errors.
  const std::string& name() const { return name_; }

 protected:
  WeightFile(std::string name, std::vector<WeightTensor> tensors);

 private:
  std::string name_;
  std::vector<WeightTensor> tensors_;
  std::unordered_map<std::string_view, size_t> places_;  // of the names, which lie in tensors_
};

/// Opens weights, recognised by their content:
///  - safetensors;
///  - PyTorch's zip archives and the older chains of pickles; nothing in them is ever run;
///  - Keras .h5 (with libhdf5);
///  - a folder of .npy files (nested folders give "a/b") or an .npz archive without compression.
/// Throws InputError naming the file and what to do for everything else.
std::unique_ptr<WeightFile> open_weights(const std::filesystem::path& path);

/// The index of the first NaN or infinity.
std::optional<size_t> first_non_finite(std::span<const float> values);

/// Throws InputError naming the file, the tensor and the place of the first NaN or infinity.
void check_finite(std::span<const float> values, std::string_view file, std::string_view tensor);

}  // namespace macadam
