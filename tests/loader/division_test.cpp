#include "loader/division.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>

#include "base/error.h"

using namespace macadam;

namespace {

/// Groups of 1 to 12 photos.
std::vector<std::string> some_groups(int count) {
  std::vector<std::string> groups;
  for (int g = 0; g < count; ++g) {
    for (int i = 0; i <= g * 7 % 12; ++i) groups.push_back("group " + std::to_string(g));
  }
  return groups;
}

TEST(Division, NoGroupIsInTwoParts) {
  const std::vector<std::string> groups = some_groups(40);
  for (const uint64_t seed : {0u, 1u, 77u}) {
    const std::vector<size_t> parts = divide(groups, std::array{0.7, 0.2, 0.1}, seed);
    ASSERT_EQ(parts.size(), groups.size());
    std::map<std::string, std::set<size_t>> parts_of;
    for (size_t i = 0; i < parts.size(); ++i) parts_of[groups[i]].insert(parts[i]);
    for (const auto& [group, in] : parts_of) EXPECT_EQ(in.size(), 1u) << group;
  }
}

TEST(Division, SharesAreMetUpToAGroup) {
  const std::vector<std::string> groups = some_groups(60);
  const std::array<double, 3> shares{0.7, 0.2, 0.1};
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<size_t> parts = divide(groups, shares, seed);
    for (size_t part = 0; part < shares.size(); ++part) {
      const auto count = static_cast<double>(std::ranges::count(parts, part));
      EXPECT_NEAR(count, shares[part] * static_cast<double>(groups.size()), 12) << seed;
    }
  }
  std::vector<std::string> photos;
  for (int i = 0; i < 100; ++i) photos.push_back(std::to_string(i));
  const std::vector<size_t> parts = divide(photos, shares, 3);
  EXPECT_EQ(std::ranges::count(parts, 0u), 70);
  EXPECT_EQ(std::ranges::count(parts, 1u), 20);
  EXPECT_EQ(std::ranges::count(parts, 2u), 10);
}

TEST(Division, TheSeedDecidesAloneOnEveryMachine) {
  const std::vector<std::string> groups{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
  const std::array<double, 3> shares{0.6, 0.2, 0.2};
  EXPECT_EQ(divide(groups, shares, 1), divide(groups, shares, 1));
  EXPECT_NE(divide(groups, shares, 1), divide(groups, shares, 2));
  EXPECT_EQ(divide(groups, shares, 1), (std::vector<size_t>{0, 0, 2, 2, 0, 1, 0, 1, 0, 0}));
}

TEST(Division, APartWithoutAShareGetsNothingAndEveryOtherAGroup) {
  const std::vector<std::string> groups{"a", "a", "a", "a", "b", "c"};
  const std::vector<size_t> parts = divide(groups, std::array{0.8, 0.2, 0.0}, 5);
  EXPECT_EQ(std::ranges::count(parts, 2u), 0);
  EXPECT_GT(std::ranges::count(parts, 1u), 0);
  const std::vector<size_t> three = divide(groups, std::array{0.98, 0.01, 0.01}, 5);
  for (const size_t part : {0u, 1u, 2u}) EXPECT_GT(std::ranges::count(three, part), 0) << part;
  EXPECT_THROW(divide(std::vector<std::string>{"a", "a", "b"}, std::array{0.8, 0.1, 0.1}, 5),
               InputError);
}

TEST(Division, GroupsAreOfNames) {
  Dataset dataset;
  dataset.layout = Layout::cityscapes;
  dataset.samples.resize(2);
  dataset.samples[0].id = "ulm_000001_000019";
  dataset.samples[0].sequence = "ulm_000001";
  dataset.samples[1].id = "bonn_000002_000019";
  dataset.samples[1].sequence = "bonn_000002";
  EXPECT_EQ(groups_of(dataset, GroupBy::city), (std::vector<std::string>{"ulm", "bonn"}));
  EXPECT_EQ(groups_of(dataset, GroupBy::sequence),
            (std::vector<std::string>{"ulm_000001", "bonn_000002"}));
  EXPECT_EQ(groups_of(dataset, GroupBy::random),
            (std::vector<std::string>{"ulm_000001_000019", "bonn_000002_000019"}));
  dataset.layout = Layout::plain;
  dataset.samples[0].id = "ulm/first";
  dataset.samples[1].id = "second";
  dataset.samples[1].sequence.clear();
  dataset.samples[1].image = "images/second.jpg";
  for (const auto& [by, word] :
       {std::pair{GroupBy::city, "no city"}, std::pair{GroupBy::sequence, "no sequence"}}) {
    try {
      groups_of(dataset, by);
      ADD_FAILURE();
    } catch (const InputError& error) {
      for (const char* part : {"1 of 2 photos", word, "images/second.jpg"}) {
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      }
    }
  }
  EXPECT_THROW(parse_group_by("town"), InputError);
}

}  // namespace
