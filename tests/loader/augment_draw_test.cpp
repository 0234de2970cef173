// What transforms draw: each law, and that nothing but (seed, epoch, sample) decides.

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <set>

#include "base/to_size.h"
#include "loader/augment/augmentation.h"
#include "loader/augment/random_stream.h"
#include "tests/loader/augment_support.h"

namespace macadam {
namespace {

using namespace macadam::testing;

constexpr int kDraws = 20'000;

/// What `transform` draws for many samples.
template <class T>
std::vector<typename T::Drawn> draws_of(const T& transform, int count = kDraws,
                                        ImageSize size = kSize) {
  std::vector<typename T::Drawn> drawn;
  for (int sample = 0; sample < count; ++sample) {
    RandomStream random(11, 3, sample, kAugmentPurpose);
    drawn.push_back(transform.draw(random, size));
  }
  return drawn;
}

template <class Drawn, class Get>
std::vector<double> values_of(const std::vector<Drawn>& drawn, const Get& get) {
  std::vector<double> values;
  for (const Drawn& d : drawn) values.push_back(static_cast<double>(std::invoke(get, d)));
  return values;
}

double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const auto n = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return ab / std::sqrt(aa * bb);
}

std::string program_bytes(const Augmentation& augmentation, uint64_t seed, int64_t epoch,
                          int sample) {
  AugmentBuilder builder(kSize.height, kSize.width);
  ImageStatistics statistics;
  for (auto& channel : statistics.histogram) channel[100] = 1;
  augmentation.draw(seed, epoch, sample, &statistics, builder);
  const Program program(builder);
  return {reinterpret_cast<const char*>(program.bytes().data()), program.bytes().size()};
}

TEST(RandomStream, ReadsTheBlocksOfItsCounter) {
  RandomStream stream(0x0123456789abcdefu, 7, 9, 21);
  for (uint32_t block = 0; block < 3; ++block) {
    const auto expected = scalar::philox({{block, 7, 9, 21}}, 0x89abcdefu, 0x01234567u);
    for (const uint32_t word : expected.word) EXPECT_EQ(stream.word(), word);
  }
}

TEST(RandomStream, NumbersAreUniform) {
  RandomStream stream(1, 2, 3, 4);
  std::vector<double> values, numbers;
  std::vector<int> faces(6), choices(4);
  int heads = 0;
  for (int i = 0; i < kDraws; ++i) {
    values.push_back(stream.uniform(-3, 5));
    ++faces[to_size(stream.integer(-2, 3) + 2)];
    ++choices[stream.choice(std::array{1.0, 0.0, 3.0, 0.5})];
    heads += stream.chance(0.25) ? 1 : 0;
  }
  expect_uniform(values, -3, 5);
  expect_shares(faces, std::vector<double>(6, 1));
  expect_shares(choices, {1, 0, 3, 0.5});
  expect_shares({heads, kDraws - heads}, {0.25, 0.75});
}

TEST(RandomStream, EdgesOfTheRangesAreReached) {
  RandomStream stream(1, 2, 3, 4);
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(stream.chance(1));
    EXPECT_FALSE(stream.chance(0));
    EXPECT_EQ(stream.integer(5, 5), 5);
    EXPECT_EQ(stream.choice(std::array{0.0, 2.0, 0.0}), 1u);
  }
}

TEST(AugmentDraw, ShiftScaleRotate) {
  const ShiftScaleRotate t;
  const auto drawn = draws_of(t);
  const auto angle = values_of(drawn, &ShiftScaleRotate::Drawn::angle);
  const auto scale = values_of(drawn, &ShiftScaleRotate::Drawn::scale);
  const auto dx = values_of(drawn, &ShiftScaleRotate::Drawn::dx);
  const auto dy = values_of(drawn, &ShiftScaleRotate::Drawn::dy);
  expect_uniform(angle, -45, 45);
  expect_uniform(scale, 0.9, 1.1);
  expect_uniform(dx, -0.0625, 0.0625);
  expect_uniform(dy, -0.0625, 0.0625);
  for (const auto& other : {angle, scale, dx}) EXPECT_LT(std::abs(correlation(dy, other)), 0.03);
}

