#include "engine/plan/memory_planner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "base/to_size.h"

using namespace macadam;

namespace {

constexpr size_t kAlignment = 256;

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

bool meet_in_time(const MemoryBlock& a, const MemoryBlock& b) {
  return a.first <= b.last && b.first <= a.last;
}

/// What must hold of every placement.
void expect_valid(const std::vector<MemoryBlock>& blocks, const MemoryPlacement& placement) {
  ASSERT_EQ(placement.offsets.size(), blocks.size());
  EXPECT_GE(placement.arena, placement.peak);
  for (size_t i = 0; i < blocks.size(); ++i) {
    const size_t begin = placement.offsets[i], end = begin + blocks[i].bytes;
    EXPECT_EQ(begin % kAlignment, 0u);
    EXPECT_LE(end, placement.arena);
    for (size_t j = 0; j < i; ++j) {
      if (!meet_in_time(blocks[i], blocks[j])) continue;
      const size_t other = placement.offsets[j];
      EXPECT_TRUE(end <= other || other + blocks[j].bytes <= begin || blocks[i].bytes == 0 ||
                  blocks[j].bytes == 0)
          << "blocks " << j << " and " << i;
    }
  }
}

size_t peak_by_time(const std::vector<MemoryBlock>& blocks, int times) {
  size_t peak = 0;
  for (int t = 0; t < times; ++t) {
    size_t alive = 0;
    for (const MemoryBlock& b : blocks) {
      if (b.first <= t && t <= b.last) alive += aligned(b.bytes);
    }
    peak = std::max(peak, alive);
  }
  return peak;
}

TEST(MemoryPlanner, RandomBlocksNeverOverlapWhileAlive) {
  std::mt19937 random(1);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<uint32_t>(n)); };
  constexpr int kTimes = 40;
  double worst = 0, sum = 0;
  constexpr int kLists = 300;
  for (int list = 0; list < kLists; ++list) {
    std::vector<MemoryBlock> blocks(to_size(1 + below(60)));
    const int longest = 1 + below(kTimes);
    for (MemoryBlock& block : blocks) {
      block.bytes = to_size(below(below(2) ? 100'000 : 300));
      block.first = below(kTimes);
      block.last = std::min(kTimes - 1, block.first + below(longest));
    }
    const MemoryPlacement placement = place_blocks(blocks);
    expect_valid(blocks, placement);
    EXPECT_EQ(placement.peak, peak_by_time(blocks, kTimes));
    const double ratio = placement.peak == 0 ? 1.0
                                             : static_cast<double>(placement.arena) /
                                                   static_cast<double>(placement.peak);
    worst = std::max(worst, ratio);
    sum += ratio;
  }
  EXPECT_LE(sum / kLists, 1.02) << "mean of arena / peak";
  EXPECT_LE(worst, 1.3);
}

TEST(MemoryPlanner, BlocksAliveTogetherStandSideBySide) {
  const std::vector<MemoryBlock> blocks{{1000, 0, 5}, {1, 2, 2}, {256, 0, 3}};
  const MemoryPlacement placement = place_blocks(blocks);
  expect_valid(blocks, placement);
  EXPECT_EQ(placement.arena, 1024u + 256u + 256u);
  EXPECT_EQ(placement.peak, placement.arena);
}

TEST(MemoryPlanner, BlocksThatNeverMeetShareOnePlace) {
  const std::vector<MemoryBlock> blocks{{1000, 0, 1}, {5000, 2, 2}, {300, 3, 9}};
  const MemoryPlacement placement = place_blocks(blocks);
  EXPECT_EQ(placement.offsets, (std::vector<size_t>{0, 0, 0}));
  EXPECT_EQ(placement.arena, aligned(5000));
}

TEST(MemoryPlanner, TouchingLifetimesMeet) {
  const std::vector<MemoryBlock> blocks{{256, 0, 2}, {256, 2, 4}};
  EXPECT_EQ(place_blocks(blocks).arena, 512u);
}

TEST(MemoryPlanner, TakesTheTightestGap) {
  // At time 1 the second and the fourth block leave gaps of 4096 and 1536.
  const std::vector<MemoryBlock> blocks{{8192, 0, 1}, {4096, 0, 0}, {2048, 0, 1},
                                        {1536, 0, 0}, {1280, 0, 1}, {1000, 1, 1}};
  const MemoryPlacement placement = place_blocks(blocks);
  expect_valid(blocks, placement);
  EXPECT_EQ(placement.offsets[5], placement.offsets[3]) << "not in the larger gap";
  EXPECT_EQ(placement.arena, placement.peak);
}

TEST(MemoryPlanner, NothingNeedsNothing) {
  EXPECT_EQ(place_blocks({}).arena, 0u);
  const std::vector<MemoryBlock> empty{{0, 0, 3}, {0, 1, 2}};
  EXPECT_EQ(place_blocks(empty).arena, 0u);
}

}  // namespace
