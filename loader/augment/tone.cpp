#include "loader/augment/tone.h"

#include <cmath>

namespace macadam {

namespace {

/// The table of value * scale + offset, the same for all channels.
AugmentBuilder::Table float_table(double scale, double offset) {
  AugmentBuilder::Table table;
  for (size_t v = 0; v < 256; ++v) {
    const float scaled = static_cast<float>(v) * static_cast<float>(scale);
    table[0][v] = truncated_byte(scaled + static_cast<float>(offset));
  }
  table[1] = table[2] = table[0];
  return table;
}

}  // namespace

void RgbShift::describe(Fields& fields) {
  fields.range("r_shift_limit", r_shift_limit, Scalar::symmetric, -255, 255);
  fields.range("g_shift_limit", g_shift_limit, Scalar::symmetric, -255, 255);
  fields.range("b_shift_limit", b_shift_limit, Scalar::symmetric, -255, 255);
}

RgbShift::Drawn RgbShift::draw(RandomStream& random, ImageSize) const {
  Drawn drawn;
  drawn.shift[0] = random.uniform(r_shift_limit.low, r_shift_limit.high);
  drawn.shift[1] = random.uniform(g_shift_limit.low, g_shift_limit.high);
  drawn.shift[2] = random.uniform(b_shift_limit.low, b_shift_limit.high);
  return drawn;
}

void RgbShift::write(const Drawn& drawn, AugmentBuilder& builder) const {
  AugmentBuilder::Table table;
  for (size_t c = 0; c < 3; ++c) table[c] = float_table(1, drawn.shift[c])[0];
  builder.table(table);
}

void RandomBrightnessContrast::describe(Fields& fields) {
  fields.range("brightness_limit", brightness_limit, Scalar::symmetric, -1, 1);
  fields.range("contrast_limit", contrast_limit, Scalar::symmetric, -1, 10);
  fields.boolean("brightness_by_max", brightness_by_max);
}

RandomBrightnessContrast::Drawn RandomBrightnessContrast::draw(RandomStream& random,
                                                               ImageSize) const {
  Drawn drawn;
  drawn.alpha = 1 + random.uniform(contrast_limit.low, contrast_limit.high);
  drawn.beta = random.uniform(brightness_limit.low, brightness_limit.high);
  return drawn;
}

void RandomBrightnessContrast::write(const Drawn& drawn, const ImageStatistics& statistics,
                                     AugmentBuilder& builder) const {
  double offset = drawn.beta * 255;
  if (!brightness_by_max) {
    const std::array<double, 3> means = channel_means(statistics, builder.last_table());
    offset = drawn.alpha * drawn.beta * ((means[0] + means[1] + means[2]) / 3);
  }
  builder.table(float_table(drawn.alpha, offset));
}

void RandomBrightness::describe(Fields& fields) {
  fields.range("limit", limit, Scalar::symmetric, -1, 1);
}

RandomBrightness::Drawn RandomBrightness::draw(RandomStream& random, ImageSize) const {
  return {random.uniform(limit.low, limit.high)};
}

void RandomBrightness::write(const Drawn& drawn, AugmentBuilder& builder) const {
  builder.table(float_table(1, drawn.beta * 255));
}

void RandomContrast::describe(Fields& fields) {
  fields.range("limit", limit, Scalar::symmetric, -1, 10);
}

RandomContrast::Drawn RandomContrast::draw(RandomStream& random, ImageSize) const {
  return {1 + random.uniform(limit.low, limit.high)};
}

void RandomContrast::write(const Drawn& drawn, AugmentBuilder& builder) const {
  builder.table(float_table(drawn.alpha, 0));
}

void RandomGamma::describe(Fields& fields) {
  fields.range("gamma_limit", gamma_limit, Scalar::symmetric, 1, 1000);
}

RandomGamma::Drawn RandomGamma::draw(RandomStream& random, ImageSize) const {
  return {random.uniform(gamma_limit.low, gamma_limit.high) / 100};
}

void RandomGamma::write(const Drawn& drawn, AugmentBuilder& builder) const {
  AugmentBuilder::Table table;
  for (size_t v = 0; v < 256; ++v) {
    const double value = static_cast<double>(v) * (1.0 / 255);
    table[0][v] = truncated_byte(std::pow(value, drawn.gamma) * 255);
  }
  table[1] = table[2] = table[0];
  builder.table(table);
}

}  // namespace macadam
