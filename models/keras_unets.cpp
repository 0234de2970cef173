#include "models/keras_unets.h"

#include "models/image_segmentation_keras.h"
#include "models/keras/backbone.h"
#include "models/unet_decoder.h"

namespace macadam {

namespace {

NetworkEntry by_order(std::string name, std::string_view summary,
                      Graph (*build)(const NetworkSpec&, Shape)) {
  return {.name = std::move(name),
          .summary = summary,
          .size_multiple = 16,
          .build = build,
          .family = NetworkFamily::keras_by_order,
          .normalization = kImageSegmentationKeras};
}

NetworkEntry unet_upon(const Backbone& backbone) {
  return {.name = "keras_" + backbone.name + "_unet",
          .summary = backbone.summary,
          .size_multiple = 32,
          .options = backbone.options,
          .build =
              [backbone](const NetworkSpec& spec, Shape input) {
                Graph g(input);
                Features features = backbone.features(g, spec);
                if (backbone.ends_in_pooling) {
                  features.back() = unet_center(g, features.back(), keras_decoder());
                }
                g.set_output(unet_decoder(g, features, keras_decoder(), spec.classes));
                return g;
              },
          .family = NetworkFamily::keras_sm,
          .normalization = backbone.normalization};
}

}  // namespace

std::vector<NetworkEntry> keras_unets() {
  std::vector<NetworkEntry> made{
      by_order("keras_unet", "image-segmentation-keras, plain encoder, half-size scores",
               keras_unet),
      by_order("keras_vgg_unet", "image-segmentation-keras, VGG16 encoder, half-size scores",
               keras_vgg_unet)};
  for (const Backbone& backbone : all_keras_backbones()) made.push_back(unet_upon(backbone));
  return made;
}

}  // namespace macadam
