// Augmentation programs on the CPU and by the CUDA kernels: the same bytes, whatever the program.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "base/to_size.h"
#include "emulated_ops.h"
#include "kernels/augment.h"
#include "kernels/cpu/cpu_ops.h"

namespace macadam {
namespace {

using Random = std::mt19937;

int whole(Random& random, int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(random);
}

float real(Random& random, float low, float high) {
  return std::uniform_real_distribution<float>(low, high)(random);
}

Border border(Random& random) {
  return whole(random, 0, 3) == 0 ? Border::constant : Border::reflect;
}

void add_geometry(AugmentBuilder& builder, int kind, Random& random) {
  const int h = builder.height(), w = builder.width();
  const auto fw = static_cast<float>(w), fh = static_cast<float>(h);
  switch (kind) {
    case 0: return builder.mirror();
    case 1:
      return builder.affine(
          {real(random, 0.6f, 1.4f), real(random, -0.5f, 0.5f), real(random, -0.3f, 0.3f) * fw,
           real(random, -0.5f, 0.5f), real(random, 0.6f, 1.4f), real(random, -0.3f, 0.3f) * fh},
          border(random));
    case 2: {
      const auto ends = [&](int extent, int& step) {
        step = std::max(1, extent / 3);
        const int segments = (extent + step - 1) / step;
        std::vector<float> result{0};
        for (int i = 0; i < segments; ++i) {
          result.push_back(result.back() + static_cast<float>(step) * real(random, 0.7f, 1.4f));
        }
        return result;
      };
      int step_x = 1, step_y = 1;
      const auto ends_x = ends(w, step_x), ends_y = ends(h, step_y);
      return builder.grid(step_x, ends_x, step_y, ends_y, border(random));
    }
    case 3: return builder.radial(real(random, -0.3f, 0.3f), fw / 2, fh / 2, border(random));
    default: {
      const int spacing = 4, nodes_x = (w + 2) / spacing + 2, nodes_y = (h + 2) / spacing + 2;
      std::vector<float> displacements(2 * to_size(nodes_x * nodes_y));
      for (float& d : displacements) d = real(random, -3, 3);
      return builder.field(spacing, nodes_x, nodes_y, displacements, border(random));
    }
  }
}

AugmentBuilder::Table random_table(Random& random) {
  AugmentBuilder::Table table;
  for (auto& channel : table) {
    for (uint8_t& entry : channel) entry = static_cast<uint8_t>(whole(random, 0, 255));
  }
  return table;
}

void add_pixel_op(AugmentBuilder& builder, int kind, Random& random) {
  const int h = builder.height(), w = builder.width();
  switch (kind) {
    case 0: return builder.table(random_table(random));
    case 1:
      return builder.noise(real(random, -3, 3), real(random, 1, 30), whole(random, 0, 1) == 1,
                           {static_cast<uint32_t>(random()), static_cast<uint32_t>(random())});
    case 2:
      return builder.hsv(whole(random, -90, 90), whole(random, -40, 40), whole(random, -40, 40));
    case 3: return builder.saturation(real(random, 0.2f, 1.8f));
    case 4: return builder.equalize(real(random, 1, 4), whole(random, 1, 4), whole(random, 1, 4));
    case 5: {
      std::vector<std::vector<AugmentBuilder::Corner>> polygons(2);
      for (auto& polygon : polygons) {
        for (int i = whole(random, 3, 5); i > 0; --i) {
          polygon.push_back({.x = whole(random, 0, w), .y = whole(random, 0, h)});
        }
      }
      return builder.shadow(polygons);
    }
    case 6: {
      const int y = whole(random, 0, h - 1), x = whole(random, 0, w - 1);
      return builder.hole(y, x, y + h / 3, x + w / 3, {1, 200, 77}, whole(random, -1, 5));
    }
    default: return builder.blur(2 * whole(random, 1, 15) + 1);
  }
}

/// The programs of a batch and their limits.
struct Programs {
  std::vector<uint32_t> memory;
  AugmentLimits limits;

