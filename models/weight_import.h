#pragma once
// Brings other tools' weights into a network by name.

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/model/model_file.h"
#include "models/network.h"
#include "models/weight_names.h"
#include "models/weights/weight_file.h"

namespace macadam {

/// Which tensors found their place.
struct ImportReport {
  std::string file, format, scheme;                                // "PyTorch", "torchvision"
  size_t encoder_loaded = 0, decoder_loaded = 0, head_loaded = 0;  // parameters
  std::vector<std::string> missing;  // parameters that stay as they are, those without effect apart
  std::vector<std::string> reinitialized;  // the head's, when the file has other classes
  std::vector<std::string> unused;         // the file's tensors

  /// A few lines for people.
  std::string text() const;
};

class WeightImport {
 public:
  /// Finds the tool whose names fit best, and checks that what it would load is whole: all of the
  /// encoder, and all or nothing of the decoder, unless `partial`. Throws InputError naming the
  /// file and the tensors: nothing fits (with the network that the file looks like), a part is
  /// incomplete, a shape is wrong.
  WeightImport(const std::filesystem::path& path, const NetworkSpec& spec, const Graph& graph,
               bool partial = false);

  const ImportReport& report() const { return report_; }
  /// The tool; its options and normalisation belong to the weights.
  const WeightScheme& scheme() const { return scheme_; }

  /// Calls `use` with the index of each loaded parameter (in the graph) and its values in the
  /// layout of model files. `lasting` values lie in the file's memory and stay as long as this
  /// object; others are gone after the call. Throws InputError naming the tensor when a value is
  /// not finite.
  void for_each(const std::function<void(size_t parameter, std::span<const float> values,
                                         bool lasting)>& use) const;

 private:
  struct Assignment {
    size_t parameter, tensor;
  };

  std::unique_ptr<WeightFile> file_;
  WeightScheme scheme_;
  ImportReport report_;
  std::vector<ParameterSpec> parameters_;
  std::vector<Assignment> assignments_;
};

/// "217 tensors, the first 'conv1.weight' [64, 3, 7, 7], ...": for errors.
std::string summary_of(std::span<const WeightTensor> tensors);

/// The network of a task that a file holds most of, "" if none is whole: "resnet34_unet".
std::string network_of(const WeightFile& file, Task task = Task::segmentation);

}  // namespace macadam
