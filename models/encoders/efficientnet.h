#pragma once
// EfficientNet (Tan and Le, 2019) and EfficientNet-Lite, named as efficientnet_pytorch and
// segmentation_models.pytorch name them.

#include <string_view>

#include "models/encoders/encoder.h"

namespace macadam {

struct EfficientNetVariant {
  std::string_view name;  // "b0", …, "lite4"
  double width = 1, depth = 1;
  int resolution = 224;  // that the paddings were fixed for
  /// ReLU6, no squeeze-excite; neither stem and head nor the repeats beside them are scaled.
  bool lite = false;
  /// Blocks before the tap at /16; 0: all that have this scale. segmentation_models.pytorch taps b0
  /// two blocks earlier.
  int blocks_before_tap = 0;
};

/// How depthwise convolutions are padded; the tools differ, and weights work best with the padding
/// that they were trained with.
enum class EfficientNetPadding : uint8_t {
  fixed,      // TensorFlow's "same" for the variant's resolution (efficientnet_pytorch, smp)
  same,       // TensorFlow's "same" for the image at hand (Keras, timm's tf_ models)
  symmetric,  // half the kernel on each side (torchvision, timm's own models)
};

struct EfficientNetOptions {
  float drop_connect = 0.2f;  // probability of dropping the last branch; earlier ones in proportion
  EfficientNetPadding padding = EfficientNetPadding::fixed;
  float norm_eps = 1e-3f;
};

/// Requires b0 … b7 or lite0 … lite4.
const EfficientNetVariant& efficientnet_variant(std::string_view name);

/// The multipliers' rounding: channels to a multiple of 8, not below 90%; repeats upwards.
int round_channels(const EfficientNetVariant& variant, int channels);

/// A stage of the body: `repeats` blocks, the first with `stride` and `in` channels.
struct EfficientNetStage {
  int repeats, kernel, stride, expansion, in, out;
};
/// The seven stages, scaled.
std::vector<EfficientNetStage> efficientnet_stages(const EfficientNetVariant& variant);

/// The taps are the image, the stem, and the outputs of the stages before each halving; the last
/// is the body's output.
Features efficientnet(Graph& g, Value image, const std::string& prefix,
                      const EfficientNetVariant& variant, const EfficientNetOptions& options);

/// The layers between body and classifier, 1x1 to 1280 channels (scaled): BN and activation
/// follow.
Value efficientnet_head(Graph& g, Value x, const std::string& prefix,
                        const EfficientNetVariant& variant, const EfficientNetOptions& options);

}  // namespace macadam
