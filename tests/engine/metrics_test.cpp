#include "engine/infer/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

using namespace macadam;

namespace {

// Labels: class 0 has 10 pixels (8 right, 2 called 1), class 1 has 5 (4 right, 1 called 0).
ConfusionMatrix two_classes() { return ConfusionMatrix(2, {8, 2, 1, 4}); }

/// 8 classes, of which 4 occur and are all predicted right.
ConfusionMatrix half_absent() {
  ConfusionMatrix m(8);
  for (int c = 0; c < 4; ++c) m.add(c, c, 100);
  return m;
}

}  // namespace

TEST(Metrics, HandComputedTwoClasses) {
  const SegmentationMetrics m = compute_metrics(two_classes(), AbsentRule::drop);
  EXPECT_DOUBLE_EQ(m.classes[0].iou, 8.0 / 11);  // TP 8, FN 2, FP 1
  EXPECT_DOUBLE_EQ(m.classes[1].iou, 4.0 / 7);   // TP 4, FN 1, FP 2
  EXPECT_DOUBLE_EQ(m.classes[0].dice, 16.0 / 19);
  EXPECT_DOUBLE_EQ(m.classes[1].dice, 8.0 / 11);
  EXPECT_EQ(m.classes[0].label_pixels, 10u);
  EXPECT_EQ(m.classes[0].predicted_pixels, 9u);
  EXPECT_DOUBLE_EQ(m.pixel_accuracy().value, 12.0 / 15);
  EXPECT_DOUBLE_EQ(m.mean_iou().value, (8.0 / 11 + 4.0 / 7) / 2);
  EXPECT_DOUBLE_EQ(m.mean_dice().value, (16.0 / 19 + 8.0 / 11) / 2);
  EXPECT_EQ(m.pixels, 15u);
}

TEST(Metrics, PrecisionIsOfThePredictedPixelsRecallOfTheLabelled) {
  const SegmentationMetrics m = compute_metrics(two_classes(), AbsentRule::drop);
  EXPECT_DOUBLE_EQ(m.classes[0].precision, 8.0 / 9);
  EXPECT_DOUBLE_EQ(m.classes[0].recall, 8.0 / 10);
  EXPECT_DOUBLE_EQ(m.classes[1].precision, 4.0 / 6);
  EXPECT_DOUBLE_EQ(m.classes[1].recall, 4.0 / 5);
  EXPECT_EQ(m.scores.at(3), (Score{"macc_present", (0.8 + 0.8) / 2}));
  EXPECT_EQ(m.scores.at(4).name, "fwiou");
  EXPECT_DOUBLE_EQ(m.scores.at(4).value, (10 * (8.0 / 11) + 5 * (4.0 / 7)) / 15);
  EXPECT_EQ(title_of("macc_present"), "mean class accuracy");
  EXPECT_EQ(title_of("fwiou"), "frequency-weighted IoU");
}

TEST(Metrics, ARateOfNothingIsNotANumber) {
  ConfusionMatrix m(3);
  m.add(0, 0, 3);
  m.add(0, 2, 1);  // class 1 occurs nowhere, class 2 is predicted and never labelled
  const SegmentationMetrics drop = compute_metrics(m, AbsentRule::drop);
  EXPECT_TRUE(std::isnan(drop.classes[1].precision));
  EXPECT_TRUE(std::isnan(drop.classes[1].recall));
  EXPECT_EQ(drop.classes[2].precision, 0.0);
  EXPECT_TRUE(std::isnan(drop.classes[2].recall));
  EXPECT_DOUBLE_EQ(drop.scores.at(3).value, 0.75);
  EXPECT_DOUBLE_EQ(drop.scores.at(4).value, 0.75);
  EXPECT_EQ(compute_metrics(m, AbsentRule::one).scores.at(3),
            (Score{"macc_absent1", (0.75 + 1 + 1) / 3}));
  EXPECT_EQ(compute_metrics(m, AbsentRule::zero).scores.at(3), (Score{"macc_absent0", 0.25}));
  EXPECT_TRUE(std::isnan(compute_metrics(ConfusionMatrix(2), AbsentRule::drop).scores.at(4).value));
}

TEST(Metrics, RowIsTheLabelAndColumnThePrediction) {
  ConfusionMatrix m(3);
  m.add(0, 2, 7);
  EXPECT_EQ(m.at(0, 2), 7u);
  const SegmentationMetrics metrics = compute_metrics(m, AbsentRule::drop);
  EXPECT_EQ(metrics.classes[0].label_pixels, 7u);
  EXPECT_EQ(metrics.classes[2].predicted_pixels, 7u);
  EXPECT_EQ(metrics.classes[2].iou, 0.0);  // predicted, never labelled: present with IoU 0
  EXPECT_TRUE(std::isnan(metrics.classes[1].iou));
  EXPECT_DOUBLE_EQ(metrics.mean_iou().value, 0.0);
}

