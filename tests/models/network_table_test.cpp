// Parameter and multiply-add counts of every network, against tables measured with PyTorch and
// Keras at 512x1024 and 8 classes.

#include <gtest/gtest.h>

#include "models/network.h"

using namespace macadam;

namespace {

struct Row {
  std::string name;
  int64_t parameters;    // trained, as PyTorch counts them
  int64_t running = -1;  // scalars of running statistics; -1: not in the table
  double gmac = 0;       // to two decimals; 0: not in the table
  int64_t a_class = 0;   // parameters of one more class
  std::map<std::string, std::string> options{};
};

std::ostream& operator<<(std::ostream& out, const Row& row) { return out << row.name; }

class NetworkTable : public ::testing::TestWithParam<Row> {};

TEST_P(NetworkTable, CountsAreThePublishedOnes) {
  const Row& row = GetParam();
  const Graph graph = build_network({row.name, 8, row.options}, {1, 512, 1024, 3});
  EXPECT_EQ(graph.parameter_count(), row.parameters);
  int64_t running = 0;
  for (const ParameterSpec& p : graph.parameters()) {
    const bool statistic =
        p.role == ParameterRole::running_mean || p.role == ParameterRole::running_var;
    running += statistic ? p.shape.elements() : 0;
  }
  if (row.running >= 0) {
    EXPECT_EQ(running, row.running);
  }
  if (row.gmac > 0) {
    EXPECT_NEAR(static_cast<double>(graph.macs()) * 1e-9, row.gmac, 0.006);  // as printed
  }
  const Graph more = build_network({row.name, 9, row.options}, {1, 512, 1024, 3});
  EXPECT_EQ(more.parameter_count() - graph.parameter_count(), row.a_class);
}

const std::map<std::string, std::string> kTorch{{"layout", "torch"}};

INSTANTIATE_TEST_SUITE_P(
    Networks, NetworkTable,
    ::testing::Values(Row{"unet_mini", 471'784, 0, 58.57, 33},                             //
                      Row{"unet", 31'038'088, 11'776, 385.57, 65},                         //
                      Row{"unet", 31'032'200, 0, 385.57, 65, {{"batch_norm", "false"}}},   //
                      Row{"vgg16_unet", 23'749'256, 4'032, 198.41, 145},                   //
                      Row{"vgg16_bn_unet", 23'757'704, 12'480, 198.41, 145},               //
                      Row{"resnet18_unet", 14'329'224, 11'584, 43.71, 145},                //
                      Row{"resnet34_unet", 24'437'384, 19'008, 63.04, 145},                //
                      Row{"resnet50_unet", 32'522'120, 55'104, 85.59, 145},                //
                      Row{"se_resnet50_unet", 35'053'112, 55'104, 83.18, 145},             //
                      Row{"se_resnet50_unet", 35'053'112, 55'104, 85.59, 145, kTorch},     //
                      Row{"resnet101_unet", 51'514'248, 107'328, 0, 145},                  //
                      Row{"resnext50_32x4d_unet", 31'993'992, 70'208, 87.07, 145},         //
                      Row{"se_resnext50_32x4d_unet", 34'524'984, 70'208, 87.07, 145},      //
                      Row{"densenet121_unet", 13'608'648, 85'632, 67.65, 145},             //
                      Row{"efficientnet_b0_unet", 6'252'484, 44'000, 24.19, 145},          //
                      Row{"efficientnet_b7_unet", 67'096'344, 312'704, 77.50, 145},        //
                      Row{"mobilenet_v1_unet", 8'313'480, 23'872, 36.74, 145},             //
                      Row{"mobilenet_v3_large_unet", 6'686'840, 26'384, 25.02, 145},       //
                      Row{"mobilenet_v3_small_unet", 3'586'664, 14'096, 20.95, 145},       //
                      Row{"xception_unet", 28'770'416, 56'512, 84.65, 145},                //
                      Row{"inception_v4_unet", 48'792'936, 65'152, 123.12, 145},           //
                      Row{"inception_resnet_v2_unet", 62'030'312, 62'528, 130.36, 145},    //
                      Row{"ddrnet23_slim", 5'695'272, 19'840, 9.065, 65},                  //
                      Row{"ddrnet23", 20'147'528, 37'376, 35.754, 129},                    //
                      Row{"ddrnet39", 32'357'448, 48'384, 70.256, 257},                    //
                      Row{"pidnet_s", 7'624'296, 24'256, 11.787, 129},                     //
                      Row{"pidnet_m", 28'537'096, 46'528, 44.321, 129},                    //
                      Row{"gcnet_s", 20'656'360, 65'408, 25.632, 65},                      //
                      Row{"gcnet_m", 79'900'872, 128'512, 102.024, 129},                   //
                      Row{"gcnet_l", 105'903'176, 152'960, 131.023, 257},                  //
                      Row{"swiftnet_rn18", 11'795'652, 13'820, 25.846, 129},               //
                      Row{"fast_scnn", 1'136'632, 23'680, 1.665, 129},                     //
                      Row{"keras_unet", 4'471'880, 3'328, 71.57, 577},                     //
                      Row{"keras_vgg_unet", 12'324'488, 1'920, 194.78, 577},               //
                      Row{"keras_resnet34_unet", 24'439'819, 17'350, 63.18, 145},          //
                      Row{"keras_efficientnet_b0_unet", 10'072'516, 44'000, 38.14, 145},   //
                      Row{"keras_efficientnet_b7_unet", 74'736'408, 312'704, 105.82, 145}  //
                      ));

INSTANTIATE_TEST_SUITE_P(
    SegmentationModelsKeras, NetworkTable,
    ::testing::Values(Row{"keras_vgg16_unet", 23'749'256, 4'032, 198.41, 145},              //
                      Row{"keras_mobilenet_unet", 8'313'480, 23'872, 36.74, 145},           //
                      Row{"keras_mobilenetv2_unet", 8'012'360, 36'096, 36.35, 145},         //
                      Row{"keras_densenet121_unet", 12'060'360, 85'632, 60.41, 145},        //
                      Row{"keras_seresnet50_unet", 35'053'112, 55'104, 83.18, 145},         //
                      Row{"keras_inceptionv3_unet", 29'897'704, 36'416, 78.03, 145},        //
                      Row{"keras_inceptionresnetv2_unet", 62'000'040, 62'528, 130.36, 145}  //
                      ));

TEST(Classifiers, CountsAreThePublishedOnes) {
  const Shape image{1, 224, 224, 3};
  EXPECT_EQ(build_network({"vgg16", 1000, {}}, image).parameter_count(), 138'357'544);
  EXPECT_EQ(build_network({"resnet34", 1000, {}}, image).parameter_count(), 21'797'672);
  EXPECT_EQ(build_network({"efficientnet_b0", 1000, {}}, image).parameter_count(), 5'288'548);
}

}  // namespace