TEST(AugmentDraw, GridDistortion) {
  const auto drawn = draws_of(GridDistortion{});
  for (size_t step = 0; step < 6; ++step) {
    expect_uniform(values_of(drawn, [&](const auto& d) { return d.steps_x.at(step); }), 0.7, 1.3);
    expect_uniform(values_of(drawn, [&](const auto& d) { return d.steps_y.at(step); }), 0.7, 1.3);
  }
  EXPECT_EQ(drawn[0].steps_x.size(), 6u);
  EXPECT_NE(drawn[0].steps_x, drawn[0].steps_y);
}

TEST(AugmentDraw, NormalizedGridsStayWithinTheImage) {
  const GridDistortion t{.normalized = true};
  for (const ImageSize size : {ImageSize{48, 64}, ImageSize{50, 65}, ImageSize{100, 31}}) {
    for (const auto& drawn : draws_of(t, 50, size)) {
      const auto sum = [](const std::vector<double>& v) {
        return std::accumulate(v.begin(), v.end(), 0.0);
      };
      EXPECT_NEAR(sum(drawn.steps_x) * (size.width / 5), size.width, 1e-9);
      EXPECT_NEAR(sum(drawn.steps_y) * (size.height / 5), size.height, 1e-9);
    }
  }
}

TEST(AugmentDraw, OpticalDistortion) {
  const auto drawn = draws_of(OpticalDistortion{});
  expect_uniform(values_of(drawn, &OpticalDistortion::Drawn::k), -0.05, 0.05);
  for (const auto& d : drawn) {  // below half a pixel
    ASSERT_EQ(d.dx, 0);
    ASSERT_EQ(d.dy, 0);
  }
  std::vector<int> shifts(5);
  for (const auto& d : draws_of(OpticalDistortion{.shift_limit = {-2.5, 2.5}})) {
    ++shifts[to_size(d.dx + 2)];
  }
  expect_shares(shifts, {1, 1, 1, 1, 1});
}

TEST(AugmentDraw, ElasticTransform) {
  const auto drawn = draws_of(ElasticTransform{.sigma = 60}, 4000);
  for (size_t i = 0; i < 6; ++i) {
    expect_uniform(values_of(drawn, [&](const auto& d) { return d.corners[i]; }), -50, 50);
  }
  const auto first = values_of(drawn, [](const auto& d) { return d.noise_x.front(); });
  const auto last = values_of(drawn, [](const auto& d) { return d.noise_y.back(); });
  expect_uniform(first, -1, 1);
  expect_uniform(last, -1, 1);
  EXPECT_LT(std::abs(correlation(first, last)), 0.05);
  EXPECT_TRUE(draws_of(ElasticTransform{.same_dxdy = true}, 1)[0].noise_y.empty());
}

TEST(AugmentDraw, Blur) {
  std::map<int, int> sizes;
  for (const auto& d : draws_of(Blur{})) ++sizes[d.size];
  ASSERT_EQ(sizes.size(), 3u);
  expect_shares({sizes[3], sizes[5], sizes[7]}, {1, 1, 1});
  for (const auto& d : draws_of(Blur{.blur_low = 3, .blur_high = 6}, 100)) EXPECT_LE(d.size, 5);
}

TEST(AugmentDraw, GaussNoise) {
  const auto drawn = draws_of(GaussNoise{});
  expect_uniform(values_of(drawn, [](const auto& d) { return d.sigma * d.sigma; }), 10, 50);
  std::set<std::array<uint32_t, 2>> keys;
  for (const auto& d : drawn) keys.insert(d.key);
  EXPECT_EQ(keys.size(), drawn.size());
}

TEST(AugmentDraw, Tones) {
  const auto shifts = draws_of(RgbShift{.g_shift_limit = {-5, 9}});
  expect_uniform(values_of(shifts, [](const auto& d) { return d.shift[0]; }), -20, 20);
  expect_uniform(values_of(shifts, [](const auto& d) { return d.shift[1]; }), -5, 9);
  expect_uniform(values_of(shifts, [](const auto& d) { return d.shift[2]; }), -20, 20);
  expect_uniform(values_of(draws_of(RandomBrightness{}), &RandomBrightness::Drawn::beta), -0.2,
                 0.2);
  expect_uniform(values_of(draws_of(RandomContrast{}), &RandomContrast::Drawn::alpha), 0.8, 1.2);
  expect_uniform(values_of(draws_of(RandomGamma{}), &RandomGamma::Drawn::gamma), 0.8, 1.2);
  const auto both = draws_of(RandomBrightnessContrast{.brightness_limit = {-0.1, 0.3}});
  const auto alpha = values_of(both, &RandomBrightnessContrast::Drawn::alpha);
  const auto beta = values_of(both, &RandomBrightnessContrast::Drawn::beta);
  expect_uniform(alpha, 0.8, 1.2);
  expect_uniform(beta, -0.1, 0.3);
  EXPECT_LT(std::abs(correlation(alpha, beta)), 0.03);
}