TEST(Metrics, AbsentClassRulesAreThreeDifferentNumbersWithThreeNames) {
  const SegmentationMetrics drop = compute_metrics(half_absent(), AbsentRule::drop);
  const SegmentationMetrics one = compute_metrics(half_absent(), AbsentRule::one);
  const SegmentationMetrics zero = compute_metrics(half_absent(), AbsentRule::zero);
  EXPECT_DOUBLE_EQ(drop.mean_iou().value, 1.0);
  EXPECT_DOUBLE_EQ(one.mean_iou().value, 1.0);
  EXPECT_DOUBLE_EQ(zero.mean_iou().value, 0.5);
  EXPECT_EQ(drop.mean_iou().name, "miou_present");
  EXPECT_EQ(one.mean_iou().name, "miou_absent1");
  EXPECT_EQ(zero.mean_dice().name, "mdice_absent0");

  ConfusionMatrix m(4);  // IoU of class 0 and 1: 1/3 each; 2 and 3 absent
  m.add(0, 0);
  m.add(0, 1);
  m.add(1, 0);
  m.add(1, 1);
  EXPECT_DOUBLE_EQ(compute_metrics(m, AbsentRule::drop).mean_iou().value, 1.0 / 3);
  EXPECT_DOUBLE_EQ(compute_metrics(m, AbsentRule::one).mean_iou().value, (2.0 / 3 + 2) / 4);
  EXPECT_DOUBLE_EQ(compute_metrics(m, AbsentRule::zero).mean_iou().value, (2.0 / 3) / 4);
}

TEST(Metrics, NothingLabeledIsNotANumberRatherThanAScore) {
  const SegmentationMetrics m = compute_metrics(ConfusionMatrix(3), AbsentRule::drop);
  EXPECT_TRUE(std::isnan(m.mean_iou().value));
  EXPECT_TRUE(std::isnan(m.mean_dice().value));
  EXPECT_TRUE(std::isnan(m.pixel_accuracy().value));
  EXPECT_EQ(m.pixels, 0u);
}

TEST(Metrics, CountsBeyondFloatPrecisionStayExact) {
  const uint64_t pixels = (1ull << 24) + 1;  // float32 cannot hold it
  ConfusionMatrix m(2);
  m.add(0, 0, pixels);
  for (int i = 0; i < 3; ++i) m.add(0, 1);
  EXPECT_EQ(m.at(0, 0), pixels);
  const SegmentationMetrics metrics = compute_metrics(m, AbsentRule::drop);
  EXPECT_DOUBLE_EQ(metrics.classes[0].iou, 16777217.0 / 16777220.0);
  EXPECT_EQ(metrics.pixels, pixels + 3);
}

TEST(Metrics, DataSetScoreIsNotTheMeanOfBatchScores) {
  ConfusionMatrix first(2, {9, 1, 0, 0}), second(2, {1, 1, 0, 8});
  const double by_batch = (compute_metrics(first, AbsentRule::drop).mean_iou().value +
                           compute_metrics(second, AbsentRule::drop).mean_iou().value) /
                          2;
  first += second;
  const double of_all = compute_metrics(first, AbsentRule::drop).mean_iou().value;
  EXPECT_DOUBLE_EQ(of_all, (10.0 / 12 + 8.0 / 10) / 2);
  EXPECT_GT(std::abs(of_all - by_batch), 0.05);
}

TEST(Metrics, BadIndicesAndSizesAreRefused) {
  ConfusionMatrix m(2);
  EXPECT_THROW(m.add(2, 0), std::logic_error);
  EXPECT_THROW(m.at(0, -1), std::logic_error);
  EXPECT_THROW(ConfusionMatrix(2, {1, 2, 3}), std::logic_error);
  EXPECT_THROW(ConfusionMatrix(0), std::logic_error);
  EXPECT_THROW(m += ConfusionMatrix(3), std::logic_error);
}

