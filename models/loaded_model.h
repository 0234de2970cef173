#pragma once
// A model file brought to a device: its parameters, and graphs of its network for any batch.

#include <filesystem>
#include <new>
#include <string_view>

#include "engine/model/model_file.h"
#include "engine/plan/parameters.h"
#include "kernels/memory_error.h"
#include "models/network.h"

namespace macadam {

/// The network that a model file names.
NetworkSpec network_spec(const ModelInfo& info);

/// The same for `input`. Throws InputError naming `file` when there is no such network, or it takes
/// no such image, classes or options.
Graph model_network(const ModelInfo& info, Shape input, const std::filesystem::path& file);

[[noreturn]] void fail_for_memory(const ModelInfo& info, const std::filesystem::path& file,
                                  std::string_view why);

/// What `make` makes for the size that the model file names. That it does not fit into memory is an
/// InputError naming the file.
template <typename F>
auto at_size_of(const ModelInfo& info, const std::filesystem::path& file, F&& make) {
  try {
    return make();
  } catch (const MemoryError& error) {
    fail_for_memory(info, file, error.what());
  } catch (const std::bad_alloc&) {
    fail_for_memory(info, file, "on the host");
  }
}

class LoadedModel {
 public:
  /// Reads, checks and uploads. `stream` outlives it. Throws InputError naming the file when it is
  /// not a model, or its tensors are not those of the network it names.
  LoadedModel(const std::filesystem::path& file, Stream& stream);
  /// The same of what was read from `file`.
  LoadedModel(const Model& model, const std::filesystem::path& file, Stream& stream);

  const ModelInfo& info() const { return info_; }
  const std::filesystem::path& file() const { return file_; }
  Parameters& parameters() { return parameters_; }
  int classes() const { return static_cast<int>(info_.class_names.size()); }
  /// The network for `batch` RGB images of height x width.
  Graph graph(int batch, int height, int width) const;
  /// The size nearest to height x width (not below it) that the network takes.
  Shape fitting(int height, int width) const;

 private:
  ModelInfo info_;
  std::filesystem::path file_;
  Parameters parameters_;
};

}  // namespace macadam
