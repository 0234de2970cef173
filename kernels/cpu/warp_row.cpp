#include "kernels/cpu/warp_row.h"

#include <algorithm>
#include <cstring>

#include "base/to_size.h"
#include "kernels/scalar/warp.h"

#if defined(__SSSE3__)
#include <immintrin.h>
#endif

namespace macadam::cpu {

namespace {

struct Positions {
  alignas(64) std::array<float, kRunPixels> x, y;
  alignas(64) std::array<int32_t, kRunPixels> inside;
};

/// The map's kind is a constant here, so that the loop has no branch and its lanes are pixels.
template <CoordinateMap::Kind kKind>
void move(const CoordinateMap& map, const std::byte* program, int height, int width, int count,
          Positions& p) {
  CoordinateMap constant = map;
  constant.kind = kKind;
  float* px = p.x.data();
  float* py = p.y.data();
#pragma omp simd
  for (int i = 0; i < count; ++i) {
    const scalar::Point to = scalar::map_position(constant, program, {px[i], py[i]}, height, width);
    px[i] = to.x;
    py[i] = to.y;
  }
}

void move_by(const CoordinateMap& map, const std::byte* program, int height, int width, int count,
             Positions& p) {
  using Kind = CoordinateMap::Kind;
  switch (map.kind) {
    case Kind::affine: return move<Kind::affine>(map, program, height, width, count, p);
    case Kind::grid: return move<Kind::grid>(map, program, height, width, count, p);
    case Kind::radial: return move<Kind::radial>(map, program, height, width, count, p);
    case Kind::field: return move<Kind::field>(map, program, height, width, count, p);
  }
}

void reflect(int height, int width, int count, Positions& p) {
  float* px = p.x.data();
  float* py = p.y.data();
#pragma omp simd
  for (int i = 0; i < count; ++i) {
    px[i] = scalar::reflect_position(px[i], width);
    py[i] = scalar::reflect_position(py[i], height);
  }
}

void mark_outside(int height, int width, int count, Positions& p) {
  float* px = p.x.data();
  float* py = p.y.data();
  int32_t* inside = p.inside.data();
#pragma omp simd
  for (int i = 0; i < count; ++i) {
    const bool within = scalar::inside(px[i], width) && scalar::inside(py[i], height);
    inside[i] = within ? inside[i] : 0;
    px[i] = scalar::clamp_position(px[i], width);
    py[i] = scalar::clamp_position(py[i], height);
  }
}

/// One pixel by the definition.
void mix_pixel(const ByteImage& image, int x, int y, uint8_t* rgb) {
  const int x0 = x >> scalar::kSubpixelBits, fx = x & (scalar::kSubpixels - 1);
  const int y0 = y >> scalar::kSubpixelBits, fy = y & (scalar::kSubpixels - 1);
  // A neighbour without weight may lie beyond the image.
  const int right = fx != 0 ? 3 : 0, below = fy != 0 ? 3 * image.width : 0;
  const uint8_t* a = image.data + 3 * (int64_t{y0} * image.width + x0);
  const uint8_t* b = a + below;
  for (int c = 0; c < 3; ++c) {
    rgb[c] =
        static_cast<uint8_t>(scalar::mix_bytes(a[c], a[c + right], b[c], b[c + right], fx, fy));
  }
}

#if defined(__SSSE3__)

/// What four neighbouring pixels need: where they lie in both rows, and the rows' and columns'
/// weights, twice in a word: as bytes and as 16-bit numbers.
struct Mixes {
  alignas(64) std::array<int32_t, kRunPixels> upper, lower, column_weights, row_weights;
  int32_t last;  // the largest offset
};

void prepare_mixes(const ByteImage& image, const Sources& sources, int count, Mixes& m) {
  const int32_t* x = sources.x.data();
  const int32_t* y = sources.y.data();
  int32_t* upper = m.upper.data();
  int32_t* lower = m.lower.data();
  int32_t* column_weights = m.column_weights.data();
  int32_t* row_weights = m.row_weights.data();
  constexpr int32_t kMask = scalar::kSubpixels - 1;
  const int32_t width = image.width;
#pragma omp simd
  for (int i = 0; i < count; ++i) {
    const int32_t fx = x[i] & kMask, fy = y[i] & kMask;
    upper[i] = 3 * ((y[i] >> scalar::kSubpixelBits) * width + (x[i] >> scalar::kSubpixelBits));
    lower[i] = upper[i] + (fy != 0 ? 3 * width : 0);
    column_weights[i] = ((scalar::kSubpixels - fx) | fx << 8) * 0x10001;
    row_weights[i] = (scalar::kSubpixels - fy) | fy << 16;
  }
  int32_t last = 0;
  for (int i = 0; i < count; ++i) last = std::max(last, lower[i]);
  m.last = last;
}

/// Sums of the four weighted pixels, by channel: 32-bit numbers.
inline __m128i weighted_sums(const uint8_t* data, const Mixes& m, size_t i) {
  const __m128i upper = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(data + m.upper[i]));
  const __m128i lower = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(data + m.lower[i]));
  const __m128i by_channel = _mm_setr_epi8(0, 3, 8, 11, 1, 4, 9, 12, 2, 5, 10, 13, -1, -1, -1, -1);
  const __m128i pixels = _mm_shuffle_epi8(_mm_unpacklo_epi64(upper, lower), by_channel);
  const __m128i rows = _mm_maddubs_epi16(pixels, _mm_set1_epi32(m.column_weights[i]));
  return _mm_madd_epi16(rows, _mm_set1_epi32(m.row_weights[i]));
}

