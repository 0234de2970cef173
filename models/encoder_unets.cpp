#include "models/encoder_unets.h"

#include "models/encoders/encoder.h"
#include "models/unet_decoder.h"

namespace macadam {

namespace {

constexpr const char* kPrefix = "encoder.";

NetworkEntry unet_upon(const Encoder& encoder) {
  return {.name = encoder.name + "_unet",
          .summary = encoder.summary,
          .minimum_size = 32,
          .options = encoder.options,
          .build =
              [encoder](const NetworkSpec& spec, Shape input) {
                Graph g(input);
                Features features = encoder.features(g, g.input(), kPrefix, spec);
                if (encoder.before_decoder) encoder.before_decoder(g, features, kPrefix);
                g.set_output(unet_decoder(g, features, smp_decoder(), spec.classes));
                return g;
              },
          .family = NetworkFamily::smp,
          .normalization = encoder.normalization,
          .encoder_names = encoder.names};
}

NetworkEntry classifier_of(const Encoder& encoder) {
  return {.name = encoder.name,
          .summary = encoder.classifier_summary,
          .minimum_size = 32,
          .options = encoder.options,
          .build =
              [encoder](const NetworkSpec& spec, Shape input) {
                Graph g(input);
                const Features features = encoder.features(g, g.input(), "", spec);
                g.set_output(encoder.classify(g, features, spec));
                return g;
              },
          .family = NetworkFamily::smp,
          .task = Task::classification,
          .encoder_names = encoder.names};
}

}  // namespace

std::vector<NetworkEntry> encoder_unets() {
  std::vector<NetworkEntry> made;
  for (const Encoder& encoder : all_encoders()) made.push_back(unet_upon(encoder));
  return made;
}

std::vector<NetworkEntry> classifiers() {
  std::vector<NetworkEntry> made;
  for (const Encoder& encoder : all_encoders()) {
    if (encoder.classify) made.push_back(classifier_of(encoder));
  }
  return made;
}

}  // namespace macadam