TEST(AugmentDraw, Colors) {
  const auto jitter = draws_of(ColorJitter{});
  expect_uniform(values_of(jitter, &ColorJitter::Drawn::brightness), 0.8, 1.2);
  expect_uniform(values_of(jitter, &ColorJitter::Drawn::contrast), 0.8, 1.2);
  expect_uniform(values_of(jitter, &ColorJitter::Drawn::saturation), 0.8, 1.2);
  expect_uniform(values_of(jitter, &ColorJitter::Drawn::hue), -0.2, 0.2);
  std::map<std::array<int, 4>, int> orders;
  for (const auto& d : jitter) ++orders[d.order];
  ASSERT_EQ(orders.size(), 24u);
  std::vector<int> counts;
  for (const auto& [order, count] : orders) counts.push_back(count);
  expect_shares(counts, std::vector<double>(24, 1));

  const auto hsv = draws_of(HueSaturationValue{});
  expect_uniform(values_of(hsv, &HueSaturationValue::Drawn::hue), -20, 20);
  expect_uniform(values_of(hsv, &HueSaturationValue::Drawn::saturation), -30, 30);
  expect_uniform(values_of(hsv, &HueSaturationValue::Drawn::value), -20, 20);
  expect_uniform(values_of(draws_of(Clahe{}), &Clahe::Drawn::clip_limit), 1, 4);
}

TEST(AugmentDraw, RandomShadow) {
  std::vector<int> counts(2), columns(65), rows(25);
  for (const auto& d : draws_of(RandomShadow{})) {
    ++counts.at(d.polygons.size() - 1);
    for (const auto& polygon : d.polygons) {
      ASSERT_EQ(polygon.size(), 5u);
      for (const auto& corner : polygon) {
        ++columns.at(to_size(corner.x));
        ++rows.at(to_size(corner.y - 24));
      }
    }
  }
  expect_shares(counts, {1, 1});
  expect_shares(columns, std::vector<double>(65, 1));
  expect_shares(rows, std::vector<double>(25, 1));
}

TEST(AugmentDraw, CoarseDropout) {
  const CoarseDropout t{.max_holes = 3,
                        .min_holes = 1,
                        .max_height = {6},
                        .max_width = {9},
                        .min_height = {4},
                        .min_width = {8}};
  std::vector<int> counts(3), heights(3), corners(45);
  for (const auto& d : draws_of(t)) {
    ++counts.at(d.holes.size() - 1);
    for (const auto& hole : d.holes) {
      ++heights.at(to_size(hole.height - 4));
      ASSERT_TRUE(hole.width == 8 || hole.width == 9);
      ASSERT_LE(hole.x + hole.width, 64);
      if (hole.height == 4) ++corners.at(to_size(hole.y));
    }
  }
  expect_shares(counts, {1, 1, 1});
  expect_shares(heights, {1, 1, 1});
  expect_shares(corners, std::vector<double>(45, 1));

  const CoarseDropout fractions{.max_height = {0.5, true},
                                .max_width = {0.5, true},
                                .min_height = {0.25, true},
                                .min_width = {0.25, true}};
  std::vector<int> sizes(12);
  for (const auto& d : draws_of(fractions, 5000)) {
    for (const auto& hole : d.holes) ++sizes.at(to_size(hole.height - 12));
  }
  expect_shares(sizes, std::vector<double>(12, 1));
}

TEST(AugmentDraw, ASampleIsTheSameInAnyOrderAndOthersDiffer) {
  const Augmentation augmentation(
      parse({entry("ShiftScaleRotate", {{"p", value(1.0)}}),
             entry("ElasticTransform", {{"sigma", value(9)}, {"p", value(0.5)}}),
             entry("ColorJitter"), entry("GaussNoise", {{"p", value(1.0)}})}),
      kSize);
  std::vector<std::string> forward, backward;
  for (int sample = 0; sample < 20; ++sample) {
    forward.push_back(program_bytes(augmentation, 5, 2, sample));
  }
  for (int sample = 20; sample-- > 0;) {
    backward.push_back(program_bytes(augmentation, 5, 2, sample));
  }
  std::ranges::reverse(backward);
  EXPECT_EQ(forward, backward);
  std::set<std::string> different(forward.begin(), forward.end());
  different.insert(program_bytes(augmentation, 6, 2, 0));
  different.insert(program_bytes(augmentation, 5, 3, 0));
  EXPECT_EQ(different.size(), 22u);
}

