#include "bench/augment_programs.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "base/to_size.h"

namespace macadam::bench {

namespace {

/// Six segments an axis, of which every other one is stretched.
std::vector<float> grid_ends(int extent, int step) {
  std::vector<float> ends{0};
  for (int i = 0; i * step < extent; ++i) {
    ends.push_back(ends.back() + static_cast<float>(step) * (i % 2 == 0 ? 1.1f : 0.9f));
  }
  return ends;
}

void add_warp(AugmentBuilder& builder, int kind) {
  const int height = builder.height(), width = builder.width();
  const auto h = static_cast<float>(height), w = static_cast<float>(width);
  switch (kind % 4) {
    case 0:
      return builder.affine({0.98f, 0.1f, 0.02f * w, -0.1f, 0.98f, -0.01f * h}, Border::reflect);
    case 1: {
      const int step_x = std::max(1, width / 5), step_y = std::max(1, height / 5);
      return builder.grid(step_x, grid_ends(width, step_x), step_y, grid_ends(height, step_y),
                          Border::reflect);
    }
    case 2: return builder.radial(0.05f, w / 2, h / 2, Border::reflect);
    default: {
      constexpr int kSpacing = 16;
      const int nodes_x = width / kSpacing + 2, nodes_y = height / kSpacing + 2;
      std::vector<float> displacements(2 * to_size(nodes_x) * to_size(nodes_y));
      for (size_t i = 0; i < displacements.size(); ++i) {
        displacements[i] = 3.0f * std::sin(static_cast<float>(i));
      }
      return builder.field(kSpacing, nodes_x, nodes_y, displacements, Border::reflect);
    }
  }
}

AugmentBuilder::Table brighter() {
  AugmentBuilder::Table table;
  for (size_t c = 0; c < table.size(); ++c) {
    for (size_t i = 0; i < table[c].size(); ++i) {
      table[c][i] = static_cast<uint8_t>(std::min<size_t>(i + 5 * c + i / 8, 255));
    }
  }
  return table;
}

}  // namespace

BatchPrograms make_programs(AugmentList list, const Shape& images) {
  constexpr int kBlur = 7;
  std::vector<AugmentBuilder> builders;
  BatchPrograms programs;
  int warps = 0;
  for (int i = 0; i < images.n; ++i) {
    AugmentBuilder& builder = builders.emplace_back(images.h, images.w);
    // A bit a transform; each is done to half of the samples.
    constexpr int kMasks[] = {0b00111, 0b01110, 0b11100, 0b10001,
                              0b11010, 0b00101, 0b01001, 0b10010};
    const int mask = list == AugmentList::plain  ? (i % 2 == 0 ? 0b10001 : 0b10000)
                     : list == AugmentList::full ? 0b11111
                                                 : kMasks[i % 8];
    if ((mask & 1) != 0) builder.mirror();
    if ((mask & 2) != 0) add_warp(builder, warps++);
    if ((mask & 4) != 0) {
      builder.blur(kBlur - 2 * (i % 3));
      programs.limits.blur = kBlur;
    }
    if ((mask & 8) != 0) builder.noise(0, 5, true, {17u, static_cast<uint32_t>(i)});
    if ((mask & 16) != 0) builder.table(brighter());
    programs.limits.bytes = std::max(programs.limits.bytes, builder.bytes());
  }
  programs.bytes.resize(programs.limits.bytes * builders.size());
  for (size_t i = 0; i < builders.size(); ++i) {
    builders[i].write(
        std::span(programs.bytes).subspan(i * programs.limits.bytes, programs.limits.bytes));
  }
  return programs;
}

}  // namespace macadam::bench
