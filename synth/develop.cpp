// From light to a photograph: haze, exposure, lens and sensor.

#include "base/to_size.h"
#include "synth/parts.h"

namespace macadam::synth {

namespace {

/// The id that most of the four samples have; the first of them where none does.
uint8_t majority(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
  if (a == b || a == c || a == d) return a;
  if (b == c || b == d) return b;
  return c == d ? c : a;
}

/// Three taps (1-2w, w) along rows, then along columns.
void blur(std::vector<Rgb>& picture, int height, int width, float w) {
  const size_t stride = to_size(width);
  std::vector<Rgb> line(std::max(stride, to_size(height)));
  const auto run = [&](size_t start, size_t step, size_t count) {
    for (size_t i = 0; i < count; ++i) line[i] = picture[start + i * step];
    for (size_t i = 0; i < count; ++i) {
      const Rgb before = line[i == 0 ? 0 : i - 1], after = line[i + 1 == count ? i : i + 1];
      picture[start + i * step] = line[i] * (1 - 2 * w) + (before + after) * w;
    }
  };
  for (size_t y = 0; y < to_size(height); ++y) run(y * stride, 1, stride);
  for (size_t x = 0; x < stride; ++x) run(x, stride, to_size(height));
}

/// Bright light rolls off instead of clipping; gamma 2.
float film(float x) {
  const float y = std::max(x, 0.0f);
  return std::sqrt(std::min(y * (1.0f + y * 0.16f) / (1.0f + y * 0.82f), 1.0f));
}

/// What lossy compression does to 8x8 blocks: high frequencies of the brightness are rounded.
class BlockCoder {
 public:
  explicit BlockCoder(float step) : step_(step) {
    for (int k = 0; k < 8; ++k) {
      for (int n = 0; n < 8; ++n) {
        const float angle = kPi * (static_cast<float>(n) + 0.5f) * static_cast<float>(k) / 8;
        basis_[k][n] = cosine(angle) * (k == 0 ? 0.35355339f : 0.5f);
      }
    }
  }

  /// Rounds one block in place.
  void operator()(float (&block)[8][8]) const {
    float rows[8][8], spectrum[8][8];
    multiply<false>(block, rows);
    multiply<false>(rows, spectrum);
    for (int u = 0; u < 8; ++u) {
      for (int v = 0; v < 8; ++v) {
        const float q = step_ * (1.0f + 0.45f * static_cast<float>(u + v));
        spectrum[u][v] = std::floor(spectrum[u][v] / q + 0.5f) * q;
      }
    }
    multiply<true>(spectrum, rows);
    multiply<true>(rows, block);
  }

 private:
  /// One dimension of the transform; the result is transposed, so that two calls do both.
  template <bool inverse>
  void multiply(const float (&in)[8][8], float (&out)[8][8]) const {
    for (int r = 0; r < 8; ++r) {
      for (int k = 0; k < 8; ++k) {
        float sum = 0;
        for (int n = 0; n < 8; ++n) sum += in[r][n] * (inverse ? basis_[n][k] : basis_[k][n]);
        out[k][r] = sum;
      }
    }
  }

