#pragma once
// Between Macadam's model files and those of others.

#include <cstdint>
#include <filesystem>

#include "engine/model/model_file.h"
#include "models/weight_import.h"

namespace macadam {

/// Whether the file is one of Macadam's own models (by its metadata; any other file is not).
bool is_model_file(const std::filesystem::path& path);

/// Writes `destination`, a model of the network that `info` describes, with the weights of
/// `source`; parameters that it lacks get initial values drawn from info.seed. Options and
/// normalisation of the tool that wrote the weights are set in the model, but for options that
/// `info` names.
/// Throws as WeightImport and save_model do; nothing is written then.
ImportReport convert_weights(const std::filesystem::path& source,
                             const std::filesystem::path& destination, ModelInfo info,
                             bool partial);

/// Writes the model's weights as segmentation_models.pytorch's Unet, or the network of its authors,
/// loads them with strict=True: the names there, and a batch counter for every batch norm. Throws
/// InputError when the network, with the model's options, has no counterpart in PyTorch.
void export_pytorch(const std::filesystem::path& destination, const Model& model,
                    std::string_view file);

/// What `weights` asks of the network that starts from it: options it does not set itself, and the
/// images' normalisation.
struct WeightNeeds {
  std::map<std::string, std::string> options;
  Normalization normalization;
};
WeightNeeds needs_of(const WeightImport& weights, const NetworkSpec& spec);

}  // namespace macadam