  AugmentPrograms view() const {
    return {.data = reinterpret_cast<const std::byte*>(memory.data()), .limits = limits};
  }
};

using Fill = std::function<void(AugmentBuilder&, int sample)>;

Programs programs_of(const Shape& images, const Fill& fill, int largest_blur) {
  Programs result;
  result.limits.blur = largest_blur;
  result.limits.equalize_tiles = 16;
  std::vector<AugmentBuilder> builders;
  for (int i = 0; i < images.n; ++i) {
    AugmentBuilder& builder = builders.emplace_back(images.h, images.w);
    fill(builder, i);
    result.limits.bytes = std::max(result.limits.bytes, builder.bytes());
    std::vector<uint32_t> words(builder.bytes() / sizeof(uint32_t));
    builder.write(std::as_writable_bytes(std::span(words)));
    const auto& header = *reinterpret_cast<const AugmentHeader*>(words.data());
    result.limits.stages = std::max(result.limits.stages, int{header.stages});
  }
  const size_t words = result.limits.bytes / sizeof(uint32_t);
  result.memory.resize(words * builders.size());
  for (size_t i = 0; i < builders.size(); ++i) {
    builders[i].write(std::as_writable_bytes(std::span(result.memory))
                          .subspan(i * result.limits.bytes, result.limits.bytes));
  }
  return result;
}

struct Output {
  std::vector<uint32_t> x;
  std::vector<uint8_t> labels;

