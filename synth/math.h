#pragma once
// Vectors, colours and elementary functions of the street renderer. The transcendental functions
// are written out here, in plain IEEE arithmetic, because the C library's differ in the last bit
// between processors and a street must have the same bits on every machine. For the same reason
// this folder is compiled without contraction of a*b+c.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace macadam::synth {

struct Vec2 {
  float x = 0, y = 0;
};

/// Metres: x to the right, y up, z forward.
struct Vec3 {
  float x = 0, y = 0, z = 0;
};

inline Vec2 operator+(Vec2 a, Vec2 b) { return {a.x + b.x, a.y + b.y}; }
inline Vec2 operator-(Vec2 a, Vec2 b) { return {a.x - b.x, a.y - b.y}; }
inline Vec2 operator*(Vec2 a, float s) { return {a.x * s, a.y * s}; }
inline Vec3 operator+(Vec3 a, Vec3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
inline Vec3 operator-(Vec3 a, Vec3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
inline Vec3 operator*(Vec3 a, float s) { return {a.x * s, a.y * s, a.z * s}; }
inline float dot(Vec3 a, Vec3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
inline Vec3 cross(Vec3 a, Vec3 b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
inline float length(Vec3 a) { return std::sqrt(dot(a, a)); }
inline Vec3 normalized(Vec3 a) { return a * (1.0f / std::max(length(a), 1e-9f)); }

/// Linear light.
struct Rgb {
  float r = 0, g = 0, b = 0;
};

inline Rgb operator+(Rgb a, Rgb b) { return {a.r + b.r, a.g + b.g, a.b + b.b}; }
inline Rgb operator*(Rgb a, float s) { return {a.r * s, a.g * s, a.b * s}; }
inline Rgb operator*(Rgb a, Rgb b) { return {a.r * b.r, a.g * b.g, a.b * b.b}; }
inline float luminance(Rgb c) { return 0.2126f * c.r + 0.7152f * c.g + 0.0722f * c.b; }

/// A display colour such as 0xRRGGBB as linear light (gamma 2).
constexpr Rgb color(uint32_t hex) {
  const float r = static_cast<float>((hex >> 16) & 255) / 255.0f;
  const float g = static_cast<float>((hex >> 8) & 255) / 255.0f;
  const float b = static_cast<float>(hex & 255) / 255.0f;
  return {r * r, g * g, b * b};
}

inline float clamp01(float x) { return std::min(std::max(x, 0.0f), 1.0f); }
inline float mix(float a, float b, float t) { return a + (b - a) * t; }
inline Vec2 mix(Vec2 a, Vec2 b, float t) { return a + (b - a) * t; }
inline Vec3 mix(Vec3 a, Vec3 b, float t) { return a + (b - a) * t; }
inline Rgb mix(Rgb a, Rgb b, float t) {
  return {mix(a.r, b.r, t), mix(a.g, b.g, t), mix(a.b, b.b, t)};
}
inline float smoothstep(float lo, float hi, float x) {
  const float t = clamp01((x - lo) / (hi - lo));
  return t * t * (3.0f - 2.0f * t);
}
inline float fraction(float x) { return x - std::floor(x); }

inline constexpr float kPi = 3.14159265f;

/// Sine by its Taylor series to x^9 after reduction to [-pi/2, pi/2]; error below 4e-6.
inline float sine(float x) {
  float turns = x * (0.5f / kPi);
  turns -= std::floor(turns + 0.5f);
  float r = turns * (2.0f * kPi);
  if (r > 0.5f * kPi) r = kPi - r;
  if (r < -0.5f * kPi) r = -kPi - r;
  const float s = r * r;
  return r * (1.0f + s * (-1.0f / 6 + s * (1.0f / 120 + s * (-1.0f / 5040 + s / 362880.0f))));
}
inline float cosine(float x) { return sine(x + 0.5f * kPi); }

/// e^x for x in [-80, 80]; relative error below 1e-5.
inline float exponential(float x) {
  const float y = std::min(std::max(x, -80.0f), 80.0f) * 1.44269504f;
  const float whole = std::floor(y);
  const float t = (y - whole) * 0.693147181f;
  const float series =
      1.0f + t * (1.0f + t * (0.5f + t * (1.0f / 6 + t * (1.0f / 24 + t * (1.0f / 120)))));
  return series * std::bit_cast<float>((static_cast<int32_t>(whole) + 127) << 23);
}

/// The part of a filter of width `width` around `x` that lies inside [lo, hi].
inline float coverage(float x, float lo, float hi, float width) {
  const float inverse = 1.0f / std::max(width, 1e-4f);
  return clamp01((x - lo) * inverse + 0.5f) * clamp01((hi - x) * inverse + 0.5f);
}

/// A well mixed 32-bit hash of two lattice coordinates.
inline uint32_t hash(int32_t x, int32_t y) {
  uint32_t h = static_cast<uint32_t>(x) * 0x9E3779B1u ^ static_cast<uint32_t>(y) * 0x85EBCA77u;
  h ^= h >> 15;
  h *= 0x2C1B3C6Du;
  h ^= h >> 12;
  h *= 0x297A2D39u;
  return h ^ (h >> 15);
}
inline float hash01(int32_t x, int32_t y) { return static_cast<float>(hash(x, y) >> 8) * 0x1p-24f; }

}  // namespace macadam::synth