  float step_;
  float basis_[8][8];
};

void compress(std::vector<Rgb>& picture, int height, int width, float step) {
  const BlockCoder coder(step);
  for (int y0 = 0; y0 + 8 <= height; y0 += 8) {
    for (int x0 = 0; x0 + 8 <= width; x0 += 8) {
      float block[8][8], before[8][8];
      const auto pixel = [&](int y, int x) -> Rgb& {
        return picture[to_size(y0 + y) * to_size(width) + to_size(x0 + x)];
      };
      for (int y = 0; y < 8; ++y) {
        for (int x = 0; x < 8; ++x) {
          const Rgb c = pixel(y, x);
          before[y][x] = block[y][x] = 0.299f * c.r + 0.587f * c.g + 0.114f * c.b;
        }
      }
      coder(block);
      for (int y = 0; y < 8; ++y) {
        for (int x = 0; x < 8; ++x) {
          const float change = block[y][x] - before[y][x];
          Rgb& c = pixel(y, x);
          c = c + Rgb{change, change, change};
        }
      }
    }
  }
}

}  // namespace

void develop(const World& world, Random& random, Canvas& canvas, int height, int width,
             uint8_t* rgb, uint8_t* labels) {
  const Light& light = world.light;
  const std::span<const Rgb> colors = canvas.color();
  const std::span<const uint8_t> ids = canvas.label();
  const std::span<const float> depth = canvas.inverse_depth();
  const size_t stride = to_size(canvas.width());
  std::vector<Rgb> picture(to_size(height) * to_size(width));

  double brightness = 0;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const size_t i = to_size(2 * y) * stride + to_size(2 * x);
      const std::array<size_t, 4> block = {i, i + 1, i + stride, i + stride + 1};
      Rgb sum;
      for (size_t s : block) {
        const float haze = depth[s] > 0 ? 1.0f - exponential(-light.fog_density / depth[s]) : 0.0f;
        // Lamps and the sun are clipped before they are averaged, as a sensor does.
        const Rgb c = mix(colors[s], light.fog, haze);
        sum = sum + Rgb{std::min(c.r, 4.0f), std::min(c.g, 4.0f), std::min(c.b, 4.0f)};
      }
      const size_t o = to_size(y) * to_size(width) + to_size(x);
      picture[o] = sum * 0.25f;
      brightness += std::min(luminance(picture[o]), 1.5f);
      labels[o] = majority(ids[block[0]], ids[block[1]], ids[block[2]], ids[block[3]]);
    }
  }

  const float mean = static_cast<float>(brightness / static_cast<double>(picture.size()));
  const float target = light.dusk ? random.uniform(0.2f, 0.32f) : random.uniform(0.27f, 0.46f);
  const float exposure = target / std::max(mean, 0.02f);
  const float warm = random.uniform(-0.09f, 0.09f), tint = random.uniform(-0.03f, 0.03f);
  const Rgb balance = Rgb{1 + warm, 1 + tint, 1 - warm} * exposure;
  const float saturation = random.uniform(0.75f, 1.25f);
  const float contrast = random.uniform(0.95f, 1.35f) * (light.dusk ? 0.85f : 1.0f);
  const float vignette = random.uniform(0.0f, 0.3f);
  const float noise_level = random.uniform(0.003f, 0.016f) * (light.dusk ? 1.6f : 1.0f);
  const float veil = random.chance(0.2f) ? random.uniform(0.01f, 0.05f) : 0.0f;
  const float softness = random.uniform(0.0f, 0.16f);
  const bool unfocused = random.chance(0.15f), coded = random.chance(0.4f);
  const float step = random.uniform(0.01f, 0.035f);
  const int salt = random.integer(0, 1 << 24);

  blur(picture, height, width, softness);
  if (unfocused) blur(picture, height, width, 0.24f);

  for (int y = 0; y < height; ++y) {
    const float dy = (static_cast<float>(y) / static_cast<float>(height) - 0.5f) * 1.4f;
    for (int x = 0; x < width; ++x) {
      const float dx = (static_cast<float>(x) / static_cast<float>(width) - 0.5f) * 1.8f;
      Rgb& c = picture[to_size(y) * to_size(width) + to_size(x)];
      Rgb e = c * balance * (1.0f - vignette * (dx * dx + dy * dy)) + Rgb{veil, veil, veil};
      const float gray = luminance(e);
      e = mix(Rgb{gray, gray, gray}, e, saturation);
      const uint32_t h = hash(x + salt, y), g = hash(y - salt, x);
      const auto grain = [&](uint32_t bits) {
        const uint32_t total =
            (bits & 255) + ((bits >> 8) & 255) + ((bits >> 16) & 255) + (bits >> 24);
        return (static_cast<float>(total) - 510.0f) * (1.0f / 147.8f) * noise_level;
      };
      const float common = grain(h);
      c = {0.5f + (film(e.r) - 0.5f) * contrast + common + 0.5f * grain(g),
           0.5f + (film(e.g) - 0.5f) * contrast + common,
           0.5f + (film(e.b) - 0.5f) * contrast + common + 0.5f * grain(g * 0x9E3779B1u)};
    }
  }
  if (coded) compress(picture, height, width, step);
  for (size_t i = 0; i < picture.size(); ++i) {
    rgb[3 * i] = static_cast<uint8_t>(clamp01(picture[i].r) * 255.0f + 0.5f);
    rgb[3 * i + 1] = static_cast<uint8_t>(clamp01(picture[i].g) * 255.0f + 0.5f);
    rgb[3 * i + 2] = static_cast<uint8_t>(clamp01(picture[i].b) * 255.0f + 0.5f);
  }
}

}  // namespace macadam::synth
