#include "synth/world.h"

#include "base/to_size.h"

namespace macadam::synth {

namespace {

constexpr float kSkylineStart = -50, kSkylineEnd = 230;
constexpr size_t kSkylineCells = static_cast<size_t>((kSkylineEnd - kSkylineStart) * 2);

/// Where the sun's ray through `point` meets the ground.
Vec2 shadow_of(Vec3 point, Vec3 to_sun) {
  const float t = point.y / std::max(to_sun.y, 0.12f);
  return {point.x - to_sun.x * t, point.z - to_sun.z * t};
}

/// The convex hull (monotone chain) of a handful of points.
std::vector<Vec2> hull(std::vector<Vec2> points) {
  std::sort(points.begin(), points.end(),
            [](Vec2 a, Vec2 b) { return a.x < b.x || (a.x == b.x && a.y < b.y); });
  const auto turn = [](Vec2 o, Vec2 a, Vec2 b) {
    return (a.x - o.x) * (b.y - o.y) - (a.y - o.y) * (b.x - o.x);
  };
  std::vector<Vec2> chain;
  for (int pass = 0; pass < 2; ++pass) {
    const size_t start = chain.size();
    for (Vec2 p : points) {
      while (chain.size() >= start + 2 && turn(chain[chain.size() - 2], chain.back(), p) <= 0) {
        chain.pop_back();
      }
      chain.push_back(p);
    }
    chain.pop_back();
    std::reverse(points.begin(), points.end());
  }
  return chain;
}

}  // namespace

void World::raise_skyline(int which, float from, float to, float height) {
  std::vector<float>& cells = skyline[to_size(which)];
  cells.resize(kSkylineCells);
  const auto cell = [](float z) {
    return static_cast<size_t>(std::clamp((z - kSkylineStart) * 2, 0.0f, kSkylineCells - 1.0f));
  };
  for (size_t i = cell(from); i < cell(to); ++i) cells[i] = std::max(cells[i], height);
}

float World::sunlit(Vec3 point) const {
  const size_t which = light.to_sun.x < 0 ? 0 : 1;
  const std::vector<float>& cells = skyline[which];
  if (cells.empty()) return 1;
  const float offset = point.x - course(point.z);
  const float gap = side[which].building_line - (which == 0 ? -offset : offset);
  const float sideways = std::abs(light.to_sun.x);
  if (gap < 0.3f || sideways < 0.02f) return 1;
  const float t = gap / sideways;
  const float z = (point.z + t * light.to_sun.z - kSkylineStart) * 2;
  if (!(z >= 0) || z >= static_cast<float>(kSkylineCells)) return 1;
  const float above = point.y + t * light.to_sun.y - cells[static_cast<size_t>(z)];
  return clamp01(0.5f + above * 2.0f / (1.0f + 0.02f * t));
}

void World::cast_capsule(Vec3 a, Vec3 b, float radius) {
  if (luminance(light.sun) <= 0.01f) return;
  const Vec2 p = shadow_of(a, light.to_sun), q = shadow_of(b, light.to_sun);
  const Vec2 axis = q - p;
  const float norm = radius / std::max(std::sqrt(axis.x * axis.x + axis.y * axis.y), 1e-3f);
  const Vec2 across = {-axis.y * norm, axis.x * norm};
  const std::array<Vec2, 4> corners = {p - across, p + across, q + across, q - across};
  shadows.emplace_back([corners](Canvas& canvas) {
    canvas.ground_shadow(corners, [](const Hit&) { return 1.0f; });
  });
}

void World::cast_blob(Vec3 middle, float radius, float gaps) {
  if (luminance(light.sun) <= 0.01f) return;
  const Vec2 center = shadow_of(middle, light.to_sun);
  const float flat = std::sqrt(std::max(1 - light.to_sun.y * light.to_sun.y, 1e-4f));
  const Vec2 along = Vec2{light.to_sun.x, light.to_sun.z} * (1.0f / flat);
  const float reach = radius / std::max(light.to_sun.y, 0.25f);
  std::array<Vec2, 12> corners;
  for (size_t i = 0; i < corners.size(); ++i) {
    const float angle = 2 * kPi * static_cast<float>(i) / static_cast<float>(corners.size());
    const float a = cosine(angle) * reach, b = sine(angle) * radius;
    corners[i] = center + Vec2{along.x * a - along.y * b, along.y * a + along.x * b};
  }
  const NoiseTable& table = noise;
  shadows.emplace_back([corners, center, along, reach, radius, gaps, &table](Canvas& canvas) {
    canvas.ground_shadow(corners, [&](const Hit& hit) {
      const float dx = hit.u - center.x, dz = hit.v - center.y;
      const float a = (dx * along.x + dz * along.y) / reach;
      const float b = (dz * along.x - dx * along.y) / radius;
      const float leaves = filtered_noise(table, hit.u * 3.1f, hit.v * 3.1f, hit.dv * 3.1f);
      const float edge = 1.0f - (a * a + b * b) + (leaves - 0.5f) * (0.6f + gaps);
      return smoothstep(0.0f, 0.25f, edge) * (1.0f - gaps * smoothstep(0.55f, 0.75f, leaves));
    });
  });
}

void World::cast_box(Vec3 center, Vec3 ahead, float half_width, float half_length, float height) {
  const Vec3 right = {ahead.z, 0, -ahead.x};
  const bool sunny = luminance(light.sun) > 0.01f;
  std::vector<Vec2> points;
  std::array<Vec2, 4> around;
  for (size_t i = 0; i < 4; ++i) {
    const float sx = (i == 0 || i == 3) ? -1.0f : 1.0f, sz = i < 2 ? -1.0f : 1.0f;
    const Vec3 corner = center + right * (sx * half_width) + ahead * (sz * half_length);
    const Vec3 wider =
        center + right * (sx * (half_width + 0.3f)) + ahead * (sz * (half_length + 0.3f));
    around[i] = {wider.x, wider.z};
    points.push_back({corner.x, corner.z});
    if (sunny) points.push_back(shadow_of(corner + Vec3{0, height, 0}, light.to_sun));
  }
  shadows.emplace_back([around, center, ahead, right, half_width, half_length](Canvas& canvas) {
    canvas.ground_occlusion(around, [&](const Hit& hit) {
      const Vec3 from = {hit.u - center.x, 0, hit.v - center.z};
      const float a = half_width + 0.3f - std::abs(dot(from, right));
      const float b = half_length + 0.3f - std::abs(dot(from, ahead));
      return 0.85f * smoothstep(0.0f, 0.55f, std::min(a, b));
    });
  });
  if (!sunny) return;
  shadows.emplace_back([corners = hull(std::move(points))](Canvas& canvas) {
    canvas.ground_shadow(corners, [](const Hit&) { return 1.0f; });
  });
}

Rgb World::reflected(Vec3 direction) const {
  if (direction.y < 0) return light.bounce * 0.25f;
  return mix(light.horizon, light.zenith, smoothstep(0.0f, 0.8f, direction.y));
}

}  // namespace macadam::synth
