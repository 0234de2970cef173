#pragma once
// A model file brought to a device: its parameters, and graphs of its network for any batch.

#include <filesystem>

#include "engine/model_file.h"
#include "engine/parameters.h"
#include "models/network.h"

namespace macadam {

class LoadedModel {
 public:
  /// Reads, checks and uploads. `stream` outlives it. Throws InputError naming the file when it is
  /// not a model, or its tensors are not those of the network it names.
  LoadedModel(const std::filesystem::path& file, Stream& stream);

  const ModelInfo& info() const { return info_; }
  Parameters& parameters() { return parameters_; }
  int classes() const { return static_cast<int>(info_.class_names.size()); }
  /// The network for `batch` RGB images of height x width.
  Graph graph(int batch, int height, int width) const;
  /// The size nearest to height x width (not below it) that the network takes.
  Shape fitting(int height, int width) const;

 private:
  LoadedModel(const Model& model, const std::filesystem::path& file, Stream& stream);

  ModelInfo info_;
  Parameters parameters_;
};

/// The network that a model file names.
NetworkSpec network_spec(const ModelInfo& info);

}  // namespace macadam
