#pragma once
// A model: one safetensors file with fp32 tensors and, under the metadata key "macadam", what the
// model says about itself. Tensors have PyTorch's names and shapes (convolutions {K, C, h, w}), so
// that other tools can read them; the state of the optimiser lies beside them as "optimizer.*".

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/model_info.h"
#include "engine/model/safetensors.h"

namespace macadam {

struct ModelTensor {
  TensorShape shape;
  std::vector<float> values;

  bool operator==(const ModelTensor&) const = default;
};

/// The same, owned by somebody else.
struct ModelTensorView {
  TensorShape shape;
  std::span<const float> values;
};

struct Model {
  ModelInfo info;
  std::map<std::string, ModelTensor> parameters;  // trained weights and running statistics
  std::map<std::string, ModelTensor> optimizer;   // names without the prefix; for resuming
};

enum class ModelPart {
  parameters,  // to predict; the optimiser's state is skipped
  everything,  // to resume training
};

/// Throws InputError naming `file` for everything that is not a whole, finite model of this or an
/// older format version.
Model load_model(const std::filesystem::path& path, ModelPart part = ModelPart::parameters);
/// The same from the bytes of a file.
Model parse_model(std::span<const std::byte> bytes, std::string_view file,
                  ModelPart part = ModelPart::parameters);

/// Writes atomically; the bytes depend on the arguments alone. `optimizer` names have no prefix.
/// Requires values that match their shapes and no parameter called "optimizer.*".
void save_model(const std::filesystem::path& path, const ModelInfo& info,
                const std::map<std::string, ModelTensorView>& parameters,
                const std::map<std::string, ModelTensorView>& optimizer = {});

/// How named tensors differ from what a network expects.
struct ParameterDifference {
  struct WrongShape {
    std::string name;
    TensorShape expected, found;
  };
  std::vector<std::string> missing;
  std::vector<std::string> unexpected;
  std::vector<WrongShape> wrong_shape;

  bool none() const { return missing.empty() && unexpected.empty() && wrong_shape.empty(); }
  /// "missing 'a', 'b' and 3 more; wrong shape 'c' ([2] instead of [4])".
  std::string text() const;
};

using ParameterShapes = std::map<std::string, TensorShape>;

ParameterDifference compare_parameters(const ParameterShapes& expected,
                                       const std::map<std::string, ModelTensor>& found);

/// Throws InputError naming `file` and the first few names unless the parameters are exactly the
/// expected ones.
void match_parameters(const ParameterShapes& expected,
                      const std::map<std::string, ModelTensor>& found, std::string_view file);

/// Convolution weights from a file's {K, C, h, w} to the engine's {K, h, w, C}, and back. `oihw` is
/// the file's shape in both. Requires 4 extents and spans of that many elements, not overlapping.
void oihw_to_ohwi(const TensorShape& oihw, std::span<const float> from, std::span<float> to);
void ohwi_to_oihw(const TensorShape& oihw, std::span<const float> from, std::span<float> to);

}  // namespace macadam
