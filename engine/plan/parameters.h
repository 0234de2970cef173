#pragma once
// The weights of a network: one fp32 buffer on the device, cut into named tensors, with a buffer of
// the same layout for gradients.

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/graph/graph.h"
#include "engine/model/model_file.h"
#include "kernels/device.h"
#include "kernels/optim.h"

namespace macadam {

/// The values that `spec` has before any training, in the layout of files: the same for the same
/// seed and name whatever the device or the order.
std::vector<float> initial_values(const ParameterSpec& spec, uint64_t seed);

class Parameters {
 public:
  /// Zeros for `specs`; gradients only when `training`.
  Parameters(std::span<const ParameterSpec> specs, Stream& stream, bool training);

  const std::vector<ParameterSpec>& specs() const { return specs_; }
  size_t size() const { return specs_.size(); }
  bool training() const { return static_cast<bool>(gradients_); }

  /// fp32 views in the engine's layout.
  Tensor value(size_t index) const;
  /// Null data for running statistics or without training.
  Tensor gradient(size_t index) const;

  /// Draws initial values, the same for the same seed and names whatever the device or the order.
  void initialize(uint64_t seed);

  // Host copies in the layout of files (conv weights {K, C/g, kh, kw}).
  enum class Field : uint8_t { value, gradient };
  std::vector<float> read(size_t index, Field field) const;
  /// Requires as many values as the parameter has.
  void write(size_t index, Field field, std::span<const float> values);

  /// One segment a parameter, with `weight_decay` (none on biases and norms) and its entry of
  /// `lr_scales` (one a parameter; all 1 when empty). Those that are not trained are frozen.
  std::vector<ParameterSegment> segments(float weight_decay,
                                         std::span<const float> lr_scales = {}) const;
  /// A field of all parameters, gaps included: the same layout for the same specs.
  Tensor flat(Field field) const;
  /// Bytes of values and gradients together.
  size_t bytes() const;

 private:
  const Buffer& buffer_of(Field field) const;
  float* field_data(Field field, size_t index) const;

  std::vector<ParameterSpec> specs_;
  std::vector<int64_t> offsets_;  // in elements
  Stream& stream_;
  Buffer values_, gradients_;
};

/// The shapes of all of them in files, by name.
ParameterShapes shapes_of(const Parameters& parameters);

/// Reads a model's parameters into `parameters` (whose specs are the network's). Throws InputError
/// naming `file` when names or shapes differ.
void load_parameters(const Model& model, Parameters& parameters, std::string_view file);

}  // namespace macadam
