// The backbones of segmentation_models (Keras) against what Keras itself says of them.

#include <gtest/gtest.h>

#include "models/network.h"
#include "models/weight_names.h"

using namespace macadam;

namespace {

constexpr Normalization kImageNet{};
constexpr Normalization kFromMinusOne{{0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}, 1, false};
constexpr Normalization kCaffe{{103.939f, 116.779f, 123.68f}, {1, 1, 1}, 255, true};
constexpr Normalization kRaw{{0, 0, 0}, {1, 1, 1}, 255, false};

struct Row {
  std::string backbone;
  int64_t total;         // "Total params" of model.summary(), without the classifier
  Normalization images;  // its preprocess_input
};

std::ostream& operator<<(std::ostream& out, const Row& row) { return out << row.backbone; }

class KerasBackbones : public ::testing::TestWithParam<Row> {};

TEST_P(KerasBackbones, HaveTheParametersThatKerasCounts) {
  const std::string name = "keras_" + GetParam().backbone + "_unet";
  const NetworkEntry& entry = find_network(name);
  const Graph graph = build_network({name, 8, {}}, {1, 64, 64, 3});
  int64_t total = 0;
  for (const ParameterSpec& p : graph.parameters()) {
    const bool counts =
        part_of(entry, p) == WeightPart::encoder && p.role != ParameterRole::fixed_scale;
    total += counts ? p.shape.elements() : 0;
  }
  EXPECT_EQ(total, GetParam().total);
}

TEST_P(KerasBackbones, SeeImagesAsTheirWeightsDid) {
  EXPECT_EQ(find_network("keras_" + GetParam().backbone + "_unet").normalization,
            GetParam().images);
}

INSTANTIATE_TEST_SUITE_P(Keras, KerasBackbones,
                         ::testing::Values(Row{"vgg16", 14'714'688, kCaffe},
                                           Row{"efficientnet_b0", 4'049'564, kImageNet},
                                           Row{"efficientnet_b7", 64'097'680, kImageNet},
                                           Row{"resnet34", 21'302'473, kRaw},
                                           Row{"mobilenet", 3'228'864, kFromMinusOne},
                                           Row{"mobilenetv2", 2'257'984, kFromMinusOne},
                                           Row{"densenet121", 7'037'504, kImageNet},
                                           Row{"seresnet50", 26'092'144, kImageNet},
                                           Row{"inceptionv3", 21'802'784, kFromMinusOne},
                                           Row{"inceptionresnetv2", 54'336'736, kFromMinusOne}),
                         [](const auto& tested) { return tested.param.backbone; });

}  // namespace