  bool operator==(const Output&) const = default;
};

/// How the tensors of a case lie in memory.
struct Layout {
  DType dtype = DType::f32;
  int extra_channels = 0;  // of the tensor that x is a slice of
  size_t skip = 0;         // bytes before the images
  bool bgr = false;
};

Output run(AugmentOps& ops, const Shape& shape, const Programs& programs, const Layout& layout) {
  Random random(7);
  const auto pixels = to_size(shape.pixels());
  std::vector<uint8_t> images(layout.skip + 3 * pixels), labels(pixels);
  for (size_t i = layout.skip; i < images.size(); ++i) {
    images[i] = static_cast<uint8_t>(whole(random, 0, 255));
  }
  for (uint8_t& label : labels) label = static_cast<uint8_t>(whole(random, 0, 20));
  const Shape wide{shape.n, shape.h, shape.w, 3 + layout.extra_channels};
  const Shape one{shape.n, shape.h, shape.w, 1};
  Output output{.x = std::vector<uint32_t>(pixels * to_size(wide.c), 0xabababab),
                .labels = std::vector<uint8_t>(pixels, 0xab)};
  const Tensor x = Tensor(output.x.data(), wide, layout.dtype).channels(layout.extra_channels, 3);
  std::vector<uint32_t> scratch(augment_scratch_bytes(shape, programs.limits) / 4 + 4);
  Normalization normalization;
  normalization.bgr = layout.bgr;
  ops.augment(Tensor(images.data() + layout.skip, shape, DType::u8),
              Tensor(labels.data(), one, DType::u8), programs.view(), normalization,
              reinterpret_cast<std::byte*>(scratch.data()), x,
              Tensor(output.labels.data(), one, DType::u8));
  return output;
}

/// The CPU has no fp16: its fp32 is rounded.
Output expected_output(const Shape& shape, const Programs& programs, Layout layout) {
  const auto ops = cpu::make_augment_ops();
  if (layout.dtype != DType::f16) return run(*ops, shape, programs, layout);
  layout.dtype = DType::f32;
  Output output = run(*ops, shape, programs, layout);
  const std::vector<uint32_t> words = output.x;
  std::fill(output.x.begin(), output.x.end(), 0xabababab);
  auto* x = reinterpret_cast<f16*>(output.x.data());
  for (size_t i = 0; i < words.size(); ++i) {
    const size_t channel = i % to_size(3 + layout.extra_channels);
    if (channel < to_size(layout.extra_channels)) continue;
    x[i] = scalar::to_f16(scalar::float_of_bits(words[i]));
  }
  return output;
}

void expect_same(const Shape& shape, const Fill& fill, const Layout& layout = {},
                 int largest_blur = 31) {
  const Programs programs = programs_of(shape, fill, largest_blur);
  Ops emulated = emulated::make_ops();
  const Output expected = expected_output(shape, programs, layout);
  const Output made = run(*emulated.augment, shape, programs, layout);
  EXPECT_EQ(expected.labels, made.labels) << shape.text();
  size_t differ = 0, first = 0;
  for (size_t i = 0; i < expected.x.size(); ++i) {
    if (expected.x[i] != made.x[i] && differ++ == 0) first = i;
  }
  EXPECT_EQ(differ, 0u) << shape.text() << ", the first word: " << first;
}

const std::vector<Shape> kShapes{{1, 1, 1, 3},   {2, 1, 9, 3},    {1, 7, 1, 3},  {2, 5, 7, 3},
                                 {2, 33, 65, 3}, {1, 48, 132, 3}, {2, 36, 64, 3}};

TEST(AugmentProgram, EmptyProgramsCopy) {
  for (const Shape& shape : kShapes)
    expect_same(
        shape, [](AugmentBuilder&, int) {}, {}, 0);
}

class AugmentGeometry : public ::testing::TestWithParam<int> {};

TEST_P(AugmentGeometry, IsThatOfTheCpu) {
  Random random(static_cast<unsigned>(GetParam()) + 1);
  for (const Shape& shape : kShapes) {
    expect_same(
        shape, [&](AugmentBuilder& b, int) { add_geometry(b, GetParam(), random); }, {}, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, AugmentGeometry, ::testing::Range(0, 5));

class AugmentPixelOp : public ::testing::TestWithParam<int> {};

TEST_P(AugmentPixelOp, IsThatOfTheCpu) {
  Random random(static_cast<unsigned>(GetParam()) + 11);
  for (const Shape& shape : kShapes) {
    expect_same(shape, [&](AugmentBuilder& b, int) { add_pixel_op(b, GetParam(), random); });
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, AugmentPixelOp, ::testing::Range(0, 8));

TEST(AugmentProgram, EveryBoxIsThatOfTheCpu) {
  for (const int size : {3, 5, 7, 9, 15, 17, 31}) {
    expect_same(
        {1, 40, 70, 3}, [&](AugmentBuilder& b, int) { b.blur(size); }, {}, size);
  }
}

TEST(AugmentProgram, MoreTablesThanSharedMemoryHolds) {
  Random random(5);
  expect_same({1, 9, 12, 3}, [&](AugmentBuilder& b, int) {
    for (int i = 0; i < 7; ++i) {
      if (i == 2) b.blur(3);
      b.table(random_table(random));
      b.saturation(1.1f);
    }
  });
}

TEST(AugmentProgram, RandomProgramsGiveTheSameBytes) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    Random random(seed);
    const Shape& shape = kShapes[seed % kShapes.size()];
    const Layout layout{.dtype = std::vector{DType::f32, DType::bf16, DType::f16}[seed % 3],
                        .extra_channels = seed % 4 == 3 ? 2 : 0,
                        .skip = seed % 5 == 4 ? size_t{1} : size_t{0},
                        .bgr = seed % 2 == 1};
    expect_same(
        shape,
        [&](AugmentBuilder& b, int sample) {
          b.fill({10, 20, 30}, 255);
          int blurs = 0;
          for (int i = sample == 0 ? 7 : whole(random, 0, 6); i > 0; --i) {
            if (whole(random, 0, 2) == 0) {
              add_geometry(b, whole(random, 0, 4), random);
            } else {
              const int kind = whole(random, 0, 7);
              blurs += kind == 4 || kind == 7 ? 1 : 0;
              if (blurs > 4) break;
              add_pixel_op(b, kind, random);
            }
          }
        },
        layout);
  }
}

}  // namespace
}  // namespace macadam