/// Reads 8 bytes at every offset.
void mix_pixels(const uint8_t* data, const Mixes& m, int count, uint8_t* rgb) {
  constexpr int kShift = 2 * scalar::kSubpixelBits;
  const __m128i half = _mm_set1_epi32(1 << (kShift - 1));
  const __m128i close_up = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
  const auto mixed = [&](size_t i) {
    return _mm_srli_epi32(_mm_add_epi32(weighted_sums(data, m, i), half), kShift);
  };
  for (size_t i = 0; i < to_size(count); i += 4, rgb += 12) {
    const __m128i words = _mm_packus_epi16(_mm_packs_epi32(mixed(i), mixed(i + 1)),
                                           _mm_packs_epi32(mixed(i + 2), mixed(i + 3)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(rgb), _mm_shuffle_epi8(words, close_up));
  }
}

#endif

void mix_colors(const ByteImage& image, const Sources& sources, int count, uint8_t* rgb) {
#if defined(__SSSE3__)
  Mixes mixes;
  prepare_mixes(image, sources, count, mixes);
  const int64_t bytes = int64_t{3} * image.height * image.width;
  if (mixes.last + int64_t{8} <= bytes) {
    for (int i = count; i % 4 != 0; ++i) {  // whole vectors
      mixes.upper[to_size(i)] = mixes.lower[to_size(i)] = 0;
      mixes.column_weights[to_size(i)] = mixes.row_weights[to_size(i)] = 0;
    }
    return mix_pixels(image.data, mixes, count, rgb);
  }
#endif
  for (int i = 0; i < count; ++i, rgb += 3) {
    mix_pixel(image, sources.x[to_size(i)], sources.y[to_size(i)], rgb);
  }
}

}  // namespace

void find_sources(const AugmentHeader& header, const std::byte* program, int height, int width,
                  int y, int x, int count, Sources& sources) {
  Positions p;
  bool constant = false;
  for (int i = 0; i < count; ++i) {
    p.x[to_size(i)] = static_cast<float>(x + i);
    p.y[to_size(i)] = static_cast<float>(y);
  }
  std::fill_n(p.inside.begin(), count, 1);
  for (size_t k = 0; k < header.maps; ++k) {
    const CoordinateMap& map = header.map[k];
    move_by(map, program, height, width, count, p);
    if (map.border == Border::reflect) {
      reflect(height, width, count, p);
    } else {
      mark_outside(height, width, count, p);
      constant = true;
    }
  }
  int32_t inside = 1;
#pragma omp simd reduction(& : inside)
  for (int i = 0; i < count; ++i) {
    const auto k = to_size(i);
    sources.x[k] = scalar::subpixels(p.x[k]);
    sources.y[k] = scalar::subpixels(p.y[k]);
    sources.inside[k] = static_cast<uint8_t>(p.inside[k]);
    inside &= p.inside[k];
  }
  sources.all_inside = !constant || inside != 0;
}

void sample_colors(const ByteImage& image, const Sources& sources, int count,
                   const std::array<uint8_t, 4>& fill, uint8_t* rgb) {
  mix_colors(image, sources, count, rgb);
  if (sources.all_inside) return;
  for (int i = 0; i < count; ++i) {
    if (sources.inside[to_size(i)] == 0) std::copy_n(fill.data(), 3, rgb + 3 * i);
  }
}

void sample_labels(const ByteImage& labels, const Sources& sources, int first, int count,
                   const std::array<uint8_t, 4>& fill, uint8_t* out) {
  const int32_t* x = sources.x.data() + first;
  const int32_t* y = sources.y.data() + first;
  const uint8_t* inside = sources.inside.data() + first;
  alignas(64) std::array<int32_t, kRunPixels> offsets;
  int32_t* offset = offsets.data();
  const uint8_t* data = labels.data;
  const int32_t width = labels.width;
#pragma omp simd
  for (int i = 0; i < count; ++i) {
    offset[i] = scalar::nearest_pixel(y[i]) * width + scalar::nearest_pixel(x[i]);
  }
  for (int i = 0; i < count; ++i) out[i] = data[offset[i]];
  if (sources.all_inside) return;
  for (int i = 0; i < count; ++i) out[i] = inside[i] != 0 ? out[i] : fill[3];
}

}  // namespace macadam::cpu
