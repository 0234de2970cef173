// The official Cityscapes scores, digit for digit with the official script: the numbers are those
// that tests/golden/make_cityscapes_scores.py prints (cityscapesScripts 2.3.0,
// evalPixelLevelSemanticLabeling) for the masks of count() below.

#include "loader/cityscapes_scores.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "loader/cityscapes_instances.h"

namespace macadam {
namespace {

using Ids = std::vector<int>;

/// Two pairs of masks: labels, and predictions of which two in three are the label; of persons,
/// riders and vehicles an instance every 15 columns.
struct Counted {
  ConfusionMatrix ids{kCityscapesIds};
  CityscapesInstances instances;
};

Counted count(const Ids& ids) {
  constexpr int kPixels = 40 * 60;
  Counted counted;
  for (const uint32_t seed : {1u, 2u}) {
    uint32_t state = seed;
    const auto draw = [&] {
      state = state * 1664525u + 1013904223u;
      return state >> 16;
    };
    std::vector<uint16_t> instances;
    std::vector<uint8_t> predictions;
    for (int p = 0; p < kPixels; ++p) {
      const int label = ids[draw() % ids.size()];
      const uint32_t value = draw();
      const int found = value % 3 != 0 ? label : ids[value / 3 % ids.size()];
      counted.ids.add(label, found);
      instances.push_back(static_cast<uint16_t>(label >= 24 ? 1000 * label + p % 60 / 15 : label));
      predictions.push_back(static_cast<uint8_t>(found));
    }
    counted.instances.add(instances, predictions, "instances.png");
  }
  return counted;
}

ConfusionMatrix counts(const Ids& ids) { return count(ids).ids; }

void expect_scores(const std::vector<CityscapesScores::Score>& scores,
                   const std::vector<double>& wanted) {
  std::vector<double> found;
  for (const auto& score : scores) {
    if (!std::isnan(score.iou)) found.push_back(score.iou);
  }
  EXPECT_EQ(found, wanted);  // the same bits
}

TEST(CityscapesScores, AllIds) {
  Ids ids(kCityscapesIds);
  std::iota(ids.begin(), ids.end(), 0);
  const CityscapesScores scores = cityscapes_scores(counts(ids));
  ASSERT_EQ(scores.classes.size(), 19u);
  ASSERT_EQ(scores.categories.size(), 7u);
  EXPECT_EQ(scores.classes[0].name, "road");
  EXPECT_EQ(scores.categories[0].name, "flat");
  expect_scores(scores.classes,
                {0.5968586387434555, 0.5405405405405406, 0.6140350877192983, 0.5471698113207547,
                 0.5808383233532934, 0.5773809523809523, 0.49122807017543857, 0.5966850828729282,
                 0.5418994413407822, 0.5534591194968553, 0.5432098765432098, 0.5882352941176471,
                 0.6257668711656442, 0.5163043478260869, 0.5416666666666666, 0.5497382198952879,
                 0.5714285714285714, 0.6645962732919255, 0.6013513513513513});
  expect_scores(scores.categories,
                {0.5860215053763441, 0.5943204868154158, 0.59251968503937, 0.5565476190476191,
                 0.5432098765432098, 0.6126984126984127, 0.6424180327868853});
  EXPECT_EQ(scores.class_iou, 0.5706522389595099);
  EXPECT_EQ(scores.category_iou, 0.5896765169010366);
}

TEST(CityscapesScores, InstancesCountTheSameHoweverLargeTheyAre) {
  Ids ids(kCityscapesIds);
  std::iota(ids.begin(), ids.end(), 0);
  const Counted counted = count(ids);
  const CityscapesInstanceScores scores = instance_scores(counted.ids, counted.instances);
  ASSERT_EQ(scores.classes.size(), 8u);
  ASSERT_EQ(scores.categories.size(), 2u);
  EXPECT_EQ(scores.classes[5].name, "train");
  EXPECT_EQ(scores.categories[0].name, "human");
  expect_scores(scores.classes,
                {0.6749620057874309, 0.7479868692246653, 0.6052787825164219, 0.6716546706932393,
                 0.6461606527970971, 0.6899407717119924, 0.756479528586305, 0.655910427996432});
  expect_scores(scores.categories, {0.7160907217255442, 0.7351613596369139});
  EXPECT_EQ(scores.class_iou, 0.6810467136641979);
  EXPECT_EQ(scores.category_iou, 0.725626040681229);
}

TEST(CityscapesScores, InstancesThatAreNowhereAreNoPartOfAMean) {
  Ids ids;
  for (int id = 0; id < kCityscapesIds; ++id) {
    if (id != 23 && id != 24 && id != 25 && id != 31) ids.push_back(id);
  }
  const Counted counted = count(ids);
  const CityscapesInstanceScores scores = instance_scores(counted.ids, counted.instances);
  EXPECT_TRUE(std::isnan(scores.classes[0].iou));
  EXPECT_TRUE(std::isnan(scores.categories[0].iou));
  expect_scores(scores.classes, {0.7065185431004246, 0.7306729938575507, 0.6407219818956418,
                                 0.6634532959700559, 0.6814858840748159});
  EXPECT_EQ(scores.class_iou, 0.6845705397796977);
  EXPECT_EQ(scores.category_iou, 0.7692618709903923);
  EXPECT_TRUE(std::isnan(
      instance_scores(ConfusionMatrix(kCityscapesIds), CityscapesInstances()).class_iou));
}

TEST(CityscapesScores, NumbersThatAreNoInstancesAreNamed) {
  CityscapesInstances instances;
  const std::vector<uint8_t> found{7, 7, 7};
  instances.add(std::vector<uint16_t>{7, 1000, 9001}, found, "a.png");  // roads, parking: ignored
  EXPECT_EQ(instances.of_category(0).misses, 0);
  for (const uint16_t number : {7001, 34000, 65535}) {
    try {
      instances.add(std::vector<uint16_t>{7, 7, number}, found, "a.png");
      ADD_FAILURE() << number;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("instance " + std::to_string(number)),
                std::string::npos)
          << error.what();
      EXPECT_NE(std::string(error.what()).find("a.png"), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(instances.add(std::vector<uint16_t>(2), found, ""), std::logic_error);
}

TEST(CityscapesScores, InstancesLieBesideTheLabels) {
  Sample sample;
  sample.mask = "gtFine/val/ulm/ulm_1_gtFine_labelIds.png";
  EXPECT_EQ(instance_file(sample), "gtFine/val/ulm/ulm_1_gtFine_instanceIds.png");
  sample.mask = "masks/ulm_1.png";
  EXPECT_THROW(instance_file(sample), InputError);
}

TEST(CityscapesScores, WhatOccursNowhereIsNoPartOfAMean) {
  Ids ids;
  for (int id = 0; id < kCityscapesIds; ++id) {
    if (id != 23 && id != 24 && id != 25 && id != 31) ids.push_back(id);  // sky, human, train
  }
  const CityscapesScores scores = cityscapes_scores(counts(ids));
  expect_scores(scores.classes,
                {0.5873015873015873, 0.6703296703296703, 0.5585106382978723, 0.609375,
                 0.559748427672956, 0.592391304347826, 0.6494252873563219, 0.5568181818181818,
                 0.5191256830601093, 0.6040609137055838, 0.5833333333333334, 0.6214689265536724,
                 0.5754189944134078, 0.5375722543352601, 0.5939086294416244});
  expect_scores(scores.categories, {0.6368563685636857, 0.5977443609022557, 0.6204933586337761,
                                    0.584, 0.6597222222222222});
  EXPECT_EQ(scores.class_iou, 0.5879192554644938);
  EXPECT_EQ(scores.category_iou, 0.619763262064388);
  EXPECT_TRUE(std::isnan(cityscapes_scores(ConfusionMatrix(kCityscapesIds)).category_iou));
}

TEST(CityscapesScores, IgnoredIdsCountAsLabelsNowhereAndAsPredictionsAsMisses) {
  constexpr int kRoad = 7, kParking = 9, kCar = 26, kCaravan = 29;
  ConfusionMatrix matrix(kCityscapesIds);
  matrix.add(kRoad, kRoad, 6);
  matrix.add(kRoad, kParking, 2);   // a miss of flat, though parking is flat
  matrix.add(kParking, kCar, 100);  // nothing: parking is not evaluated
  matrix.add(kCaravan, kCaravan, 9);
  matrix.add(kCar, kCar, 1);
  const CityscapesScores scores = cityscapes_scores(matrix);
  EXPECT_EQ(scores.categories.front().iou, 6.0 / 8);
  EXPECT_EQ(scores.categories.back().iou, 1.0);
  EXPECT_EQ(scores.category_iou, (0.75 + 1) / 2);
}

}  // namespace
}  // namespace macadam
