#pragma once
// A z-buffered picture with a class id per sample, and the three primitives that streets are drawn
// from: flat convex polygons, capsules (limbs, poles, trunks) and blobs (foliage). Four samples a
// pixel; a shader is called for every visible sample.

#include <cstdint>
#include <span>
#include <vector>

#include "base/to_size.h"
#include "synth/math.h"

namespace macadam::synth {

inline constexpr int kSamplesPerAxis = 2;
inline constexpr float kNearPlane = 0.3f;

/// A pinhole camera that looks along +z from (0, height, 0). Lengths in samples.
struct Camera {
  float focal = 1000;
  Vec2 center;          ///< where the horizon is straight ahead
  float height = 1.4f;  ///< metres above the ground
  float roll = 0;       ///< radians
};

/// A plane with its own coordinates: the point (u, v) is origin + u * U + v * V, U and V unit
/// vectors at right angles.
struct Frame {
  Vec3 origin, u, v;
};

inline Vec3 at(const Frame& frame, float u, float v) {
  return frame.origin + frame.u * u + frame.v * v;
}

/// A frame at `origin` whose u axis points to `along` and whose v axis lies towards `up`.
Frame make_frame(Vec3 origin, Vec3 along, Vec3 up);

/// Where a sample meets a polygon: plane coordinates in metres, the filter widths there, depth.
struct Hit {
  float u, v, du, dv, z;
};

/// Where a sample meets a capsule or a blob.
struct RoundHit {
  float across;  ///< -1 to 1 over the width (capsule), 0 to 1 from the middle (blob)
  float along;   ///< 0 to 1 from end a to end b
  float x, y;    ///< metres in the picture plane, from end a or from the middle
  float pixel;   ///< metres a sample
  Vec3 normal;   ///< of the rounded surface, towards the viewer
};

class Canvas {
 public:
  Canvas(int height, int width, const Camera& camera);

  int height() const { return height_; }
  int width() const { return width_; }
  const Camera& camera() const { return camera_; }

  /// Draws a convex polygon. `shade(const Hit&, Rgb&)` receives the colour below and returns false
  /// to leave the sample alone.
  template <class Shader>
  void polygon(const Frame& frame, std::span<const Vec2> corners, uint8_t id, Shader&& shade) {
    scan(frame, corners, [&](size_t i, float inverse, const auto& hit) {
      if (inverse <= depth_[i]) return;
      if (!shade(hit(), color_[i])) return;
      depth_[i] = inverse;
      label_[i] = id;
    });
  }

  /// Darkens the ground: `cover(const Hit&)` in [0, 1] with u = x, v = z. Only the darkest counts.
  template <class Cover>
  void ground_shadow(std::span<const Vec2> corners, Cover&& cover) {
    scan(ground_frame(), corners, [&](size_t i, float, const auto& hit) {
      shadow_[i] = std::max(shadow_[i], static_cast<uint8_t>(255.0f * clamp01(cover(hit()))));
    });
  }

  /// The same for light from the sky, which is missing under cars and along walls.
  template <class Cover>
  void ground_occlusion(std::span<const Vec2> corners, Cover&& cover) {
    scan(ground_frame(), corners, [&](size_t i, float, const auto& hit) {
      occlusion_[i] = std::max(occlusion_[i], static_cast<uint8_t>(255.0f * clamp01(cover(hit()))));
    });
  }

  /// Fills the ground plane up to `far` metres where nothing else was drawn.
  /// `shade(const Hit&, float shadow, float occlusion, Rgb&)` returns the id.
  template <class Shader>
  void ground(float far, Shader&& shade) {
    const Vec2 corners[] = {{-4 * far, 0.05f}, {4 * far, 0.05f}, {4 * far, far}, {-4 * far, far}};
    scan(ground_frame(), corners, [&](size_t i, float inverse, const auto& hit) {
      if (inverse <= depth_[i]) return;
      label_[i] = shade(hit(), static_cast<float>(shadow_[i]) / 255.0f,
                        static_cast<float>(occlusion_[i]) / 255.0f, color_[i]);
      depth_[i] = inverse;
    });
  }

  /// Draws a cone with round ends from `a` (radius ra) to `b` (radius rb).
  /// `shade(const RoundHit&, Rgb&)` as above.
  template <class Shader>
  void capsule(Vec3 a, float ra, Vec3 b, float rb, uint8_t id, Shader&& shade);