TEST(Metrics, TableAlignsColumnsAndMarksAbsentClasses) {
  ConfusionMatrix m(3);
  m.add(0, 0, 3);
  m.add(0, 1, 1);
  const std::vector<std::string> names{"flat", "Gebäude", "sky"};
  const std::string table = metrics_table(compute_metrics(m, AbsentRule::drop), names);
  EXPECT_EQ(table,
            "class              IoU    Dice  precision  recall   label px   pred. px\n"
            "flat            0.7500  0.8571     1.0000  0.7500          4          3\n"
            "Gebäude         0.0000  0.0000     0.0000       -          0          1\n"
            "sky                  -       -          -       -          0          0\n"
            "miou_present    0.3750\n"
            "mdice_present   0.4286\n"
            "pixel_accuracy  0.7500\n"
            "macc_present    0.7500\n"
            "fwiou           0.7500\n");
}

TEST(Metrics, ConfusionTableIsInPerCentOfTheLabelRow) {
  const std::vector<std::string> names{"road", "building"};
  EXPECT_EQ(confusion_table(ConfusionMatrix(2, {3, 1, 0, 0}), names),
            "label \\ %     road  building\n"
            "road         75.00     25.00\n"
            "building         -         -\n");
}

TEST(Metrics, ConfusionTableIsCutInPartsOfEightyColumns) {
  std::vector<std::string> names;
  for (int c = 0; c < 19; ++c) names.push_back("class " + std::to_string(c));
  ConfusionMatrix m(19);
  for (int c = 0; c < 19; ++c) m.add(c, c, 2);
  m.add_unclassified(3, 6);
  std::istringstream lines(confusion_table(m, names));
  size_t longest = 0, rows = 0, none = 0;
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    longest = std::max(longest, line.size());
    if (line.starts_with("class 3 ")) ++rows;
    if (line.ends_with("(none)")) ++none;
    text += line + "\n";
  }
  EXPECT_LE(longest, 80u);
  EXPECT_GE(longest, 70u);
  EXPECT_EQ(rows, 3u) << text;
  EXPECT_EQ(none, 1u) << text;
  EXPECT_NE(text.find("75.00\n"), std::string::npos) << text;
  EXPECT_NE(text.find("25.00"), std::string::npos) << text;
}

TEST(Metrics, APredictionOfNoClassIsAMissOfItsLabel) {
  ConfusionMatrix m(2, {8, 0, 0, 4});
  EXPECT_FALSE(m.has_unclassified());
  m.add_unclassified(0, 2);
  EXPECT_EQ(m.unclassified(0), 2u);
  ConfusionMatrix twice = m;
  twice += m;
  EXPECT_EQ(twice.unclassified(0), 4u);
  EXPECT_NE(twice, m);
  const SegmentationMetrics metrics = compute_metrics(m, AbsentRule::drop);
  EXPECT_DOUBLE_EQ(metrics.classes[0].iou, 8.0 / 10);
  EXPECT_DOUBLE_EQ(metrics.classes[0].dice, 16.0 / 18);
  EXPECT_EQ(metrics.classes[0].label_pixels, 10u);
  EXPECT_EQ(metrics.classes[0].predicted_pixels, 8u);
  EXPECT_DOUBLE_EQ(metrics.pixel_accuracy().value, 12.0 / 14);
  const std::vector<std::string> names{"a", "b"};
  EXPECT_EQ(metrics_json(metrics, m, names).at("unclassified"),
            nlohmann::ordered_json::parse("[2,0]"));
  EXPECT_FALSE(metrics_json(metrics, ConfusionMatrix(2), names).contains("unclassified"));
  EXPECT_THROW(m.add_unclassified(2), std::logic_error);
  EXPECT_THROW(m.unclassified(-1), std::logic_error);
}

TEST(Metrics, JsonCarriesEverythingAndNullForAbsent) {
  const std::vector<std::string> names{"a", "b", "c"};
  ConfusionMatrix m(3);
  m.add(0, 0, 3);
  m.add(1, 0, 1);
  const auto json = metrics_json(compute_metrics(m, AbsentRule::zero), m, names);
  EXPECT_DOUBLE_EQ(json.at("miou_absent0").get<double>(), 0.75 / 3);
  EXPECT_DOUBLE_EQ(json.at("pixel_accuracy").get<double>(), 0.75);
  EXPECT_EQ(json.at("pixels").get<uint64_t>(), 4u);
  EXPECT_EQ(json.at("classes").at(1).at("name"), "b");
  EXPECT_EQ(json.at("classes").at(0).at("precision"), 0.75);
  EXPECT_EQ(json.at("classes").at(0).at("recall"), 1.0);
  EXPECT_TRUE(json.at("classes").at(1).at("precision").is_null());
  EXPECT_TRUE(json.at("classes").at(2).at("iou").is_null());
  EXPECT_EQ(json.at("confusion"), nlohmann::ordered_json::parse("[[3,0,0],[1,0,0],[0,0,0]]"));
}
