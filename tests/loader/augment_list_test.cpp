// Reading, refusing and writing lists of transforms, and what they may cost.

#include "base/to_size.h"
#include "base/toml.h"
#include "loader/augment/augmentation.h"
#include "tests/image/support.h"
#include "tests/loader/augment_support.h"

namespace macadam {
namespace {

using namespace macadam::testing;

void expect_refused(ParameterList entries, const std::vector<std::string>& parts) {
  std::vector<std::string> all = parts;
  all.push_back("first.toml:3");
  expect_input_error([&] { parse(std::move(entries)); }, all);
}

template <class T>
T only(const AugmentList& list) {
  EXPECT_EQ(list.size(), 1u);
  return std::get<T>(list.at(0).transform);
}

const std::vector<std::string> kNames{"HorizontalFlip",
                                      "ShiftScaleRotate",
                                      "GridDistortion",
                                      "OpticalDistortion",
                                      "ElasticTransform",
                                      "Blur",
                                      "GaussNoise",
                                      "RGBShift",
                                      "RandomBrightness",
                                      "RandomContrast",
                                      "RandomBrightnessContrast",
                                      "RandomGamma",
                                      "ColorJitter",
                                      "HueSaturationValue",
                                      "CLAHE",
                                      "RandomShadow",
                                      "CoarseDropout"};

TEST(AugmentList, NamesAloneHaveTheOriginalsDefaults) {
  for (const std::string& name : kNames) {
    const AugmentList parsed = parse({entry(name.c_str())});
    EXPECT_EQ(parsed[0].p, 0.5) << name;
  }
  EXPECT_EQ(parse({entry("RandomCrop")})[0], (AugmentEntry{RandomCrop{48, 64}, 1}));
  EXPECT_EQ(parse({entry("Compose", {{"transforms", list({entry("Blur")})}})})[0].p, 1.0);
  EXPECT_EQ(parse({entry("OneOf", {{"transforms", list({entry("Blur")})}})})[0].p, 0.5);
}

TEST(AugmentList, AScalarStandsForTheOriginalsRange) {
  const auto ssr =
      only<ShiftScaleRotate>(parse({entry("ShiftScaleRotate", {{"shift_limit", value(0.1)},
                                                               {"shift_limit_y", pair(0.0, 0.2)},
                                                               {"scale_limit", value(0.5)},
                                                               {"rotate_limit", value(10)}})}));
  EXPECT_EQ(ssr.shift_limit_x, (Range{-0.1, 0.1}));
  EXPECT_EQ(ssr.shift_limit_y, (Range{0, 0.2}));
  EXPECT_EQ(ssr.scale_limit, (Range{-0.5, 0.5}));
  EXPECT_EQ(ssr.rotate_limit, (Range{-10, 10}));
  EXPECT_EQ(only<GaussNoise>(parse({entry("GaussNoise", {{"var_limit", value(30)}})})).var_limit,
            (Range{0, 30}));
  EXPECT_EQ(only<Clahe>(parse({entry("CLAHE", {{"clip_limit", value(2.5)}})})).clip_limit,
            (Range{1, 2.5}));
  EXPECT_EQ(only<Clahe>(parse({entry("CLAHE", {{"clip_limit", value(0.5)}})})).clip_limit,
            (Range{0.5, 1}));
  const auto blur = only<Blur>(parse({entry("Blur", {{"blur_limit", value(5)}})}));
  EXPECT_EQ(blur, (Blur{3, 5}));
  const auto jitter = only<ColorJitter>(
      parse({entry("ColorJitter", {{"brightness", value(1.5)}, {"hue", value(0.1)}})}));
  EXPECT_EQ(jitter.brightness, (Range{0, 2.5}));
  EXPECT_EQ(jitter.hue, (Range{-0.1, 0.1}));
}

TEST(AugmentList, DropoutsSmallestIsTheLargestUnlessGiven) {
  const auto t = only<CoarseDropout>(
      parse({entry("CoarseDropout", {{"max_holes", value(3)}, {"max_height", value(12)}})}));
  EXPECT_EQ(t.min_holes, 3);
  EXPECT_EQ(t.min_height, (Extent{12}));
  EXPECT_EQ(t.min_width, (Extent{8}));
}

TEST(AugmentList, TextNamesEveryParameter) {
  ParameterList entries{
      entry("RandomScale", {{"scale_limit", pair(-0.5, 1.0)}, {"p", value(1)}}),
      entry("RandomCrop", {{"class_uniform", value(0.25)}, {"cat_max_ratio", value(0.75)}}),
      entry("OneOf",
            {{"transforms",
              list({entry("HorizontalFlip"),
                    entry("Compose", {{"transforms", list({entry("Blur")})}, {"p", value(0.1)}})})},
             {"p", value(0.3)}}),
      entry("ShiftScaleRotate", {{"border_mode", value("constant")},
                                 {"value", list({value(1), value(2), value(3)})},
                                 {"mask_value", value(7)},
                                 {"shift_limit", value(1e-5)}}),
      entry("CoarseDropout", {{"max_holes", value(2)},
                              {"max_height", value(0.2)},
                              {"max_width", value(0.5)},
                              {"min_height", value(1e-6)},
                              {"mask_fill_value", value(255)}})};
  const AugmentList parsed = parse(entries);
  const std::string text = toml_text(to_value(parsed));
  EXPECT_NE(text.find("border_mode = \"constant\", value = [1, 2, 3], mask_value = 7"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("shift_limit_x = [-1e-05, 1e-05], shift_limit_y"), std::string::npos);
  EXPECT_NE(text.find("{name = \"RandomCrop\", height = 48, width = 64, "
                      "class_uniform = 0.25, cat_max_ratio = 0.75, p = 1}"),
            std::string::npos);
  EXPECT_EQ(toml_text(to_value({})), "[]");
  EXPECT_EQ(toml_text(to_value(default_augmentation())), "[{name = \"HorizontalFlip\", p = 0.5}]");
}

TEST(AugmentList, UnknownNamesAreAnsweredByTheNearest) {
  expect_refused({entry("Blur"), entry("GridDistorsion")},
                 {"augment[1] is the unknown transform 'GridDistorsion'",
                  "did you mean \"GridDistortion\"?", "RandomShadow"});
  expect_refused({entry("Blur"), entry("Blur"), entry("GridDistortion", {{"distort", value(1)}})},
                 {"augment[2] GridDistortion has no parameter 'distort'",
                  "did you mean 'distort_limit'?", "normalized"});
  expect_refused({entry("OneOf", {{"transforms", list({entry("Blur", {{"limit", value(3)}})})}})},
                 {"augment[0] OneOf.transforms[0] Blur has no parameter 'limit'", "'blur_limit'"});
  expect_refused({entry("Blur", {{"always_apply", value(true)}})}, {"'always_apply'", "p = 1"});
  expect_refused({entry("RandomScale", {{"interpolation", value(1)}}), entry("RandomCrop")},
                 {"'interpolation'", "remove it"});
  expect_refused({entry("Normalize")}, {"augment[0] is Normalize", "always comes last"});
  expect_refused({{ParameterTable{{"p", value(1)}}}}, {"augment[0] is a transform without a name"});
  expect_refused({value("Blur")}, {"augment[0] is a string", "write for example"});
  expect_input_error([] { parse_augmentation(value(3), "first.toml:3", kSize); },
                     {"augment is an integer", "first.toml:3"});
}

TEST(AugmentList, WrongTypesAreNamed) {
  expect_refused({entry("GridDistortion", {{"distort_limit", value("big")}})},
                 {"augment[0] GridDistortion.distort_limit is a string", "[low, high]"});
  expect_refused({entry("GridDistortion", {{"distort_limit", list({value(1)})}})},
                 {"distort_limit has 1 values"});
  expect_refused({entry("GridDistortion", {{"distort_limit", list({value(0), value("x")})}})},
                 {"distort_limit is a string"});
  expect_refused({entry("GridDistortion", {{"num_steps", value(5.0)}})},
                 {"num_steps is a number", "an integer from 1 to 64"});
  expect_refused({entry("GridDistortion", {{"normalized", value(1)}})},
                 {"normalized is an integer", "true or false"});
  expect_refused({entry("GridDistortion", {{"border_mode", value(4)}})},
                 {"border_mode is an integer", "\"reflect_101\", \"constant\""});
  expect_refused({entry("GridDistortion", {{"value", value(0.5)}})},
                 {"value is a number", "0 to 255"});
  expect_refused({entry("CLAHE", {{"tile_grid_size", value(8)}})},
                 {"tile_grid_size is an integer", "a list of 2 integers"});
  expect_refused({entry("RandomShadow", {{"shadow_roi", pair(0, 1)}})},
                 {"shadow_roi has 2 values", "a list of 4 numbers"});
  expect_refused({entry("Blur", {{"p", value("often")}})}, {"Blur.p is a string", "from 0 to 1"});
  expect_refused({entry("Blur", {{"blur_limit", value(5.5)}})}, {"blur_limit is a number"});
  expect_refused({entry("OneOf", {{"transforms", value(1)}})},
                 {"augment[0] OneOf.transforms is an integer"});
  expect_refused({entry("CoarseDropout", {{"mask_fill_value", value("zero")}})},
                 {"mask_fill_value is a string", "\"none\""});
}

TEST(AugmentList, ValuesOutOfRangeAreNamed) {
  expect_refused({entry("Blur"), entry("ShiftScaleRotate", {{"scale_limit", value(1.0)}})},
                 {"augment[1] ShiftScaleRotate.scale_limit is 1, which is out of range",
                  "from -0.99 to 10", "[-v, v]"});
  expect_refused({entry("ShiftScaleRotate", {{"rotate_limit", pair(10, -10)}})},
                 {"rotate_limit is [10, -10], the wrong way round"});
  expect_refused({entry("ShiftScaleRotate", {{"shift_limit", value(2)}})},
                 {"shift_limit is 2", "out of range"});
  expect_refused({entry("ShiftScaleRotate", {{"border_mode", value("reflect101")}})},
                 {"border_mode is 'reflect101'", "did you mean \"reflect_101\"?"});
  expect_refused({entry("ShiftScaleRotate", {{"mask_value", value(256)}})},
                 {"mask_value is 256", "255 is ignored"});
  expect_refused({entry("RandomGamma", {{"gamma_limit", value(120)}})},
                 {"gamma_limit is 120", "[low, high] from 1 to 1000"});
  expect_refused({entry("GaussNoise", {{"var_limit", value(-1)}})}, {"var_limit is -1", "[0, v]"});
  expect_refused({entry("ColorJitter", {{"contrast", value(-0.5)}})},
                 {"contrast is -0.5", "[1 - v, 1 + v]"});
  expect_refused({entry("ColorJitter", {{"hue", value(0.6)}})}, {"hue is 0.6"});
  expect_refused({entry("ColorJitter", {{"hue", value(std::nan(""))}})}, {"hue is nan"});
  expect_refused({entry("Blur", {{"blur_limit", value(33)}})}, {"blur_limit is 33", "31"});
  expect_refused({entry("Blur", {{"blur_limit", pair(4, 8)}})}, {"begins at 4", "odd"});
  expect_refused({entry("CLAHE", {{"tile_grid_size", pair(8, 49)}})},
                 {"tile_grid_size is [8, 49], more than 64 x 48"});
  expect_refused({entry("GridDistortion", {{"num_steps", value(40)}})},
                 {"num_steps is 40, too many for 48 x 64 pixels"});
  expect_refused({entry("ElasticTransform", {{"sigma", value(0.5)}})}, {"sigma is 0.5"});
  expect_refused({entry("RandomShadow", {{"num_shadows_lower", value(3)}})},
                 {"num_shadows_lower is 3, more than num_shadows_upper (2)"});
  expect_refused({entry("RandomShadow",
                        {{"shadow_roi", list({value(0), value(0.5), value(1), value(0.25)})}})},
                 {"shadow_roi ends before it begins"});
  expect_refused({entry("CoarseDropout", {{"min_holes", value(9)}})},
                 {"min_holes is 9, more than max_holes (8)"});
  expect_refused({entry("CoarseDropout", {{"max_height", value(0.5)}})},
                 {"max_height is of another kind", "as fractions"});
  expect_refused({entry("CoarseDropout", {{"max_height", value(1.0)}})}, {"max_height is 1.0"});
  expect_refused({entry("CoarseDropout", {{"max_height", value(49)}})},
                 {"max_height is 49, more than the network's height 48"});
  expect_refused({entry("CoarseDropout", {{"min_width", value(9)}})},
                 {"min_width is more than max_width"});
  expect_refused({entry("RandomCrop", {{"class_uniform", value(1.5)}})}, {"class_uniform is 1.5"});
}

TEST(AugmentList, ListsThatMakeNoSenseAreRefused) {
  expect_refused({entry("OneOf")}, {"augment[0] OneOf.transforms is missing"});
  expect_refused({entry("OneOf", {{"transforms", list({})}})}, {"OneOf.transforms is empty"});
  expect_refused({entry("OneOf", {{"transforms", list({entry("Blur", {{"p", value(0)}})})}})},
                 {"has no transform with a positive p"});
  ParameterValue nested = entry("Blur");
  for (int i = 0; i < 12; ++i) nested = entry("Compose", {{"transforms", list({nested})}});
  expect_refused({nested}, {"nested too deeply"});
}

TEST(AugmentList, ScaleAndCropComeFirst) {
  expect_refused({entry("Blur"), entry("RandomCrop")},
                 {"augment[1] RandomCrop stands behind", "begin the list with it"});
  expect_refused({entry("RandomCrop"), entry("RandomScale")}, {"augment[1] RandomScale"});
  expect_refused({entry("RandomCrop"), entry("RandomCrop")}, {"augment[1] RandomCrop"});
  expect_refused({entry("RandomScale")}, {"augment[0] RandomScale has no RandomCrop behind it"});
  expect_refused({entry("RandomScale"), entry("Blur")},
                 {"augment[1] Blur", "RandomScale needs a RandomCrop"});
  expect_refused({entry("RandomScale"), entry("RandomScale")}, {"augment[1] RandomScale"});
  expect_refused({entry("OneOf", {{"transforms", list({entry("RandomCrop")})}})},
                 {"augment[0] OneOf.transforms[0] RandomCrop stands behind or within"});
  EXPECT_EQ(parse({entry("RandomScale"), entry("RandomCrop"), entry("Blur")}).size(), 3u);
}

TEST(AugmentList, ConstantBordersAgree) {
  const auto moved = [](int label) {
    return entry("ShiftScaleRotate",
                 {{"border_mode", value("constant")}, {"mask_value", value(label)}});
  };
  EXPECT_EQ(parse({moved(3), moved(3), entry("OpticalDistortion")}).size(), 3u);
  expect_refused({moved(3), entry("OneOf", {{"transforms", list({moved(4)})}})},
                 {"a ShiftScaleRotate whose value or mask_value differs", "write the same"});
  const Augmentation augmentation(parse({entry("Compose", {{"transforms", list({moved(3)})}})}),
                                  kSize);
  AugmentBuilder builder(kSize.height, kSize.width);
  augmentation.draw(1, 1, 1, nullptr, builder);
  EXPECT_EQ(Program(builder).header.fill, (std::array<uint8_t, 4>{0, 0, 0, 3}));
}

TEST(AugmentList, ProgramsThatCouldNotBeWrittenAreRefused) {
  expect_refused(ParameterList(9, entry("HorizontalFlip")), {"may need 9 geometric steps", "8"});
  expect_refused(ParameterList(5, entry("ElasticTransform")), {"may need 10 geometric steps"});
  expect_refused(ParameterList(25, entry("GaussNoise")), {"may need 25 pixel operations", "24"});
  expect_refused(ParameterList(8, entry("CLAHE")), {"may need 9 stages"});
  EXPECT_NO_THROW(parse(ParameterList(8, entry("Blur"))));
  EXPECT_NO_THROW(parse(
      {entry("OneOf", {{"transforms", list(ParameterList(30, entry("ElasticTransform")))}})}));
  const auto fine = [] { parse({entry("ElasticTransform", {{"sigma", value(1)}})}, {4096, 4096}); };
  expect_input_error(fine, {"MiB a sample", "larger sigma"});
}

/// A list that a seed decides, with nested ones.
ParameterList random_entries(RandomStream& random, int most, int depth) {
  ParameterList entries;
  const int count = random.integer(1, most);
  for (int i = 0; i < count; ++i) {
    const int kind = random.integer(0, static_cast<int>(kNames.size()) + 1);
    Items items{{"p", value(random.uniform(0.1, 1))}};
    if (kind >= static_cast<int>(kNames.size())) {
      if (depth == 0) continue;
      items.push_back({"transforms", list(random_entries(random, 3, depth - 1))});
      if (std::get<ParameterList>(items.back().value.value).empty()) continue;
      entries.push_back(
          entry(kind == static_cast<int>(kNames.size()) ? "OneOf" : "Compose", items));
    } else {
      const std::string& name = kNames[to_size(kind)];
      if (name == "ElasticTransform") items.push_back({"sigma", value(12)});
      if (name == "CoarseDropout") items.push_back({"max_holes", value(3)});
      entries.push_back(entry(name.c_str(), items));
    }
  }
  return entries;
}

TEST(AugmentList, RandomListsKeepToTheirLimits) {
  int lists = 0, programs = 0;
  for (int seed = 0; lists < 100; ++seed) {
    RandomStream random(static_cast<uint64_t>(seed), 0, 0, 0);
    AugmentList parsed;
    try {
      parsed = parse(random_entries(random, 8, 2));
    } catch (const InputError&) {
      continue;  // it might not fit
    }
    ++lists;
    const Augmentation augmentation(parsed, kSize);
    ImageStatistics statistics;
    for (auto& channel : statistics.histogram) channel[99] = 1;
    const AugmentLimits& limits = augmentation.limits();
    EXPECT_EQ(limits.bytes % 16, 0u);
    for (int sample = 0; sample < 20; ++sample, ++programs) {
      AugmentBuilder builder(kSize.height, kSize.width);
      augmentation.draw(1, 1, sample, &statistics, builder);
      EXPECT_LE(builder.bytes(), limits.bytes);
      const Program program(builder);
      EXPECT_LE(program.header.stages, limits.stages);
      for (int s = 0; s < program.header.stages; ++s) {
        EXPECT_LE(program.header.stage[to_size(s)].blur, limits.blur);
      }
      for (int i = 0; i < program.ops(); ++i) {
        const PixelOp& op = program.header.op[to_size(i)];
        if (op.kind == PixelOp::Kind::equalize) {
          EXPECT_LE(op.value[1] * op.value[2], static_cast<float>(limits.equalize_tiles));
        }
      }
    }
  }
  EXPECT_EQ(programs, 2000);
}

TEST(AugmentList, LimitsOfSomeLists) {
  EXPECT_EQ(cost_of({}, kSize).limits(),
            (AugmentLimits{.bytes = (sizeof(AugmentHeader) + 15) / 16 * 16}));
  const AugmentLimits blurs = cost_of(parse({entry("Blur"), entry("Blur")}), kSize).limits();
  EXPECT_EQ(blurs.stages, 2);
  EXPECT_EQ(blurs.blur, 7);
  const AugmentLimits mixed =
      cost_of(parse({entry("Blur"), entry("CLAHE"), entry("Blur")}), kSize).limits();
  EXPECT_EQ(mixed.stages, 2);
  EXPECT_EQ(mixed.equalize_tiles, 64);
}

TEST(AugmentList, StatisticsAreAskedForWhereAMeanCounts) {
  const auto needs = [](ParameterValue transform) {
    return Augmentation(parse({entry("Compose", {{"transforms", list({std::move(transform)})}})}),
                        kSize)
        .needs_statistics();
  };
  EXPECT_TRUE(needs(entry("ColorJitter")));
  EXPECT_FALSE(needs(entry("ColorJitter", {{"contrast", value(0)}})));
  EXPECT_TRUE(needs(entry("RandomBrightnessContrast", {{"brightness_by_max", value(false)}})));
  EXPECT_FALSE(needs(entry("RandomBrightnessContrast")));
  EXPECT_FALSE(needs(entry("RandomContrast")));
}

}  // namespace
}  // namespace macadam
