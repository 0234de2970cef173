#include "report/picture.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/rgb.h"

namespace macadam {

std::vector<Rgb> palette_of(std::span<const ClassScore> classes) {
  std::vector<Rgb> palette;
  for (const ClassScore& c : classes) palette.push_back(c.color);
  return palette;
}

Image colorize(const Image& mask, std::span<const Rgb> palette) {
  require(mask.channels == 1, "a mask of 1 channel");
  Image result(mask.height, mask.width, 3);
  for (size_t i = 0; i < mask.pixels.size(); ++i) {
    const uint8_t index = mask.pixels[i];
    const Rgb& color = index < palette.size() ? palette[index] : kIgnoredColor;
    std::copy(color.begin(), color.end(), result.pixels.begin() + static_cast<ptrdiff_t>(3 * i));
  }
  return result;
}

Image overlay(const Image& photo, const Image& mask, std::span<const Rgb> palette, double opacity) {
  require(photo.channels == 3 && mask.channels == 1, "an RGB photo and a mask of 1 channel");
  require(photo.height == mask.height && photo.width == mask.width, "photo and mask of one size");
  require(opacity >= 0 && opacity <= 1, "0 <= opacity <= 1");
  const int over = static_cast<int>(std::lround(opacity * 256)), under = 256 - over;
  Image result = photo;
  for (size_t i = 0; i < mask.pixels.size(); ++i) {
    const uint8_t index = mask.pixels[i];
    if (index >= palette.size()) continue;
    for (size_t c = 0; c < 3; ++c) {
      uint8_t& value = result.pixels[3 * i + c];
      value = static_cast<uint8_t>((value * under + palette[index][c] * over + 128) >> 8);
    }
  }
  return result;
}

Image error_picture(const Image& photo, const Image& truth, const Image& prediction,
                    size_t classes) {
  require(photo.channels == 3 && truth.channels == 1 && prediction.channels == 1,
          "an RGB photo and masks of 1 channel");
  require(photo.height == truth.height && photo.width == truth.width &&
              photo.height == prediction.height && photo.width == prediction.width,
          "photo and masks of one size");
  constexpr Rgb kError = {220, 50, 47};
  Image result = photo;
  for (size_t i = 0; i < truth.pixels.size(); ++i) {
    uint8_t* const pixel = &result.pixels[3 * i];
    const int grey = (299 * pixel[0] + 587 * pixel[1] + 114 * pixel[2] + 500) / 1000;
    const bool known = truth.pixels[i] < classes,
               wrong = known && truth.pixels[i] != prediction.pixels[i];
    for (size_t c = 0; c < 3; ++c) {
      const int shade = known ? 96 + grey / 2 : grey / 3;
      pixel[c] = static_cast<uint8_t>(wrong ? (grey + 3 * kError[c]) / 4 : shade);
    }
  }
  return result;
}

Image reduce(const Image& image, int max_width) {
  require(max_width >= 1, "max_width >= 1");
  const int by = std::min((image.width + max_width - 1) / max_width, std::max(image.height, 1));
  if (by <= 1) return image;
  Image result(image.height / by, image.width / by, image.channels);
  const bool mask = image.channels == 1;
  for (int y = 0; y < result.height; ++y) {
    for (int x = 0; x < result.width; ++x) {
      for (int c = 0; c < image.channels; ++c) {
        if (mask) {
          *result.at(y, x) = *image.at(y * by + by / 2, x * by + by / 2);
          continue;
        }
        int sum = by * by / 2;
        for (int dy = 0; dy < by; ++dy) {
          for (int dx = 0; dx < by; ++dx) sum += image.at(y * by + dy, x * by + dx)[c];
        }
        result.at(y, x)[c] = static_cast<uint8_t>(sum / (by * by));
      }
    }
  }
  return result;
}

}  // namespace macadam
