#include "loader/augment/color.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "base/to_size.h"
#include "loader/augment/tone.h"

namespace macadam {

namespace {

/// The table of value * scale + offset in double, the same for all channels.
AugmentBuilder::Table double_table(double scale, double offset) {
  AugmentBuilder::Table table;
  for (size_t v = 0; v < 256; ++v) {
    table[0][v] = truncated_byte(static_cast<double>(v) * scale + offset);
  }
  table[1] = table[2] = table[0];
  return table;
}

/// Grey as OpenCV weighs it.
double gray(const std::array<double, 3>& rgb) {
  return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
}

int floored(double value) { return static_cast<int>(std::floor(value)); }

}  // namespace

void ColorJitter::describe(Fields& fields) {
  fields.range("brightness", brightness, Scalar::about_one, 0, 100);
  fields.range("contrast", contrast, Scalar::about_one, 0, 100);
  fields.range("saturation", saturation, Scalar::about_one, 0, 100);
  fields.range("hue", hue, Scalar::symmetric, -0.5, 0.5);
}

void ColorJitter::add_cost(ImageSize, AugmentCost& cost) const {
  cost.add_table();
  cost.add_table();
  cost.add_op();
  cost.add_op();
}

ColorJitter::Drawn ColorJitter::draw(RandomStream& random, ImageSize) const {
  Drawn drawn;
  drawn.brightness = random.uniform(brightness.low, brightness.high);
  drawn.contrast = random.uniform(contrast.low, contrast.high);
  drawn.saturation = random.uniform(saturation.low, saturation.high);
  drawn.hue = random.uniform(hue.low, hue.high);
  for (int last = 3; last > 0; --last) {
    std::swap(drawn.order[to_size(last)], drawn.order[to_size(random.integer(0, last))]);
  }
  return drawn;
}

void ColorJitter::write(const Drawn& drawn, const ImageStatistics& statistics,
                        AugmentBuilder& builder) const {
  for (const int step : drawn.order) {
    if (step == 0 && drawn.brightness != 1) {
      builder.table(double_table(drawn.brightness, 0));
    } else if (step == 1 && drawn.contrast != 1) {
      const double mean = gray(channel_means(statistics, builder.last_table()));
      builder.table(drawn.contrast == 0
                        ? double_table(0, std::floor(mean + 0.5))
                        : double_table(drawn.contrast, mean * (1 - drawn.contrast)));
    } else if (step == 2 && drawn.saturation != 1) {
      builder.saturation(static_cast<float>(drawn.saturation));
    } else if (step == 3 && drawn.hue != 0) {
      builder.hsv(floored(180 * drawn.hue), 0, 0);
    }
  }
}

void HueSaturationValue::describe(Fields& fields) {
  fields.range("hue_shift_limit", hue_shift_limit, Scalar::symmetric, -180, 180);
  fields.range("sat_shift_limit", sat_shift_limit, Scalar::symmetric, -255, 255);
  fields.range("val_shift_limit", val_shift_limit, Scalar::symmetric, -255, 255);
}

HueSaturationValue::Drawn HueSaturationValue::draw(RandomStream& random, ImageSize) const {
  Drawn drawn;
  drawn.hue = random.uniform(hue_shift_limit.low, hue_shift_limit.high);
  drawn.saturation = random.uniform(sat_shift_limit.low, sat_shift_limit.high);
  drawn.value = random.uniform(val_shift_limit.low, val_shift_limit.high);
  return drawn;
}

void HueSaturationValue::write(const Drawn& drawn, AugmentBuilder& builder) const {
  if (drawn.hue == 0 && drawn.saturation == 0 && drawn.value == 0) return;
  // A whole number plus a shift, truncated after clipping, is the number plus the shift's floor.
  builder.hsv(floored(drawn.hue), floored(drawn.saturation), floored(drawn.value));
}

void Clahe::describe(Fields& fields, ImageSize size) {
  fields.range("clip_limit", clip_limit, Scalar::from_one, 0.01, 1000);
  fields.integers("tile_grid_size", tile_grid_size, 1, 64);
  fields.check(tile_grid_size[0] <= size.width && tile_grid_size[1] <= size.height,
               "tile_grid_size",
               fmt::format("is [{}, {}], more than {} x {} pixels", tile_grid_size[0],
                           tile_grid_size[1], size.width, size.height),
               "write [across, down], fewer of them");
}

Clahe::Drawn Clahe::draw(RandomStream& random, ImageSize) const {
  return {random.uniform(clip_limit.low, clip_limit.high)};
}

void Clahe::write(const Drawn& drawn, AugmentBuilder& builder) const {
  builder.equalize(static_cast<float>(drawn.clip_limit), tile_grid_size[1], tile_grid_size[0]);
}

void Blur::describe(Fields& fields) {
  fields.whole_range("blur_limit", blur_low, blur_high, 3, 1, AugmentHeader::kMaxBlur);
  fields.check(blur_low % 2 == 1, "blur_limit", fmt::format("begins at {}", blur_low),
               "begin at an odd number: a box has a middle");
}

void Blur::add_cost(ImageSize, AugmentCost& cost) const {
  const int largest = blur_low + (blur_high - blur_low) / 2 * 2;
  if (largest > 1) cost.add_blur(largest);
}

Blur::Drawn Blur::draw(RandomStream& random, ImageSize) const {
  return {blur_low + 2 * random.integer(0, (blur_high - blur_low) / 2)};
}

void Blur::write(const Drawn& drawn, AugmentBuilder& builder) const { builder.blur(drawn.size); }

void GaussNoise::describe(Fields& fields) {
  fields.range("var_limit", var_limit, Scalar::from_zero, 0, 65025);
  fields.number("mean", mean, -255, 255);
  fields.boolean("per_channel", per_channel);
}

GaussNoise::Drawn GaussNoise::draw(RandomStream& random, ImageSize) const {
  Drawn drawn;
  drawn.sigma = std::sqrt(random.uniform(var_limit.low, var_limit.high));
  drawn.key = random.key();
  return drawn;
}

void GaussNoise::write(const Drawn& drawn, AugmentBuilder& builder) const {
  builder.noise(static_cast<float>(mean), static_cast<float>(drawn.sigma), per_channel, drawn.key);
}

}  // namespace macadam
