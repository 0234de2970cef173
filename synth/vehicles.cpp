#include "synth/parts.h"

namespace macadam::synth {

namespace {

constexpr std::array kCarPaints = {
    color(0xD8DADB), color(0xEDEDEB), color(0x9DA1A4), color(0x6C7074), color(0x2A2C2F),
    color(0x1B1C1E), color(0x3C4148), color(0x23395D), color(0x35568A), color(0x7A1F22),
    color(0xA3242A), color(0x2F4A36), color(0x5C6B4A), color(0x6B5844), color(0xB49A6A),
    color(0x7E99B0), color(0x8C8A85), color(0xC9A227)};

/// Axes of a vehicle: x to its right, y up, z ahead.
struct Body {
  World& world;
  Vec3 center, right, ahead;
  uint8_t label;

  Vec3 point(float x, float y, float z) const {
    return center + right * x + ahead * z + Vec3{0, y, 0};
  }
  Vec3 direction(float x, float y, float z) const { return right * x + ahead * z + Vec3{0, y, 0}; }
};

Body make_body(World& world, Vec3 center, Vec3 ahead, uint8_t label) {
  return {world, center, {ahead.z, 0, -ahead.x}, ahead, label};
}

enum class Material { paint, glass, dark, lamp, metal, plain };

/// One flat part: polygon in a frame, with a normal for the light.
struct Panel {
  Frame frame;
  std::vector<Vec2> corners;
  Vec3 normal;
  Rgb albedo;
  Material material = Material::paint;
};

/// A flat part through three or more points that lie in one plane, in vehicle coordinates.
Panel panel(const Body& body, std::vector<Vec3> points, Vec3 outward, Rgb albedo,
            Material material) {
  for (Vec3& p : points) p = body.point(p.x, p.y, p.z);
  const Vec3 along = points[1] - points[0];
  Vec3 other = points[2] - points[1];
  if (points.size() > 3 && length(other) < 1e-3f) other = points[3] - points[1];
  const Frame frame = make_frame(points[0], along, other);
  Panel result{frame, {}, {}, albedo, material};
  for (Vec3 p : points) {
    const Vec3 from = p - frame.origin;
    result.corners.push_back({dot(from, frame.u), dot(from, frame.v)});
  }
  Vec3 normal = normalized(cross(frame.u, frame.v));
  if (dot(normal, body.direction(outward.x, outward.y, outward.z)) < 0) normal = normal * -1.0f;
  result.normal = normal;
  return result;
}

Rgb shade_panel(const World& world, const Panel& p, Vec3 middle, float bulge, const Hit& hit,
                float visible) {
  const Vec3 place = at(p.frame, hit.u, hit.v);
  const Vec3 view = normalized(place - Vec3{0, world.camera.height, 0});
  // Sheet metal bulges: the normal turns away from the middle of the vehicle.
  const bool bulges = p.material == Material::paint || p.material == Material::glass;
  const Vec3 normal = bulges ? normalized(p.normal + (place - middle) * bulge) : p.normal;
  const Vec3 mirror = view - normal * (2 * dot(view, normal));
  const float grazing = 1.0f - std::min(std::abs(dot(view, normal)), 1.0f);
  const float fresnel = 0.05f + 0.6f * grazing * grazing * grazing * grazing;
  switch (p.material) {
    case Material::glass: {
      // Below the horizon the panes mirror the houses around.
      const float skyline =
          mirror.y + 0.5f * (noise(world.noise, mirror.x * 5 + 40, mirror.z * 5 + 40) - 0.5f);
      const Rgb seen =
          mix(world.light.bounce * 0.5f, world.reflected(mirror), smoothstep(0.05f, 0.4f, skyline));
      return world.light.sky * 0.018f + seen * (0.1f + fresnel);
    }
    case Material::dark:
      return world.light.lit(p.albedo, p.normal, visible) * smoothstep(-0.2f, 0.6f, place.y);
    case Material::lamp: return p.albedo;
    case Material::metal:
    case Material::paint: {
      const float low = 0.55f + 0.45f * smoothstep(0.2f, 1.0f, place.y);
      const Rgb matt = world.light.lit(p.albedo, normal, visible) * low;
      return matt + world.reflected(mirror) * fresnel * (mirror.y > 0 ? 0.55f : 0.3f);
    }
    case Material::plain: return world.light.lit(p.albedo, p.normal, visible);
  }
  return {};
}

/// Draws all panels of one vehicle and casts its shadow.
void add_panels(const Body& body, std::vector<Panel> panels) {
  World& world = body.world;
  const uint8_t label = body.label;
  const Vec3 middle = body.center + Vec3{0, 0.8f, 0};
  const float bulge = label == id::kCar ? 0.16f : 0.03f;
  world.solid.push_back(
      {std::max(body.center.z, 0.0f),
       [&world, label, middle, bulge, panels = std::move(panels)](Canvas& canvas) {
         const float visible = world.sunlit(middle);
         for (const Panel& p : panels) {
           canvas.polygon(p.frame, p.corners, label, [&](const Hit& hit, Rgb& result) {
             result = shade_panel(world, p, middle, bulge, hit, visible);
             return true;
           });
         }
       }});
}

/// Wheels at both sides; seen from the side they are discs, from behind upright rectangles.
void add_wheels(const Body& body, std::vector<Panel>& panels, float half_width, float radius,
                std::initializer_list<float> axles, Rgb rim) {
  for (float z : axles) {
    for (float sign : {-1.0f, 1.0f}) {
      const float x = sign * half_width;
      const auto disc = [&](float r, float lift, Rgb albedo, Material material) {
        std::vector<Vec3> points;
        for (int i = 0; i < 16; ++i) {
          const float angle = 2 * kPi * static_cast<float>(i) / 16;
          const float y = std::max(radius + r * sine(angle), 0.0f);
          points.push_back({x + sign * lift, y, z + r * cosine(angle)});
        }
        Panel p = panel(body, std::move(points), {sign, 0, 0}, albedo, material);
        panels.push_back(std::move(p));
      };
      disc(radius * 1.18f, 0.006f, color(0x141414), Material::plain);
      disc(radius, 0.016f, color(0x1E1E1F), Material::plain);
      disc(radius * 0.64f, 0.026f, rim, Material::metal);
      disc(radius * 0.2f, 0.036f, rim * 0.4f, Material::plain);
      for (float end : {-0.92f, 0.92f}) {
        const float width = 0.22f * sign;
        panels.push_back(panel(body,
                               {{x, 0, z + end * radius},
                                {x - width, 0, z + end * radius},
                                {x - width, radius * 1.3f, z + end * radius},
                                {x, radius * 1.3f, z + end * radius}},
                               {0, 0, end}, color(0x181818), Material::plain));
      }
    }
  }
}

/// A profile of a car from the foot of its tail over the roof to the foot of its nose, as shares
/// of length and metres of height. `belt` names the points where the windows begin and end.
struct Profile {
  std::array<Vec2, 9> points;
  float length, width;
};

constexpr Profile kHatchback{{{{0, 0.28f},
                               {0.0f, 0.58f},
                               {0.015f, 0.92f},
                               {0.1f, 1.42f},
                               {0.28f, 1.5f},
                               {0.5f, 1.47f},
                               {0.71f, 0.99f},
                               {0.95f, 0.78f},
                               {1, 0.28f}}},
                             4.1f,
                             1.76f};
constexpr Profile kSaloon{{{{0, 0.28f},
                            {0.0f, 0.6f},
                            {0.13f, 0.98f},
                            {0.27f, 1.38f},
                            {0.4f, 1.44f},
                            {0.54f, 1.41f},
                            {0.72f, 0.96f},
                            {0.96f, 0.76f},
                            {1, 0.28f}}},
                          4.7f,
                          1.82f};
constexpr Profile kEstate{{{{0, 0.28f},
                            {0.0f, 0.6f},
                            {0.01f, 0.95f},
                            {0.07f, 1.44f},
                            {0.25f, 1.5f},
                            {0.54f, 1.46f},
                            {0.72f, 0.98f},
                            {0.96f, 0.78f},
                            {1, 0.28f}}},
                          4.7f,
                          1.82f};
constexpr Profile kSuv{{{{0, 0.36f},
                         {0.0f, 0.75f},
                         {0.015f, 1.1f},
                         {0.08f, 1.65f},
                         {0.28f, 1.74f},
                         {0.54f, 1.7f},
                         {0.71f, 1.15f},
                         {0.95f, 0.98f},
                         {1, 0.36f}}},
                       4.55f,
                       1.88f};
constexpr Profile kVan{{{{0, 0.35f},
                         {0.0f, 0.7f},
                         {0.0f, 1.15f},
                         {0.02f, 1.95f},
                         {0.3f, 2.02f},
                         {0.7f, 1.98f},
                         {0.88f, 1.2f},
                         {0.97f, 0.95f},
                         {1, 0.35f}}},
                       5.1f,
                       1.95f};
constexpr std::array kCars = {kHatchback, kHatchback, kSaloon, kEstate, kSuv};

void add_profile(World& world, Vec3 center, Vec3 ahead, const Profile& base, bool panel_van) {
  Random& random = world.random;
  Body body = make_body(world, center, ahead, id::kCar);
  const float scale = random.uniform(0.92f, 1.08f), tall = random.uniform(0.96f, 1.05f);
  const float size = base.length * scale, half = base.width * 0.5f * std::sqrt(scale);
  const Rgb paint = random.tint(kCarPaints, 0.75f, 1.05f);
  std::array<Vec2, 9> profile = base.points;
  for (Vec2& p : profile) p = {(p.x - 0.5f) * size, p.y * tall};
  const float belt = profile[2].y, roof = profile[4].y;
  const auto half_at = [&](float y) {
    return half *
           (1.0f - 0.17f * clamp01((y - belt) / (roof - belt)) - 0.06f * clamp01((0.5f - y) * 2));
  };
  std::vector<Panel> panels;
  panels.reserve(80);
  // The skin across the car, tail to nose.
  for (size_t i = 0; i + 1 < profile.size(); ++i) {
    const Vec2 p = profile[i], q = profile[i + 1];
    const float wp = half_at(p.y), wq = half_at(q.y);
    const Vec3 outward = {0, q.x - p.x, p.y - q.y};
    panels.push_back(panel(body, {{-wp, p.y, p.x}, {wp, p.y, p.x}, {wq, q.y, q.x}, {-wq, q.y, q.x}},
                           outward, paint, Material::paint));
    const bool rear_pane = i == 2 && !panel_van, windscreen = i == 5;
    if (rear_pane || windscreen) {
      const Vec3 lift = normalized(outward) * 0.015f;
      const float lo = windscreen ? 0.06f : 0.1f, hi = windscreen ? 0.97f : 0.88f;
      const auto corner = [&](float sign, float t) {
        return Vec3{sign * mix(wp, wq, t) * 0.88f, mix(p.y, q.y, t), mix(p.x, q.x, t)} + lift;
      };
      panels.push_back(panel(body, {corner(-1, lo), corner(1, lo), corner(1, hi), corner(-1, hi)},
                             outward, paint, Material::glass));
    }
  }
  // The sides: body below the belt, cabin above it.
  for (float sign : {-1.0f, 1.0f}) {
    const Vec3 outward = {sign, 0, 0};
    const float x = sign * half;
    panels.push_back(panel(body,
                           {{x, profile[0].y, profile[0].x},
                            {x, profile[8].y, profile[8].x},
                            {x, profile[7].y, profile[7].x},
                            {x, profile[6].y, profile[6].x},
                            {x, belt, profile[2].x},
                            {x, profile[1].y, profile[1].x}},
                           outward, paint, Material::paint));
    const auto cabin = [&](size_t i) {
      return Vec3{sign * half_at(profile[i].y), profile[i].y, profile[i].x};
    };
    panels.push_back(panel(body, {cabin(2), cabin(6), cabin(5), cabin(4), cabin(3)}, outward, paint,
                           Material::paint));
    // Panes between tail, middle and nose pillars.
    const float lo = belt + 0.05f, hi = roof - 0.12f;
    const auto edge = [&](float y, float y0, float z0, float y1, float z1) {
      return z0 + (z1 - z0) * clamp01((y - y0) / std::max(y1 - y0, 0.01f));
    };
    const auto tail = [&](float y) {
      return edge(y, profile[2].y, profile[2].x, profile[3].y, profile[3].x) + 0.14f;
    };
    const auto nose = [&](float y) {
      return edge(y, profile[6].y, profile[6].x, profile[5].y, profile[5].x) - 0.1f;
    };
    const float pillar = mix(profile[3].x, profile[6].x, panel_van ? 0.68f : 0.5f);
    const auto pane = [&](float y, float z) { return Vec3{sign * (half_at(y) + 0.012f), y, z}; };
    if (!panel_van) {
      panels.push_back(panel(body,
                             {pane(lo, tail(lo)), pane(lo, pillar - 0.05f),
                              pane(hi, pillar - 0.05f), pane(hi, tail(hi))},
                             outward, paint, Material::glass));
    }
    panels.push_back(panel(body,
                           {pane(lo, pillar + 0.05f), pane(lo, nose(lo)), pane(hi, nose(hi)),
                            pane(hi, pillar + 0.05f)},
                           outward, paint, Material::glass));
    // Door gaps, handles, sill, mirror.
    const float side = sign * (half + 0.008f);
    for (float z : {mix(profile[2].x, pillar, 0.35f), pillar, mix(pillar, profile[6].x, 0.85f)}) {
      panels.push_back(panel(
          body,
          {{side, 0.35f, z}, {side, 0.35f, z + 0.02f}, {side, belt, z + 0.02f}, {side, belt, z}},
          outward, paint * 0.35f, Material::plain));
    }
    panels.push_back(panel(body,
                           {{side, profile[0].y, -0.48f * size},
                            {side, profile[0].y, 0.48f * size},
                            {side, profile[0].y + 0.1f, 0.48f * size},
                            {side, profile[0].y + 0.1f, -0.48f * size}},
                           outward, color(0x262626), Material::plain));
    const float mz = profile[6].x - 0.25f, mx = sign * (half + 0.17f);
    for (float face : {-1.0f, 1.0f}) {
      panels.push_back(panel(body,
                             {{sign * half * 0.95f, belt, mz + face * 0.05f},
                              {mx, belt, mz + face * 0.05f},
                              {mx, belt + 0.15f, mz + face * 0.05f},
                              {sign * half * 0.95f, belt + 0.15f, mz + face * 0.05f}},
                             {0, 0, face}, paint * 0.8f, Material::paint));
    }
  }
  // Lamps, plates, bumpers, grille.
  const float tail_z = profile[1].x - 0.015f;
  const float lamp_y = profile[1].y;
  const bool braking = random.chance(0.35f), lights_on = world.light.dusk || random.chance(0.3f);
  const auto plate = [&](float x0, float x1, float y0, float y1, float z, Rgb albedo,
                         Material material) {
    panels.push_back(panel(body, {{x0, y0, z}, {x1, y0, z}, {x1, y1, z}, {x0, y1, z}},
                           {0, 0, z > 0 ? 1.0f : -1.0f}, albedo, material));
  };
  const Vec2 p1 = profile[1], p2 = profile[2];
  const Rgb red = braking ? Rgb{0.9f, 0.06f, 0.04f} : Rgb{0.22f, 0.015f, 0.015f};
  for (float sign : {-1.0f, 1.0f}) {
    const float outer = sign * half * 0.96f, inner = sign * half * 0.66f;
    const auto on_tail = [&](float x, float t) {
      return Vec3{x, mix(p1.y, p2.y, t), mix(p1.x, p2.x, t)} + Vec3{0, 0.008f, -0.02f};
    };
    panels.push_back(panel(
        body,
        {on_tail(inner, 0.3f), on_tail(outer, 0.3f), on_tail(outer, 0.92f), on_tail(inner, 0.92f)},
        {0, 0, -1}, red, braking ? Material::lamp : Material::metal));
    const Vec2 n7 = profile[7], n8 = profile[8];
    const auto on_nose = [&](float x, float t) {
      return Vec3{x, mix(n7.y, n8.y, t), mix(n7.x, n8.x, t)} + Vec3{0, 0.004f, 0.025f};
    };
    panels.push_back(panel(body,
                           {on_nose(inner * 0.85f, 0.06f), on_nose(outer, 0.06f),
                            on_nose(outer, 0.36f), on_nose(inner * 0.85f, 0.32f)},
                           {0, 0, 1}, lights_on ? Rgb{2.2f, 2.1f, 1.8f} : Rgb{0.5f, 0.52f, 0.55f},
                           lights_on ? Material::lamp : Material::metal));
    if (sign > 0) {
      panels.push_back(panel(body,
                             {on_nose(-half * 0.55f, 0.2f), on_nose(half * 0.55f, 0.2f),
                              on_nose(half * 0.5f, 0.5f), on_nose(-half * 0.5f, 0.5f)},
                             {0, 0, 1}, color(0x16171A), Material::plain));
      panels.push_back(panel(body,
                             {on_nose(-half * 0.8f, 0.72f), on_nose(half * 0.8f, 0.72f),
                              on_nose(half * 0.8f, 1.0f), on_nose(-half * 0.8f, 1.0f)},
                             {0, 0, 1}, color(0x202022), Material::plain));
      panels.push_back(panel(body,
                             {on_nose(-0.26f, 0.55f), on_nose(0.26f, 0.55f), on_nose(0.26f, 0.75f),
                              on_nose(-0.26f, 0.75f)},
                             {0, 0.002f, 1}, color(0xE8E6DC), Material::plain));
    }
  }
  plate(-half * 0.94f, half * 0.94f, profile[0].y, profile[0].y + 0.14f, tail_z, color(0x242426),
        Material::plain);
  plate(-0.26f, 0.26f, lamp_y + (panel_van ? 0.1f : -0.02f) - 0.09f,
        lamp_y + (panel_van ? 0.1f : -0.02f) + 0.03f, tail_z - 0.01f, color(0xE6E3D6),
        Material::plain);
  // What is under the car.
  plate(-half * 0.9f, half * 0.9f, 0.16f, profile[0].y, -0.46f * size, color(0x101010),
        Material::plain);
  plate(-half * 0.9f, half * 0.9f, 0.16f, profile[0].y, 0.46f * size, color(0x101010),
        Material::plain);
  constexpr std::array kRims = {color(0x9A9C9E), color(0x5A5C5E), color(0x2A2B2C)};
  const Rgb rim = random.pick(kRims);
  const float wheel = panel_van ? 0.34f : 0.31f * tall;
  add_wheels(body, panels, half, wheel, {-0.3f * size, 0.31f * size}, rim);
  add_panels(body, std::move(panels));
  world.cast_box(center, ahead, half, size * 0.5f, roof * 0.85f);
}

/// A box with vertical walls; `x`, `y`, `z` are the lower and upper bounds.
void add_box(const Body& body, std::vector<Panel>& panels, Vec2 x, Vec2 y, Vec2 z, Rgb albedo,
             Material material) {
  for (float sign : {-1.0f, 1.0f}) {
    const float sx = sign < 0 ? x.x : x.y, sz = sign < 0 ? z.x : z.y;
    panels.push_back(panel(body, {{sx, y.x, z.x}, {sx, y.x, z.y}, {sx, y.y, z.y}, {sx, y.y, z.x}},
                           {sign, 0, 0}, albedo, material));
    panels.push_back(panel(body, {{x.x, y.x, sz}, {x.y, y.x, sz}, {x.y, y.y, sz}, {x.x, y.y, sz}},
                           {0, 0, sign}, albedo, material));
  }
  panels.push_back(panel(body, {{x.x, y.y, z.x}, {x.y, y.y, z.x}, {x.y, y.y, z.y}, {x.x, y.y, z.y}},
                         {0, 1, 0}, albedo, material));
}

constexpr std::array kLiveries = {color(0xD9D9D4), color(0xC23B2E), color(0xE0B73A),
                                  color(0x2F6DA8), color(0x3F7F4F), color(0x7C8288),
                                  color(0xE8E8E6), color(0x5A5048), color(0x9BB4C8)};

}  // namespace

void add_car(World& world, Vec3 center, Vec3 ahead) {
  const Profile& profile = world.random.pick(kCars);
  add_profile(world, center, ahead, profile, false);
}

void add_van(World& world, Vec3 center, Vec3 ahead) {
  const bool panel_van = world.random.chance(0.6f);
  add_profile(world, center, ahead, kVan, panel_van);
}

void add_bus(World& world, Vec3 center, Vec3 ahead) {
  Random& random = world.random;
  Body body = make_body(world, center, ahead, id::kBus);
  const float half = 1.27f, front = random.uniform(5.2f, 6.0f), top = random.uniform(2.95f, 3.2f);
  const Rgb paint = random.tint(kLiveries, 0.7f, 1.0f);
  const Rgb lower = random.chance(0.5f) ? paint : random.pick(kLiveries) * 0.8f;
  std::vector<Panel> panels;
  panels.reserve(120);
  add_box(body, panels, {-half, half}, {0.32f, top}, {-front, front}, paint, Material::paint);
  for (float sign : {-1.0f, 1.0f}) {
    const float x = sign * (half + 0.01f);
    const auto side = [&](float z0, float z1, float y0, float y1, float lift, Rgb albedo,
                          Material m) {
      const float at_x = x + sign * lift;
      panels.push_back(panel(body, {{at_x, y0, z0}, {at_x, y0, z1}, {at_x, y1, z1}, {at_x, y1, z0}},
                             {sign, 0, 0}, albedo, m));
    };
    side(-front, front, 0.32f, 1.0f, 0, lower, Material::paint);
    side(-front + 0.1f, front - 0.1f, 1.2f, 2.45f, 0.004f, color(0x101214), Material::glass);
    for (float z = -front + 1.6f; z < front - 0.5f; z += 1.7f) {
      side(z, z + 0.1f, 1.2f, 2.45f, 0.012f, color(0x1C1C1E), Material::plain);
    }
    for (float z : {-front * 0.45f, front * 0.55f}) {
      side(z, z + 1.2f, 0.4f, 2.4f, 0.016f, color(0x0C0E10), Material::glass);
      side(z + 0.57f, z + 0.63f, 0.4f, 2.4f, 0.024f, color(0x2A2A2A), Material::plain);
    }
  }
  for (float sign : {-1.0f, 1.0f}) {
    const float z = sign * (front + 0.01f);
    const auto end = [&](float x0, float x1, float y0, float y1, float lift, Rgb albedo,
                         Material m) {
      const float at_z = z + sign * lift;
      panels.push_back(panel(body, {{x0, y0, at_z}, {x1, y0, at_z}, {x1, y1, at_z}, {x0, y1, at_z}},
                             {0, 0, sign}, albedo, m));
    };
    const bool nose = sign > 0;
    end(-half, half, 0.32f, 0.9f, 0, lower, Material::paint);
    end(-half * 0.93f, half * 0.93f, nose ? 1.05f : 1.45f, nose ? 2.5f : 2.4f, 0.004f,
        color(0x101214), Material::glass);
    end(-half * 0.8f, half * 0.8f, top - 0.42f, top - 0.12f, 0.006f, color(0x0A0A0A),
        Material::plain);
    end(-half * 0.55f, half * 0.35f, top - 0.36f, top - 0.18f, 0.012f, Rgb{0.8f, 0.42f, 0.05f},
        Material::lamp);
    for (float s : {-1.0f, 1.0f}) {
      end(std::min(s * half * 0.95f, s * half * 0.72f),
          std::max(s * half * 0.95f, s * half * 0.72f), 0.65f, 0.95f, 0.008f,
          nose ? Rgb{1.3f, 1.25f, 1.1f} : Rgb{0.5f, 0.03f, 0.03f}, Material::lamp);
    }
    end(-0.26f, 0.26f, 0.42f, 0.54f, 0.008f, color(0xE6E3D6), Material::plain);
    end(-half * 0.9f, half * 0.9f, 0.1f, 0.32f, -0.3f, color(0x101010), Material::plain);
  }
  add_wheels(body, panels, half, 0.48f, {-front * 0.5f, front * 0.62f}, color(0x777777));
  add_panels(body, std::move(panels));
  world.cast_box(center, ahead, half, front, top);
}

void add_truck(World& world, Vec3 center, Vec3 ahead) {
  Random& random = world.random;
  Body body = make_body(world, center, ahead, id::kTruck);
  const float half = 1.22f, rear = -random.uniform(3.0f, 4.4f), front = 3.6f, split = front - 2.0f;
  const float top = random.uniform(2.7f, 3.7f), roof = random.uniform(2.4f, 2.9f);
  const Rgb cab = random.tint(kLiveries, 0.6f, 1.0f), cargo = random.tint(kLiveries, 0.6f, 1.0f);
  const bool open_bed = random.chance(0.2f);
  std::vector<Panel> panels;
  panels.reserve(100);
  add_box(body, panels, {-half, half}, {0.95f, open_bed ? 1.7f : top}, {rear, split - 0.15f},
          open_bed ? cargo * 0.6f : cargo, Material::plain);
  add_box(body, panels, {-half * 0.96f, half * 0.96f}, {0.45f, roof}, {split, front}, cab,
          Material::paint);
  add_box(body, panels, {-half * 0.6f, half * 0.6f}, {0.55f, 0.95f}, {rear + 0.1f, split},
          color(0x1A1A1A), Material::plain);
  for (float sign : {-1.0f, 1.0f}) {
    const float x = sign * (half * 0.96f + 0.012f);
    panels.push_back(panel(body,
                           {{x, 1.45f, split + 0.55f},
                            {x, 1.45f, front - 0.1f},
                            {x, roof - 0.35f, front - 0.25f},
                            {x, roof - 0.35f, split + 0.55f}},
                           {sign, 0, 0}, cab, Material::glass));
    // Ribs of the cargo box, guard rail below it.
    const float cx = sign * (half + 0.012f);
    for (float z = rear + 0.6f; z < split - 0.4f; z += 0.9f) {
      panels.push_back(panel(body,
                             {{cx, 1.0f, z},
                              {cx, 1.0f, z + 0.06f},
                              {cx, (open_bed ? 1.65f : top - 0.05f), z + 0.06f},
                              {cx, (open_bed ? 1.65f : top - 0.05f), z}},
                             {sign, 0, 0}, cargo * 0.7f, Material::plain));
    }
    panels.push_back(panel(body,
                           {{cx, 0.5f, rear + 1.6f},
                            {cx, 0.5f, split - 0.8f},
                            {cx, 0.75f, split - 0.8f},
                            {cx, 0.75f, rear + 1.6f}},
                           {sign, 0, 0}, color(0x55585A), Material::plain));
    const float lo = std::min(sign * half * 0.95f, sign * half * 0.7f),
                hi = std::max(sign * half * 0.95f, sign * half * 0.7f);
    const float tz = rear - 0.02f, fz = front + 0.02f;
    panels.push_back(panel(body,
                           {{lo, 0.75f, tz}, {hi, 0.75f, tz}, {hi, 0.93f, tz}, {lo, 0.93f, tz}},
                           {0, 0, -1}, Rgb{0.4f, 0.03f, 0.03f}, Material::lamp));
    panels.push_back(panel(body, {{lo, 0.7f, fz}, {hi, 0.7f, fz}, {hi, 0.92f, fz}, {lo, 0.92f, fz}},
                           {0, 0, 1}, Rgb{1.2f, 1.15f, 1.0f}, Material::lamp));
  }
  const float tz = rear - 0.015f, fz = front + 0.012f;
  if (!open_bed) {
    panels.push_back(panel(
        body,
        {{-0.03f, 1.0f, tz}, {0.03f, 1.0f, tz}, {0.03f, top - 0.1f, tz}, {-0.03f, top - 0.1f, tz}},
        {0, 0, -1}, cargo * 0.4f, Material::plain));
  }
  panels.push_back(
      panel(body, {{-half, 0.55f, tz}, {half, 0.55f, tz}, {half, 0.7f, tz}, {-half, 0.7f, tz}},
            {0, 0, -1}, color(0x8A2A22), Material::plain));
  panels.push_back(panel(body,
                         {{-half * 0.88f, 1.4f, fz},
                          {half * 0.88f, 1.4f, fz},
                          {half * 0.88f, roof - 0.25f, fz},
                          {-half * 0.88f, roof - 0.25f, fz}},
                         {0, 0, 1}, cab, Material::glass));
  panels.push_back(panel(body,
                         {{-half * 0.7f, 0.75f, fz},
                          {half * 0.7f, 0.75f, fz},
                          {half * 0.7f, 1.2f, fz},
                          {-half * 0.7f, 1.2f, fz}},
                         {0, 0, 1}, color(0x1C1C1C), Material::plain));
  add_wheels(body, panels, half, 0.48f, {rear + 0.9f, front - 1.1f}, color(0x666666));
  add_panels(body, std::move(panels));
  world.cast_box(body.point(0, 0, 0.5f * (rear + front)), ahead, half, 0.5f * (front - rear),
                 open_bed ? roof : top);
}

}  // namespace macadam::synth
