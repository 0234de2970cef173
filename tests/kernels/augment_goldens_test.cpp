// Programs against what Albumentations 1.3.1 and OpenCV make of a picture
// (tests/golden/make_augment_goldens.py).

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numbers>

#include "base/to_size.h"
#include "tests/kernels/augmenter.h"
#include "tests/kernels/npy.h"

namespace macadam::testing {
namespace {

using Table = AugmentBuilder::Table;

class AugmentGolden : public AugmentingTest {
 protected:
  /// Every byte goes through the tables that `table` makes of the parameters, bit for bit.
  template <typename MakeTable>
  void check_tables(const std::string& name, const MakeTable& table) {
    NpyFile file = augment_golden(name);
    const NpyArray parameters = file.next(), expected = file.next();
    const size_t count = to_size(parameters.shape[0]);
    const size_t width = parameters.values.size() / count;
    Picture bytes{256, 1, {}, std::vector<uint8_t>(256)};
    for (size_t i = 0; i < 3 * 256; ++i) bytes.rgb.push_back(static_cast<uint8_t>(i / 3));
    for (size_t k = 0; k < count; ++k) {
      std::vector<float> own(
          parameters.values.begin() + static_cast<std::ptrdiff_t>(k * width),
          parameters.values.begin() + static_cast<std::ptrdiff_t>((k + 1) * width));
      AugmentBuilder builder(256, 1);
      builder.table(table(own));
      const Picture made = run(bytes, builder);
      for (size_t i = 0; i < 3 * 256; ++i) {
        EXPECT_EQ(made.rgb[i], expected.values[3 * 256 * k + i])
            << name << " " << k << ", byte " << i / 3;
      }
    }
  }