TEST(AugmentDraw, MoreTransformsBehindChangeNothingBefore) {
  const std::vector<ParameterValue> first{
      entry("OneOf",
            {{"transforms", list({entry("RGBShift"), entry("RandomGamma")})}, {"p", value(1.0)}}),
      entry("GaussNoise", {{"p", value(1.0)}})};
  std::vector<ParameterValue> longer = first;
  longer.push_back(entry("HueSaturationValue", {{"p", value(1.0)}}));
  const Augmentation a(parse(first), kSize), b(parse(longer), kSize);
  for (int sample = 0; sample < 20; ++sample) {
    AugmentBuilder builder_a(kSize.height, kSize.width), builder_b(kSize.height, kSize.width);
    a.draw(5, 2, sample, nullptr, builder_a);
    b.draw(5, 2, sample, nullptr, builder_b);
    const Program p(builder_a), q(builder_b);
    ASSERT_EQ(p.ops(), 2);
    ASSERT_EQ(q.ops(), 3);
    const auto table_of = [](const Program& program) {
      return program.data<uint8_t>(program.header.op[0].data, 768);
    };
    EXPECT_EQ(table_of(p), table_of(q));
    EXPECT_EQ(p.header.op[1].key, q.header.op[1].key);
    EXPECT_EQ(p.header.op[1].value, q.header.op[1].value);
  }
}

TEST(AugmentDraw, ProbabilitiesAndWeights) {
  const auto noise = [](double mean, double p) {
    return entry("GaussNoise", {{"mean", value(mean)}, {"p", value(p)}});
  };
  const Augmentation augmentation(
      parse({entry("OneOf", {{"p", value(0.8)},
                             {"transforms",
                              list({noise(1, 0.1), noise(2, 0.3), noise(3, 0),
                                    entry("Compose", {{"p", value(0.4)},
                                                      {"transforms", list({noise(4, 0.5)})}})})}}),
             entry("Compose", {{"p", value(0.6)}, {"transforms", list({noise(5, 0.25)})}})}),
      kSize);
  std::vector<int> chosen(5), last(2);  // by mean; 0: none. A chosen Compose draws for its own.
  for (int sample = 0; sample < kDraws; ++sample) {
    AugmentBuilder builder(kSize.height, kSize.width);
    augmentation.draw(1, 1, sample, nullptr, builder);
    const Program program(builder);
    size_t first = 0, fifth = 0;
    for (int i = 0; i < program.ops(); ++i) {
      const auto mean = static_cast<size_t>(program.header.op[to_size(i)].value[0]);
      (mean == 5 ? fifth : first) = mean;
    }
    ++chosen.at(first);
    ++last.at(fifth / 5);
  }
  expect_shares(chosen, {0.2 + 0.2, 0.1, 0.3, 0, 0.2});
  expect_shares(last, {0.85, 0.15});
}

TEST(AugmentDraw, AFlipAloneIsDrawnAsInALongerListAndResamplesNothing) {
  const ParameterValue flip = entry("HorizontalFlip", {{"p", value(0.3)}});
  const Augmentation alone(parse({flip}), kSize);
  const Augmentation longer(parse({flip, entry("GaussNoise")}), kSize);
  int flips = 0;
  for (int sample = 0; sample < 10'000; ++sample) {
    AugmentBuilder one(kSize.height, kSize.width), other(kSize.height, kSize.width);
    alone.draw(3, 2, sample, nullptr, one);
    longer.draw(3, 2, sample, nullptr, other);
    const Program program(one);
    flips += program.header.mirror;
    ASSERT_EQ(Program(other).header.mirror, program.header.mirror);
    ASSERT_EQ(program.header.maps, 0);
    ASSERT_EQ(program.ops(), 0);
  }
  EXPECT_NEAR(flips, 3000, 5 * 46);  // five standard deviations
}

}  // namespace
}  // namespace macadam
