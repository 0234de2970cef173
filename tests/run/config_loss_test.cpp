// The loss of a configuration: its expression, its keys, weights of classes.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "run/config.h"
#include "run/loss_expression.h"
#include "tests/run/config_complaints.h"

using namespace macadam;
using macadam::testing::expect_complaint, macadam::testing::kMinimal, macadam::testing::parse;

TEST(Config, EveryTermOfTheLossHasItsKeys) {
  const Config c = parse(kMinimal +
                         "loss = \"tversky + 2*focal\"\nfocal_gamma = 1.5\ntversky_alpha = 0.2\n"
                         "tversky_smooth = 0\nclass_weights = [1, 2]\ndice_absent = \"zero\"\n");
  const std::span<const LossTerm> terms = c.loss.used();
  ASSERT_EQ(terms.size(), 2u);
  EXPECT_EQ(terms[0].weight, 2.f);
  EXPECT_EQ(terms[0].parameters[0], 1.5f);
  EXPECT_EQ(terms[1].parameters[0], 0.2f);
  EXPECT_EQ(terms[1].parameters[1], 0.7f) << "its default";
  EXPECT_EQ(terms[1].parameters[2], 0.f);
  EXPECT_EQ(c.loss.absent, AbsentClass::zero);
  const std::string resolved = to_toml(c);
  EXPECT_NE(resolved.find("tversky_beta = 0.7\n"), std::string::npos) << resolved;
  EXPECT_EQ(resolved.find("dice_smooth"), std::string::npos) << resolved;
  EXPECT_EQ(to_toml(parse(resolved)), resolved);
  const std::string loss = "loss = \"tversky + focal\"\n";
  expect_complaint(loss + "focal_gamma = -1", {"'focal_gamma' is -1", "0 to 10"});
  expect_complaint(loss + "tversky_beta = 0", {"'tversky_beta' is 0", "0.01 to 100"});
  expect_complaint("loss = \"edge\"\nedge_width = 1.5", {"'edge_width' holds a fraction"});
  expect_complaint("loss = \"edge\"\nedge_width = 65", {"'edge_width' is 65", "1 to 64"});
  expect_complaint("loss = \"edge\"\nboundary_weight = 1", {"'boundary_weight' has no effect"});
  expect_complaint("loss = \"lovasz\"\ndice_absent = \"zero\"", {"'dice_absent' has no effect"});
  const std::string none = "loss = \"ohem + dice\"\nohem_threshold = 0\n";
  expect_complaint(none + "ohem_min_kept = 0", {"'ohem_min_kept' is 0", "keeps no pixel"});
  EXPECT_NO_THROW(parse(kMinimal + none));
  EXPECT_NO_THROW(parse(kMinimal + "loss = \"ohem\"\nohem_min_kept = 0\n"));
  EXPECT_EQ(parse(kMinimal + "loss = \"edge\"\nedge_width = 5\n").loss.terms[0].parameters[0], 5);
}

TEST(Config, ClassWeightsMayBeARule) {
  const Config c =
      parse(kMinimal + "class_weights = \"effective_number\"\n" + "class_weights_beta = 0.99\n");
  EXPECT_EQ(c.class_weighting, ClassWeighting::effective_number);
  EXPECT_EQ(c.class_weighting_options.beta, 0.99);
  EXPECT_TRUE(c.class_weights.empty());
  const std::string resolved = to_toml(c);
  EXPECT_NE(resolved.find("class_weights = \"effective_number\"\n"), std::string::npos);
  EXPECT_EQ(resolved.find("class_weights_cap"), std::string::npos);
  EXPECT_EQ(to_toml(parse(resolved)), resolved);
  for (const std::string_view name : class_weighting_names()) {
    const Config by_name = parse(kMinimal, {fmt::format("class_weights={}", name)});
    ASSERT_TRUE(by_name.class_weighting);
    EXPECT_EQ(name_of(*by_name.class_weighting), name);
  }
  EXPECT_FALSE(
      parse(kMinimal + "class_weights = \"enet\"", {"class_weights=none"}).class_weighting);
  const Config list = parse(kMinimal + "class_weights = \"enet\"", {"class_weights=[1, 2]"});
  EXPECT_FALSE(list.class_weighting);
  EXPECT_EQ(list.class_weights.size(), 2u);
  expect_complaint("class_weights = \"enet\"\nclass_weights_cap = 5",
                   {"'class_weights_cap' has no effect", "balanced"});
  expect_complaint("loss = \"dice\"\nclass_weights = \"enet\"", {"'class_weights' has no effect"});
}

TEST(Config, ClassWeightsMayCountInTermsOverClasses) {
  const std::string weights = "loss = \"dice\"\nclass_weights = [1, 2]\n";
  expect_complaint(weights, {"'class_weights' has no effect", "region_weights = true"});
  const Config c = parse(kMinimal + weights + "region_weights = true\n");
  EXPECT_TRUE(c.loss.weigh_regions);
  EXPECT_EQ(to_toml(parse(to_toml(c))), to_toml(c));
  EXPECT_NE(to_toml(c).find("region_weights = true\n"), std::string::npos);
  expect_complaint("loss = \"ce\"\nregion_weights = true", {"'region_weights' has no effect"});

  EXPECT_FALSE(parse(kMinimal).loss.weigh_regions);
}