  /// Draws a round clump; `shade` decides by hit.across which samples belong to it.
  template <class Shader>
  void blob(Vec3 middle, float radius, uint8_t id, Shader&& shade);

  Vec2 project(Vec3 point) const;
  Vec3 ray(float x, float y) const { return ray_origin_ + ray_x_ * x + ray_y_ * y; }

  std::span<Rgb> color() { return color_; }
  std::span<uint8_t> label() { return label_; }
  std::span<const float> inverse_depth() const { return depth_; }

 private:
  /// Clips to the near plane and projects; empty when nothing is left.
  void outline(const Frame& frame, std::span<const Vec2> corners, std::vector<Vec2>& result) const;
  Frame ground_frame() const { return {{0, 0, 0}, {1, 0, 0}, {0, 0, 1}}; }

  template <class Visit>
  void scan(const Frame& frame, std::span<const Vec2> corners, Visit&& visit);

  int height_, width_;
  Camera camera_;
  float sin_roll_, cos_roll_;
  Vec3 ray_origin_, ray_x_, ray_y_;
  std::vector<Rgb> color_;
  std::vector<float> depth_;  ///< 1 / z, 0 = nothing yet
  std::vector<uint8_t> label_, shadow_, occlusion_;
  std::vector<Vec2> outline_;
};

template <class Visit>
void Canvas::scan(const Frame& frame, std::span<const Vec2> corners, Visit&& visit) {
  outline(frame, corners, outline_);
  if (outline_.size() < 3) return;
  const Vec3 origin = frame.origin - Vec3{0, camera_.height, 0};
  const Vec3 normal = cross(frame.u, frame.v);
  const float distance = dot(normal, origin);
  if (std::abs(distance) < 1e-4f) return;
  const float scale = 1.0f / distance;
  float top = outline_[0].y, bottom = top;
  for (Vec2 p : outline_) {
    top = std::min(top, p.y);
    bottom = std::max(bottom, p.y);
  }
  const int y0 = static_cast<int>(std::max(std::ceil(top - 0.5f), 0.0f));
  const int y1 = static_cast<int>(std::min(std::ceil(bottom - 0.5f), static_cast<float>(height_)));
  const float inverse_dx = dot(normal, ray_x_) * scale, inverse_dy = dot(normal, ray_y_) * scale;
  const float u_dx = dot(frame.u, ray_x_), v_dx = dot(frame.v, ray_x_);
  const float v_dy = dot(frame.v, ray_y_);
  const float origin_u = dot(frame.u, origin), origin_v = dot(frame.v, origin);
  for (int y = y0; y < y1; ++y) {
    const float row = static_cast<float>(y) + 0.5f;
    float left = 1e9f, right = -1e9f;
    for (size_t i = 0; i < outline_.size(); ++i) {
      const Vec2 p = outline_[i], q = outline_[i + 1 == outline_.size() ? 0 : i + 1];
      if ((p.y <= row) == (q.y <= row)) continue;
      const float x = p.x + (q.x - p.x) * ((row - p.y) / (q.y - p.y));
      left = std::min(left, x);
      right = std::max(right, x);
    }
    const int x0 = static_cast<int>(std::max(std::ceil(left - 0.5f), 0.0f));
    const int x1 = static_cast<int>(std::min(std::ceil(right - 0.5f), static_cast<float>(width_)));
    const Vec3 start = ray(0.5f, row);
    const float inverse_0 = dot(normal, start) * scale;
    const float u_0 = dot(frame.u, start), v_0 = dot(frame.v, start);
    for (int x = x0; x < x1; ++x) {
      const float step = static_cast<float>(x);
      const float inverse = inverse_0 + step * inverse_dx;
      if (inverse <= 0) continue;
      const auto hit = [&] {
        const float z = 1.0f / inverse;
        const float u = (u_0 + step * u_dx) * z, v = (v_0 + step * v_dx) * z;
        return Hit{u - origin_u, v - origin_v, std::abs(z * (u_dx - u * inverse_dx)),
                   std::abs(z * (v_dy - v * inverse_dy)), z};
      };
      visit(to_size(y) * to_size(width_) + to_size(x), inverse, hit);
    }
  }
}

template <class Shader>
void Canvas::capsule(Vec3 a, float ra, Vec3 b, float rb, uint8_t id, Shader&& shade) {
  if (a.z < kNearPlane || b.z < kNearPlane) return;
  const Vec2 pa = project(a), pb = project(b);
  const float inverse_a = 1.0f / a.z, inverse_b = 1.0f / b.z;
  const float radius_a = std::max(camera_.focal * ra * inverse_a, 0.55f);
  const float radius_b = std::max(camera_.focal * rb * inverse_b, 0.55f);
  const Vec2 axis = pb - pa;
  const float squared = std::max(axis.x * axis.x + axis.y * axis.y, 1e-6f);
  const float norm = 1.0f / std::sqrt(squared);
  const Vec2 perpendicular = {-axis.y * norm, axis.x * norm};
  const float low_x = std::min(pa.x - radius_a, pb.x - radius_b);
  const float high_x = std::max(pa.x + radius_a, pb.x + radius_b);
  const float low_y = std::min(pa.y - radius_a, pb.y - radius_b);
  const float high_y = std::max(pa.y + radius_a, pb.y + radius_b);
  const float w = static_cast<float>(width_), h = static_cast<float>(height_);
  if (high_x <= 0 || low_x >= w || high_y <= 0 || low_y >= h) return;
  const int x0 = static_cast<int>(std::max(low_x, 0.0f)),
            y0 = static_cast<int>(std::max(low_y, 0.0f));
  const int x1 = static_cast<int>(std::min(high_x + 1.0f, w));
  const int y1 = static_cast<int>(std::min(high_y + 1.0f, h));
  for (int y = y0; y < y1; ++y) {
    for (int x = x0; x < x1; ++x) {
      const Vec2 p = {static_cast<float>(x) + 0.5f - pa.x, static_cast<float>(y) + 0.5f - pa.y};
      const float t = clamp01((p.x * axis.x + p.y * axis.y) / squared);
      const float radius = mix(radius_a, radius_b, t);
      const Vec2 from = p - axis * t;
      const float distance2 = from.x * from.x + from.y * from.y;
      if (distance2 >= radius * radius) continue;
      const size_t i = to_size(y) * to_size(width_) + to_size(x);
      const float inverse = mix(inverse_a, inverse_b, t);
      const float bulge = std::sqrt(1.0f - distance2 / (radius * radius));
      const float nearer = inverse * (1.0f + mix(ra, rb, t) * bulge * inverse);
      if (nearer <= depth_[i]) continue;
      const float meters = 1.0f / (camera_.focal * inverse);
      const RoundHit hit{(from.x * perpendicular.x + from.y * perpendicular.y) / radius,
                         t,
                         p.x * meters,
                         p.y * meters,
                         meters,
                         {from.x / radius, -from.y / radius, -bulge}};
      if (!shade(hit, color_[i])) continue;
      depth_[i] = nearer;
      label_[i] = id;
    }
  }
}

template <class Shader>
void Canvas::blob(Vec3 middle, float radius, uint8_t id, Shader&& shade) {
  if (middle.z < 1.0f) return;
  const Vec2 center = project(middle);
  const float inverse = 1.0f / middle.z;
  const float r = camera_.focal * radius * inverse;
  const float w = static_cast<float>(width_), h = static_cast<float>(height_);
  if (center.x + r <= 0 || center.x - r >= w || center.y + r <= 0 || center.y - r >= h) return;
  const int x0 = static_cast<int>(std::max(center.x - r, 0.0f));
  const int y0 = static_cast<int>(std::max(center.y - r, 0.0f));
  const int x1 = static_cast<int>(std::min(center.x + r + 1.0f, w));
  const int y1 = static_cast<int>(std::min(center.y + r + 1.0f, h));
  const float meters = middle.z / camera_.focal;
  for (int y = y0; y < y1; ++y) {
    for (int x = x0; x < x1; ++x) {
      const Vec2 p = {static_cast<float>(x) + 0.5f - center.x,
                      static_cast<float>(y) + 0.5f - center.y};
      const float q2 = (p.x * p.x + p.y * p.y) / (r * r);
      if (q2 >= 1.0f) continue;
      const size_t i = to_size(y) * to_size(width_) + to_size(x);
      const float bulge = std::sqrt(1.0f - q2);
      const float nearer = inverse * (1.0f + radius * bulge * inverse);
      if (nearer <= depth_[i]) continue;
      const RoundHit hit{std::sqrt(q2), 0,      p.x * meters,
                         p.y * meters,  meters, {p.x / r, -p.y / r, -bulge}};
      if (!shade(hit, color_[i])) continue;
      depth_[i] = nearer;
      label_[i] = id;
    }
  }
}

}  // namespace macadam::synth
