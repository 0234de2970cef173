// Programs of augmentation: what the builder writes, and what every backend does with it.

#include "kernels/augment_program.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/to_size.h"
#include "tests/kernels/augmenter.h"

namespace macadam::testing {
namespace {

using Kind = CoordinateMap::Kind;
using Table = AugmentBuilder::Table;

Table table_of(int factor, int shift) {
  Table table;
  for (size_t c = 0; c < 3; ++c)
    for (size_t i = 0; i < 256; ++i) {
      table[c][i] =
          static_cast<uint8_t>(static_cast<int>(i) * factor + shift * static_cast<int>(c + 1));
    }
  return table;
}

Table table_at(const WrittenProgram& program, size_t op) {
  Table table;
  std::memcpy(&table, program.bytes().data() + program.header().op[op].data, sizeof table);
  return table;
}

TEST(AugmentBuilder, AProgramThatDoesNothing) {
  const WrittenProgram program(AugmentBuilder(3, 5));
  EXPECT_EQ(program.header().maps, 0);
  EXPECT_EQ(program.header().mirror, 0);
  EXPECT_EQ(program.header().stages, 1);
  EXPECT_EQ(program.header().stage[0].last, 0);
  EXPECT_EQ(program.bytes().size() % 16, 0u);
}

TEST(AugmentBuilder, TwoMirrorsAreNone) {
  AugmentBuilder builder(3, 5);
  builder.mirror();
  EXPECT_EQ(WrittenProgram(builder).header().mirror, 1);
  EXPECT_EQ(WrittenProgram(builder).header().maps, 0);
  builder.mirror();
  EXPECT_EQ(WrittenProgram(builder).header().mirror, 0);
}

TEST(AugmentBuilder, AMirrorMergesWithMatricesAndStandsBetweenOtherMaps) {
  AugmentBuilder before(4, 8);
  before.mirror();
  before.affine({1, 2, 3, 4, 5, 6}, Border::constant);
  const WrittenProgram merged(before);
  EXPECT_EQ(merged.header().maps, 1);
  EXPECT_EQ(merged.header().mirror, 0);
  EXPECT_EQ(merged.header().map[0].value, (std::array<float, 6>{-1, -2, 7 - 3, 4, 5, 6}));
  EXPECT_EQ(merged.header().map[0].border, Border::constant);

  AugmentBuilder after(4, 8);
  after.affine({1, 2, 3, 4, 5, 6}, Border::reflect);
  after.mirror();
  EXPECT_EQ(WrittenProgram(after).header().map[0].value,
            (std::array<float, 6>{-1, 2, 7 * 1 + 3, -4, 5, 7 * 4 + 6}));

  AugmentBuilder between(4, 8);
  between.radial(0.1f, 4, 2, Border::reflect);
  between.mirror();
  between.radial(0.2f, 4, 2, Border::reflect);
  const WrittenProgram three(between);
  ASSERT_EQ(three.header().maps, 3);
  EXPECT_EQ(three.header().map[0].value[0], 0.2f);  // the last transform is asked first
  EXPECT_EQ(three.header().map[1].value, (std::array<float, 6>{-1, 0, 7, 0, 1, 0}));
  EXPECT_EQ(three.header().map[2].value[0], 0.1f);
}

TEST(AugmentBuilder, NeighboringTablesComposeExactly) {
  AugmentBuilder builder(4, 8);
  const Table first = table_of(3, 7), second = table_of(5, -20);
  builder.table(first);
  EXPECT_EQ(builder.last_table(), first);
  builder.table(second);
  const WrittenProgram program(builder);
  ASSERT_EQ(program.header().stage[0].last, 1);
  const Table composed = table_at(program, 0);
  for (size_t c = 0; c < 3; ++c)
    for (size_t i = 0; i < 256; ++i) EXPECT_EQ(composed[c][i], second[c][first[c][i]]);
  EXPECT_EQ(builder.last_table(), composed);
}

TEST(AugmentBuilder, TablesDoNotComposeAcrossABlurOrAStage) {
  AugmentBuilder builder(4, 8);
  builder.table(table_of(3, 7));
  builder.blur(3);
  EXPECT_EQ(builder.last_table(), table_of(1, 0));
  builder.table(table_of(5, 1));
  builder.blur(5);
  builder.table(table_of(7, 1));
  builder.equalize(2, 2, 2);
  builder.table(table_of(9, 1));
  const AugmentHeader header = WrittenProgram(builder).header();
  ASSERT_EQ(header.stages, 3);
  const auto expect = [](const AugmentStage& s, int first, int blur_at, int last, int blur) {
    EXPECT_EQ(s.first, first);
    EXPECT_EQ(s.blur_at, blur_at);
    EXPECT_EQ(s.last, last);
    EXPECT_EQ(s.blur, blur);
  };
  expect(header.stage[0], 0, 1, 2, 3);
  expect(header.stage[1], 2, 2, 3, 5);
  expect(header.stage[2], 3, 5, 5, 0);
  EXPECT_EQ(header.op[3].kind, PixelOp::Kind::equalize);
}

TEST(AugmentBuilder, RefusesMoreThanAProgramHolds) {
  AugmentBuilder maps(8, 8);
  for (int i = 0; i < AugmentHeader::kMaxMaps; ++i) maps.radial(0.1f, 4, 4, Border::reflect);
  EXPECT_THROW(maps.radial(0.1f, 4, 4, Border::reflect), std::logic_error);
  AugmentBuilder ops(8, 8);
  for (int i = 0; i < AugmentHeader::kMaxOps; ++i) ops.saturation(0.5f);
  EXPECT_THROW(ops.saturation(0.5f), std::logic_error);
  AugmentBuilder stages(8, 8);
  for (int i = 0; i < AugmentHeader::kMaxStages; ++i) stages.blur(3);
  EXPECT_THROW(stages.blur(3), std::logic_error);
  EXPECT_THROW(AugmentBuilder(8, 8).blur(4), std::logic_error);
  EXPECT_THROW(AugmentBuilder(8, 8).blur(33), std::logic_error);
  std::vector<std::byte> small(stages.bytes() - 16);
  EXPECT_THROW(stages.write(small), std::logic_error);
  const std::vector<float> nodes(2 * 2 * 2);
  EXPECT_THROW(AugmentBuilder(8, 9).field(7, 2, 2, nodes, Border::reflect), std::logic_error);
}

TEST(AugmentScratch, IsForStagesAlone) {
  const Shape images{2, 3, 5, 3};
  EXPECT_EQ(augment_scratch_bytes(images, {.bytes = 4096}), 0u);
  EXPECT_GE(augment_scratch_bytes(images, {.bytes = 4096, .stages = 2, .equalize_tiles = 4}),
            2u * (2 * 45 + 4 * 256));
}

class AugmentProgram : public AugmentingTest {};

/// Backends other than the reference itself.
class AugmentProgramMatch : public AugmentProgram {};

INSTANTIATE_TEST_SUITE_P(Reference, AugmentProgram, ::testing::Values("Reference"));
INSTANTIATE_TEST_SUITE_P(Cpu, AugmentProgram, ::testing::Values("Cpu"));
INSTANTIATE_TEST_SUITE_P(Cpu, AugmentProgramMatch, ::testing::Values("Cpu"));
#if defined(MACADAM_HAS_EMULATED)
INSTANTIATE_TEST_SUITE_P(Emulated, AugmentProgram, ::testing::Values("Emulated"));
INSTANTIATE_TEST_SUITE_P(Emulated, AugmentProgramMatch, ::testing::Values("Emulated"));
#endif
#if defined(MACADAM_HAS_CUDA)
INSTANTIATE_TEST_SUITE_P(Cuda, AugmentProgram, ::testing::Values("Cuda"));
INSTANTIATE_TEST_SUITE_P(Cuda, AugmentProgramMatch, ::testing::Values("Cuda"));
#endif

constexpr struct {
  int height, width, batches;
} kSizes[] = {{1, 1, 8},    {1, 2, 8},    {2, 1, 8},   {1, 40, 8},  {5, 3, 16},
              {17, 23, 40}, {67, 61, 12}, {3, 259, 4}, {65, 300, 4}};

TEST_P(AugmentProgramMatch, IsTheReferenceBitForBit) {
  Backend& reference = *find_augmenting_backend("Reference");
  std::mt19937 random(20240402);
  for (const auto& [height, width, batches] : kSizes)
    for (int batch = 0; batch < batches; ++batch) {
      std::vector<Picture> pictures;
      std::vector<AugmentBuilder> programs;
      for (int n = 0; n < 3; ++n) {
        pictures.push_back(random_picture(height, width, random));
        programs.push_back(random_program(height, width, random));
      }
      const Prepared expected = augment(reference, pictures, programs);
      const Prepared made = augment(*backend_, pictures, programs);
      ASSERT_EQ(made.x, expected.x) << height << "x" << width << ", batch " << batch;
      ASSERT_EQ(made.labels, expected.labels) << height << "x" << width << ", batch " << batch;
    }
}

TEST_P(AugmentProgram, NothingAndAMirrorAreCopies) {
  std::mt19937 random(1);
  const Picture picture = random_picture(9, 37, random);
  AugmentBuilder nothing(9, 37);
  EXPECT_EQ(run(picture, nothing), picture);
  AugmentBuilder mirror(9, 37);
  mirror.mirror();
  const Picture mirrored = run(picture, mirror);
  EXPECT_EQ(run(mirrored, mirror), picture);
  for (size_t x = 0; x < 37; ++x) {
    EXPECT_EQ(mirrored.labels[37 + x], picture.labels[37 + 36 - x]);
    for (size_t c = 0; c < 3; ++c)
      EXPECT_EQ(mirrored.rgb[3 * (37 + x) + c], picture.rgb[3 * (37 + 36 - x) + c]);
  }
}

TEST_P(AugmentProgram, MapsActInTheOrderOfTheTransforms) {
  std::mt19937 random(2);
  const Picture picture = random_picture(11, 16, random);
  AugmentBuilder turn(11, 16), shift(11, 16), both(11, 16);
  const auto add_turn = [](AugmentBuilder& b) { b.affine({-1, 0, 15, 0, 1, 0}, Border::reflect); };
  const auto add_shift = [](AugmentBuilder& b) { b.affine({1, 0, -4, 0, 1, 2}, Border::constant); };
  add_turn(turn);
  add_shift(shift);
  add_turn(both);
  add_shift(both);
  EXPECT_EQ(run(picture, both), run(run(picture, turn), shift));
  EXPECT_NE(run(picture, both), run(run(picture, shift), turn));
}

TEST_P(AugmentProgram, AConstantBorderIsFilledAndIgnored) {
  std::mt19937 random(3);
  const Picture picture = random_picture(10, 12, random);
  AugmentBuilder shift(10, 12);
  shift.fill({1, 2, 3}, 255);
  shift.affine({1, 0, 5, 0, 1, 0}, Border::constant);
  const Picture shifted = run(picture, shift);
  for (size_t y = 0; y < 10; ++y)
    for (size_t x = 0; x < 12; ++x) {
      const size_t i = 12 * y + x;
      const bool filled = x >= 7;
      EXPECT_EQ(shifted.labels[i], filled ? 255 : picture.labels[i + 5]);
      EXPECT_EQ(shifted.rgb[3 * i + 2], filled ? 3 : picture.rgb[3 * (i + 5) + 2]);
    }
}

TEST_P(AugmentProgram, NoLabelIsInvented) {
  std::mt19937 random(4);
  for (int round = 0; round < 60; ++round) {
    const Picture picture = random_picture(21, 34, random);
    const AugmentBuilder program = random_program(21, 34, random);
    std::array<bool, 256> known{};
    known[255] = true;  // the fill
    for (const uint8_t label : picture.labels) known[label] = true;
    const AugmentHeader header = WrittenProgram(program).header();
    for (const PixelOp& op : header.op) {
      if (op.kind == PixelOp::Kind::hole && op.flag != 0) known[op.fill[3]] = true;
    }
    for (const uint8_t label : run(picture, program).labels) ASSERT_TRUE(known[label]);
  }
}

TEST_P(AugmentProgram, HolesKeepLabelsUnlessTheyAreGivenOne) {
  std::mt19937 random(5);
  const Picture picture = random_picture(10, 12, random);
  AugmentBuilder kept(10, 12), given(10, 12);
  kept.hole(2, 3, 5, 30, {9, 8, 7}, -1);
  given.hole(2, 3, 5, 30, {9, 8, 7}, 0);
  EXPECT_EQ(run(picture, kept).labels, picture.labels);
  EXPECT_EQ(run(picture, kept).rgb, run(picture, given).rgb);
  const Picture holed = run(picture, given);
  for (size_t y = 0; y < 10; ++y)
    for (size_t x = 0; x < 12; ++x) {
      const bool within = y >= 2 && y < 5 && x >= 3;
      EXPECT_EQ(holed.labels[12 * y + x], within ? 0 : picture.labels[12 * y + x]);
      EXPECT_EQ(holed.rgb[3 * (12 * y + x)], within ? 9 : picture.rgb[3 * (12 * y + x)]);
    }
}

TEST_P(AugmentProgram, BoxMeansAreRoundedForEverySize) {
  std::mt19937 random(6);
  Picture picture = random_picture(40, 41, random);
  for (const uint8_t high : std::array<uint8_t, 2>{1, 255}) {
    for (uint8_t& v : picture.rgb) v = v % 2 == 0 ? 0 : high;
    for (int size = 1; size <= AugmentHeader::kMaxBlur; size += 2) {
      AugmentBuilder builder(40, 41);
      builder.blur(size);
      const Picture blurred = run(picture, builder);
      const int y = 20, x = 18, radius = size / 2;
      int sum = 0;
      for (int dy = -radius; dy <= radius; ++dy)
        for (int dx = -radius; dx <= radius; ++dx)
          sum += picture.rgb[to_size(3 * ((y + dy) * 41 + x + dx))];
      EXPECT_EQ(blurred.rgb[3 * (y * 41 + x)], std::lround(sum / double(size * size))) << size;
    }
  }
}

/// Programs that differ, and their pictures.
struct Batch {
  std::vector<Picture> pictures;
  std::vector<AugmentBuilder> programs;
};

Batch mixed_batch() {
  std::mt19937 random(7);
  Batch batch;
  for (int n = 0; n < 4; ++n) {
    batch.pictures.push_back(random_picture(37, 45, random));
    batch.programs.push_back(random_program(37, 45, random));
  }
  AugmentBuilder& toned = batch.programs[0] = AugmentBuilder(37, 45);
  toned.table(table_of(3, 5));
  batch.programs[1] = AugmentBuilder(37, 45);
  return batch;
}

TEST_P(AugmentProgram, NormalizesInEveryLayout) {
  const Batch batch = mixed_batch();
  const Prepared bytes = augment(*backend_, batch.pictures, batch.programs);
  const Normalization usual{},
      caffe{.mean = {104, 117, 124}, .std = {1, 2, 4}, .range = 255, .bgr = true};
  for (const Normalization& n : {usual, caffe}) {
    const Prepared dense = augment(*backend_, batch.pictures, batch.programs, {.normalization = n});
    for (size_t i = 0; i < bytes.x.size(); ++i) {
      const size_t c = i % 3;
      const double byte = bytes.x[n.bgr ? i - c + 2 - c : i];
      ASSERT_NEAR(dense.x[i], (byte * n.range / 255 - n.mean[c]) / n.std[c], 2e-5);
    }
    EXPECT_EQ(
        augment(*backend_, batch.pictures, batch.programs, {.normalization = n, .pixel_stride = 8}),
        dense);
    for (const int stride : {3, 5}) {
      const Prepared halves =
          augment(*backend_, batch.pictures, batch.programs,
                  {.normalization = n, .dtype = DType::bf16, .pixel_stride = stride});
      for (size_t i = 0; i < dense.x.size(); ++i) {
        ASSERT_NEAR(halves.x[i], dense.x[i], std::abs(dense.x[i]) / 256 + 1e-6);
      }
      EXPECT_EQ(
          augment(*backend_, batch.pictures, batch.programs,
                  {.normalization = n, .dtype = DType::bf16, .pixel_stride = 8, .spare = true}),
          halves);
    }
    EXPECT_EQ(augment(*backend_, batch.pictures, batch.programs,
                      {.normalization = n, .pixel_stride = 8, .spare = true}),
              dense);
  }
}

TEST(CpuAugmentProgram, HasTheSameBitsForAnyNumberOfThreads) {
  Backend& cpu = *find_augmenting_backend("Cpu");
  std::mt19937 random(8);
  for (int round = 0; round < 6; ++round) {
    std::vector<Picture> pictures;
    std::vector<AugmentBuilder> programs;
    for (int n = 0; n < 3; ++n) {
      pictures.push_back(random_picture(130, 140, random));
      programs.push_back(random_program(130, 140, random));
    }
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    const Prepared one = augment(cpu, pictures, programs);
    omp_set_num_threads(2);
    const Prepared two = augment(cpu, pictures, programs);
    omp_set_num_threads(threads);
    EXPECT_EQ(one, two);
  }
}

}  // namespace
}  // namespace macadam::testing