TEST(Config, TermsOverClassesMayBeOfImages) {
  const Config c = parse(kMinimal + "region_reduction = \"image\"\n");
  EXPECT_TRUE(c.loss.per_image);
  EXPECT_EQ(to_toml(parse(to_toml(c))), to_toml(c));
  EXPECT_FALSE(parse(kMinimal).loss.per_image);
  EXPECT_FALSE(parse(to_toml(c), {"region_reduction=batch"}).loss.per_image);
  expect_complaint("loss = \"ce\"\nregion_reduction = \"image\"",
                   {"'region_reduction' has no effect", "dice"});
  expect_complaint("region_reduction = \"images\"", {"did you mean \"image\""});
  expect_complaint("loss = \"dice:smp\"\nregion_reduction = \"image\"",
                   {"'region_reduction' is set by dice:smp in the loss"});
}

namespace {

/// In the order and with the weights that it comes to.
std::string parsed(std::string_view expression) {
  return loss_text(parse_loss(expression, "w").loss());
}

}  // namespace

TEST(LossExpression, TermsAndWeights) {
  EXPECT_EQ(parsed("ce"), "ce");
  EXPECT_EQ(parsed(" dice+ce "), "ce + dice");
  EXPECT_EQ(parsed("0.5*ce + dice * 2"), "0.5*ce + 2*dice");
  EXPECT_EQ(parsed("1e+1*ce + 1e-1 * dice"), "10*ce + 0.1*dice");
  EXPECT_EQ(parsed("tversky + focal*3 + 2*jaccard"), "3*focal + 2*jaccard + tversky");
}

TEST(LossExpression, PresetsAreTermsWithAllTheyNeed) {
  EXPECT_EQ(parsed("focal:keras + 2*dice:keras"), "0.25/classes*focal + 2*dice");
  EXPECT_EQ(parsed("2*total:keras"), "0.5/classes*focal + 2*dice");
  EXPECT_EQ(parsed("ce:keras"), "1/classes*ce");
  EXPECT_EQ(parsed("3 /classes * ce"), "3/classes*ce");
  EXPECT_EQ(parse_loss("ce + dice", "w").loss().absent, AbsentClass::skip);
  EXPECT_EQ(parse_loss("ce + dice:smp", "w").loss().absent, AbsentClass::zero);
  EXPECT_EQ(parse_loss("lovasz:smp + dice:keras", "w").loss().absent, AbsentClass::suppress);
  const LossDesc four = with_classes(parse_loss("2*focal:keras", "w").loss(), 4);
  EXPECT_EQ(four.terms[0].weight, 0.125f);
  EXPECT_FALSE(four.terms[0].over_classes);
  for (const char* wrong :
       {"dice:smp + jaccard:keras", "dice:smp + dice", "total:keras + focal:keras", "dice:torch",
        "0/classes*ce", "ce/classes"}) {
    EXPECT_THROW(parse_loss(wrong, "first.toml:3"), InputError) << wrong;
  }
  expect_complaint("loss = \"dice:smp + jaccard:keras\"",
                   {"dice:smp counts absent classes as a loss of 0", "jaccard:keras pushes"});
  expect_complaint("loss = \"dice:smp\"\ndice_smooth = 1",
                   {"'dice_smooth' is set by dice:smp in the loss"});
  expect_complaint("loss = \"dice:smp\"\ndice_absent = \"skip\"", {"'dice_absent' is set by"});
  expect_complaint("loss = \"dice:keres\"", {"did you mean 'dice:keras'"});
  const Config c = parse(kMinimal + "loss = \"tversky:smp + ce\"\n");
  EXPECT_EQ(c.loss.terms[1].parameters[0], 0.5f);
  EXPECT_EQ(c.loss.absent, AbsentClass::zero);
  const std::string resolved = to_toml(c);
  EXPECT_NE(resolved.find("tversky_alpha = 0.5\n"), std::string::npos) << resolved;
  EXPECT_NE(resolved.find("dice_absent = \"zero\"\n"), std::string::npos) << resolved;
  EXPECT_EQ(to_toml(parse(resolved)), resolved);
}

TEST(LossExpression, TextComesBack) {
  for (const char* text : {"ce", "dice", "ce + dice", "0.1*ce + 30000000000*dice",
                           "1e-20*ce + dice", "ce + focal + dice + 0.5*tversky"}) {
    EXPECT_EQ(parsed(text), text);
  }
  for (const LossTermInfo& info : loss_term_infos()) EXPECT_EQ(parsed(info.name), info.name);
}

TEST(LossExpression, MistakesAreNamed) {
  for (const char* wrong :
       {"", "ce +", "+ ce", "ce ce", "2", "ce*dice", "0*ce", "-1*ce", "nan*ce", "inf*ce", "2*3*ce",
        "ce + ce", "hinge", "ce - dice", "1e999*ce", "ce + focal + dice + jaccard + tversky"}) {
    EXPECT_THROW(parse_loss(wrong, "first.toml:3"), InputError) << wrong;
  }
  std::string names;
  for (const LossTermInfo& info : loss_term_infos()) {
    names += std::string(names.empty() ? "" : ", ") + info.name;
  }
  try {
    parse_loss("ce + dise", "first.toml:3");
    FAIL() << "accepted";
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_TRUE(message.starts_with(
        "unknown loss 'dise': first.toml:3: did you mean 'dice'? (valid: " + names +
        ", dice:smp, "))
        << message;
    EXPECT_TRUE(message.ends_with(", lovasz:smp)")) << message;
  }
}