  /// Colours to within 2 levels but for one in a thousand; labels away from ties exactly.
  void check_warp(const std::string& name, const AugmentBuilder& program, NpyFile& file) {
    const NpyArray colors = file.next(), compared = file.next(), labels = file.next(),
                   plain = file.next();
    const Picture made = run(photo(), program);
    double squares = 0;
    int count = 0, far = 0;
    for (size_t i = 0; i < made.rgb.size(); ++i) {
      if (compared.values[i / 3] == 0) continue;
      const double difference = made.rgb[i] - colors.values[i];
      squares += difference * difference;
      far += std::abs(difference) > 2 ? 1 : 0;
      ++count;
    }
    const double psnr = 10 * std::log10(255.0 * 255.0 * count / std::max(squares, 1e-9));
    EXPECT_LE(far, count / 1000) << name;
    EXPECT_GT(psnr, 45) << name;
    int different = 0, checked = 0;
    for (size_t i = 0; i < made.labels.size(); ++i) {
      if (plain.values[i] == 0) continue;
      different += made.labels[i] != labels.values[i] ? 1 : 0;
      ++checked;
    }
    EXPECT_EQ(different, 0) << name;
    EXPECT_GT(checked, 48 * 64 / 2) << name;
    RecordProperty(name + "_psnr", static_cast<int>(psnr));
  }
};

INSTANTIATE_TEST_SUITE_P(Cpu, AugmentGolden, ::testing::Values("Cpu"));
INSTANTIATE_TEST_SUITE_P(Reference, AugmentGolden, ::testing::Values("Reference"));
#if defined(MACADAM_HAS_EMULATED)
INSTANTIATE_TEST_SUITE_P(Emulated, AugmentGolden, ::testing::Values("Emulated"));
#endif
#if defined(MACADAM_HAS_CUDA)
INSTANTIATE_TEST_SUITE_P(Cuda, AugmentGolden, ::testing::Values("Cuda"));
#endif

uint8_t truncated(float v) { return static_cast<uint8_t>(std::clamp(v, 0.0f, 255.0f)); }

TEST_P(AugmentGolden, BrightnessAndContrast) {
  check_tables("brightness_contrast", [](const std::vector<float>& p) {
    Table table;
    for (auto& channel : table)
      for (size_t i = 0; i < 256; ++i) {
        const float scaled = static_cast<float>(i) * p[0];
        channel[i] = truncated(scaled + static_cast<float>(double{p[1]} * 255));
      }
    return table;
  });
}

TEST_P(AugmentGolden, Gamma) {
  check_tables("gamma", [](const std::vector<float>& p) {
    Table table;
    for (auto& channel : table)
      for (size_t i = 0; i < 256; ++i) {
        const double v = std::pow(static_cast<double>(i) * (1.0 / 255), double{p[0]}) * 255;
        channel[i] = static_cast<uint8_t>(v);
      }
    return table;
  });
}

TEST_P(AugmentGolden, RgbShift) {
  check_tables("rgb_shift", [](const std::vector<float>& p) {
    Table table;
    for (size_t c = 0; c < 3; ++c)
      for (size_t i = 0; i < 256; ++i) table[c][i] = truncated(static_cast<float>(i) + p[c]);
    return table;
  });
}

TEST_P(AugmentGolden, Blur) {
  NpyFile file = augment_golden("blur");
  const NpyArray sizes = file.next(), expected = file.next();
  const Picture picture = photo();
  for (size_t k = 0; k < sizes.values.size(); ++k) {
    AugmentBuilder builder(48, 64);
    builder.blur(static_cast<int>(sizes.values[k]));
    const Picture made = run(picture, builder);
    EXPECT_EQ(made.labels, picture.labels);
    for (size_t i = 0; i < made.rgb.size(); ++i) {
      ASSERT_EQ(made.rgb[i], expected.values[k * made.rgb.size() + i]) << sizes.values[k];
    }
  }
}

/// The matrix from output to input of ShiftScaleRotate.
std::array<float, 6> shift_scale_rotate(const std::vector<double>& p, double height, double width) {
  const double radians = p[0] * std::numbers::pi / 180;
  const double a = p[1] * std::cos(radians), b = p[1] * std::sin(radians);
  const double cx = width / 2 - 0.5, cy = height / 2 - 0.5;
  const double tx = (1 - a) * cx - b * cy + p[2] * width;
  const double ty = b * cx + (1 - a) * cy + p[3] * height;
  const double d = a * a + b * b;  // forward: a b tx, -b a ty
  const auto f = [](double v) { return static_cast<float>(v); };
  return {f(a / d), f(-b / d), f((-a * tx + b * ty) / d),
          f(b / d), f(a / d),  f((-b * tx - a * ty) / d)};
}

TEST_P(AugmentGolden, ShiftScaleRotate) {
  for (const std::string name : {"turned", "grown", "bordered"}) {
    NpyFile file = augment_golden("warp_" + name);
    AugmentBuilder builder(48, 64);
    builder.fill({9, 90, 200}, 255);
    builder.affine(shift_scale_rotate(file.next().values, 48, 64),
                   name == "bordered" ? Border::constant : Border::reflect);
    check_warp(name, builder, file);
  }
}

/// As grid_distortion places the ends of its segments.
std::vector<float> grid_ends(const double* steps, int extent) {
  const int step = extent / 5;
  std::vector<float> ends{0};
  double end = 0;
  for (int i = 0; i < 6 && i * step < extent; ++i) {
    end = (i + 1) * step <= extent ? end + step * steps[i] : extent;
    ends.push_back(static_cast<float>(end));
  }
  return ends;
}

TEST_P(AugmentGolden, GridDistortion) {
  NpyFile file = augment_golden("warp_grid");
  const NpyArray steps = file.next();
  AugmentBuilder builder(48, 64);
  builder.grid(64 / 5, grid_ends(&steps.values[0], 64), 48 / 5, grid_ends(&steps.values[6], 48),
               Border::reflect);
  check_warp("grid", builder, file);
}

TEST_P(AugmentGolden, OpticalDistortion) {
  for (const std::string name : {"barrel", "pincushion"}) {
    NpyFile file = augment_golden("warp_" + name);
    AugmentBuilder builder(48, 64);
    builder.radial(static_cast<float>(file.next().values[0]), 32, 24, Border::reflect);
    check_warp(name, builder, file);
  }
}

TEST_P(AugmentGolden, ElasticTransform) {
  NpyFile file = augment_golden("warp_elastic"), again = augment_golden("warp_elastic");
  const std::vector<double> matrix = file.next().values;
  NpyArray nodes;
  for (int i = 0; i < 6; ++i) nodes = again.next();
  AugmentBuilder builder(48, 64);
  std::array<float, 6> m;
  std::copy(matrix.begin(), matrix.end(), m.begin());
  builder.affine(m, Border::reflect);
  builder.field(4, 17, 13, std::vector<float>(nodes.values.begin(), nodes.values.end()),
                Border::reflect);
  check_warp("elastic", builder, file);
}

}  // namespace
}  // namespace macadam::testing
