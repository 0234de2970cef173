#include "models/keras_unets.h"

#include "models/keras/image_segmentation_keras.h"
#include "models/keras/segmentation_models.h"

namespace macadam {

std::vector<NetworkEntry> keras_unets() {
  constexpr Normalization kImageNet{};
  constexpr Normalization kRawBytes{{0, 0, 0}, {1, 1, 1}, 255, false};

  const auto by_order = [&](std::string_view name, std::string_view summary, auto build) {
    return NetworkEntry{.name = std::string(name),
                        .summary = summary,
                        .size_multiple = 16,
                        .build = build,
                        .family = NetworkFamily::keras_by_order,
                        .normalization = kImageSegmentationKeras};
  };
  const auto sm = [&](std::string_view name, std::string_view summary, auto build,
                      const Normalization& normalization,
                      std::span<const NetworkOption> options = {}) {
    return NetworkEntry{.name = std::string(name),
                        .summary = summary,
                        .size_multiple = 32,
                        .options = options,
                        .build = build,
                        .family = NetworkFamily::keras_sm,
                        .normalization = normalization};
  };
  constexpr std::string_view kEfficientNet =
      "segmentation_models (Keras), EfficientNet tapped at its expansions";
  const auto efficientnet = [&](std::string_view name) {
    return sm(name, kEfficientNet, keras_efficientnet_unet, kImageNet,
              keras_efficientnet_options());
  };
  return {
      by_order("keras_unet", "image-segmentation-keras, plain encoder, half-size scores",
               keras_unet),
      by_order("keras_vgg_unet", "image-segmentation-keras, VGG16 encoder, half-size scores",
               keras_vgg_unet),
      sm("keras_resnet34_unet", "segmentation_models (Keras), pre-activation ResNet34",
         keras_resnet34_unet, kRawBytes),
      efficientnet("keras_efficientnet_b0_unet"),
      efficientnet("keras_efficientnet_b1_unet"),
      efficientnet("keras_efficientnet_b2_unet"),
      efficientnet("keras_efficientnet_b3_unet"),
      efficientnet("keras_efficientnet_b4_unet"),
      efficientnet("keras_efficientnet_b5_unet"),
      efficientnet("keras_efficientnet_b6_unet"),
      efficientnet("keras_efficientnet_b7_unet"),
  };
}

}  // namespace macadam
