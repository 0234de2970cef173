#include "base/to_size.h"
#include "synth/parts.h"

namespace macadam::synth {

namespace {

constexpr std::array kPoles = {color(0x7C7F80), color(0x55595A), color(0x9DA0A0),
                               color(0x3A4A40), color(0x2A2B2C), color(0x6A5A48)};

void add_rod(World& world, Vec3 a, float ra, Vec3 b, float rb, Rgb paint, uint8_t label) {
  world.solid.push_back(
      {std::max(std::min(a.z, b.z), 0.0f), [=, &world](Canvas& canvas) {
         const Rgb sun = world.light.sun * world.sunlit(mix(a, b, 0.4f));
         canvas.capsule(a, ra, b, rb, label, [&](const RoundHit& hit, Rgb& result) {
           const float rust =
               filtered_noise(world.noise, hit.across + a.x * 3, hit.y * 3, hit.pixel * 3);
           result = paint * (0.8f + 0.4f * rust) *
                    (world.light.ambient(hit.normal) +
                     sun * std::max(dot(hit.normal, world.light.to_sun), 0.0f));
           return true;
         });
       }});
  world.cast_capsule(a, b, 0.5f * (ra + rb));
}

/// A flat plate that faces the camera: corners in metres around `middle`.
template <class Picture>
void add_plate(World& world, Vec3 middle, Vec3 normal, std::vector<Vec2> corners, uint8_t label,
               Picture picture) {
  const Vec3 along = {-normal.z, 0, normal.x};
  const Frame frame = make_frame(middle, along, {0, 1, 0});
  world.solid.push_back(
      {std::max(middle.z, 0.0f), [=, &world, corners = std::move(corners)](Canvas& canvas) {
         const float visible = world.sunlit(middle);
         canvas.polygon(frame, corners, label, [&](const Hit& hit, Rgb& result) {
           result = picture(hit, visible);
           return true;
         });
       }});
}

std::vector<Vec2> box(float half_width, float half_height) {
  return {{-half_width, -half_height},
          {half_width, -half_height},
          {half_width, half_height},
          {-half_width, half_height}};
}

std::vector<Vec2> round_plate(float radius, int corners, float turn) {
  std::vector<Vec2> points;
  for (int i = 0; i < corners; ++i) {
    const float angle = turn + 2 * kPi * static_cast<float>(i) / static_cast<float>(corners);
    points.push_back(Vec2{cosine(angle), sine(angle)} * radius);
  }
  return points;
}

/// Towards the camera, a little turned.
Vec3 facing(World& world, Vec3 from) {
  const float turn = world.random.uniform(-0.3f, 0.3f);
  const Vec3 back = normalized({-from.x * 0.4f, 0, -from.z});
  return normalized({back.x + turn * 0.5f, 0, back.z});
}

void add_sign_plate(World& world, Vec3 middle, Vec3 normal, float size) {
  Random& random = world.random;
  const bool behind = random.chance(0.2f);
  const int kind = random.integer(0, 6);
  const Rgb white = color(0xE8E8E4), red = color(0xB0202A), blue = color(0x1F4F9A);
  const Rgb yellow = color(0xE0B020), gray = color(0x6E7274), dark = color(0x1A1A1A);
  const int salt = random.integer(0, 999);
  const auto light = [&world, normal](Rgb albedo, float visible) {
    return world.light.lit(albedo, normal, visible) + albedo * 0.06f;
  };
  if (behind) {
    add_plate(world, middle, normal, round_plate(size, 16, 0), id::kTrafficSign,
              [=](const Hit&, float visible) { return light(gray, visible); });
    return;
  }
  switch (kind) {
    case 0:
    case 1:  // prohibition: a red ring
      add_plate(world, middle, normal, round_plate(size, 20, 0), id::kTrafficSign,
                [=](const Hit& hit, float visible) {
                  const float r = std::sqrt(hit.u * hit.u + hit.v * hit.v) / size;
                  const bool digits =
                      std::abs(hit.u) < 0.4f * size && std::abs(hit.v) < 0.3f * size &&
                      hash01(static_cast<int>(std::floor(hit.u / size * 6)), salt) > 0.4f;
                  return light(r > 0.74f ? red : (kind == 0 && digits) ? dark : white, visible);
                });
      break;
    case 2:  // warning: a red triangle
      add_plate(world, middle, normal, round_plate(size * 1.15f, 3, 0.5f * kPi), id::kTrafficSign,
                [=](const Hit& hit, float visible) {
                  const float a = -hit.v, b = 0.5f * hit.v + 0.866f * std::abs(hit.u);
                  const float rim = std::max(a, b) / (0.575f * size);
                  const bool mark = std::abs(hit.u) < 0.12f * size && std::abs(hit.v) < 0.3f * size;
                  return light(rim > 0.66f ? red : mark ? dark : white, visible);
                });
      break;
    case 3:  // order: a blue disc with an arrow
      add_plate(world, middle, normal, round_plate(size, 20, 0), id::kTrafficSign,
                [=](const Hit& hit, float visible) {
                  const bool arrow =
                      std::abs(hit.u) < 0.14f * size && std::abs(hit.v) < 0.6f * size;
                  const bool tip = hit.v > 0.1f * size && std::abs(hit.u) < 0.65f * size - hit.v;
                  return light(arrow || tip ? white : blue, visible);
                });
      break;
    case 4:  // priority: a yellow square on its corner
      add_plate(world, middle, normal, round_plate(size * 1.1f, 4, 0), id::kTrafficSign,
                [=](const Hit& hit, float visible) {
                  return light(std::abs(hit.u) + std::abs(hit.v) > 0.72f * size ? white : yellow,
                               visible);
                });
      break;
    case 5:  // parking: a blue square with a letter
      add_plate(world, middle, normal, box(size * 0.9f, size * 0.9f), id::kTrafficSign,
                [=](const Hit& hit, float visible) {
                  const float u = hit.u / size, v = hit.v / size;
                  const bool stem = u > -0.4f && u < -0.18f && std::abs(v) < 0.6f;
                  const float r = std::sqrt((u + 0.1f) * (u + 0.1f) + (v - 0.25f) * (v - 0.25f));
                  const bool bow = u > -0.2f && r > 0.18f && r < 0.38f;
                  return light(stem || bow ? white : blue, visible);
                });
      break;
    default:  // stop: a red octagon
      add_plate(world, middle, normal, round_plate(size, 8, kPi / 8), id::kTrafficSign,
                [=](const Hit& hit, float visible) {
                  const bool text = std::abs(hit.v) < 0.22f * size &&
                                    std::abs(hit.u) < 0.66f * size &&
                                    fraction(hit.u / size * 3.1f) > 0.3f;
                  return light(text ? white : red, visible);
                });
  }
}

void add_light_box(World& world, Vec3 middle, Vec3 normal, int state) {
  const Rgb shell = color(0x1B1D1C);
  const Vec3 side = {-normal.z, 0, normal.x};
  // A back plate with depth: the sides are seen at an angle.
  for (float s : {-1.0f, 1.0f}) {
    add_plate(world, middle + side * (s * 0.15f) - normal * 0.1f, side * s, box(0.1f, 0.45f),
              id::kTrafficLight, [=, &world](const Hit&, float visible) {
                return world.light.lit(shell, side * s, visible);
              });
  }
  add_plate(world, middle, normal, box(0.16f, 0.46f), id::kTrafficLight,
            [=, &world](const Hit& hit, float visible) {
              const Rgb body = world.light.lit(shell, normal, visible);
              for (int lamp = 0; lamp < 3; ++lamp) {
                const float dv = hit.v - 0.29f * static_cast<float>(1 - lamp);
                const float r = std::sqrt(hit.u * hit.u + dv * dv);
                if (r > 0.115f) continue;
                constexpr std::array on = {Rgb{2.2f, 0.12f, 0.08f}, Rgb{2.0f, 1.1f, 0.1f},
                                           Rgb{0.15f, 1.7f, 0.7f}};
                const Rgb glow = on[to_size(lamp)];
                return lamp == state ? glow : glow * 0.025f + body * 0.5f;
              }
              return body;
            });
}

}  // namespace

void add_lamp(World& world, Vec3 foot, float towards_road) {
  Random& random = world.random;
  const Rgb paint = random.tint(kPoles, 0.7f, 1.1f);
  const float height = random.uniform(5.5f, 9.5f), reach = random.uniform(0.8f, 2.2f);
  const Vec3 top = foot + Vec3{0, height, 0};
  const Vec3 head = top + Vec3{towards_road * reach, 0.35f, 0};
  add_rod(world, foot, 0.1f, foot + Vec3{0, 1.2f, 0}, 0.1f, paint, id::kPole);
  add_rod(world, foot, 0.075f, top, 0.05f, paint, id::kPole);
  add_rod(world, top, 0.045f, head, 0.04f, paint, id::kPole);
  const Rgb glass = world.light.dusk ? Rgb{3.0f, 2.4f, 1.4f} : paint * 0.8f;
  add_rod(world, head, 0.1f, head + Vec3{towards_road * 0.6f, 0.02f, 0}, 0.07f, glass, id::kPole);
}

void add_sign(World& world, Vec3 foot) {
  Random& random = world.random;
  const float height = random.uniform(2.2f, 2.8f), size = random.uniform(0.3f, 0.42f);
  add_rod(world, foot, 0.035f, foot + Vec3{0, height + size, 0}, 0.035f, color(0x8A8D8E),
          id::kPole);
  const Vec3 normal = facing(world, foot);
  const Vec3 middle = foot + Vec3{0, height, 0} + normal * 0.05f;
  add_sign_plate(world, middle, normal, size);
  if (random.chance(0.35f))
    add_sign_plate(world, middle - Vec3{0, size * 2.1f, 0}, normal, size * 0.85f);
}

void add_direction_board(World& world, Vec3 foot, float towards_road) {
  Random& random = world.random;
  constexpr std::array kBoards = {color(0x1F4F9A), color(0xD9B02A), color(0xE4E4E0),
                                  color(0x2F6B45)};
  const Rgb board = random.pick(kBoards);
  const float half = random.uniform(0.8f, 1.7f), tall = random.uniform(0.4f, 1.0f);
  const float height = random.uniform(2.6f, 4.6f);
  const Vec3 normal = facing(world, foot);
  const Vec3 middle = foot + Vec3{-towards_road * half * 0.2f, height, 0};
  for (float s : {-0.6f, 0.6f}) {
    add_rod(world, {middle.x + s * half, 0, foot.z + 0.12f}, 0.06f,
            {middle.x + s * half, height + tall, foot.z + 0.12f}, 0.06f, color(0x7F8283),
            id::kPole);
  }
  const Rgb ink = luminance(board) > 0.3f ? color(0x1A1A1A) : color(0xE8E8E4);
  const int salt = random.integer(0, 999);
  add_plate(world, middle, normal, box(half, tall), id::kTrafficSign,
            [=, &world](const Hit& hit, float visible) {
              const float line = (hit.v + tall) / 0.36f;
              const float letter = hash01(static_cast<int>(std::floor(hit.u / 0.085f)),
                                          static_cast<int>(std::floor(line)) + salt);
              const bool text = fraction(line) > 0.3f && fraction(line) < 0.72f && letter > 0.4f &&
                                std::abs(hit.u) < half * 0.8f;
              const bool rim = std::abs(hit.u) > half - 0.05f || std::abs(hit.v) > tall - 0.05f;
              return world.light.lit(text || rim ? ink : board, normal, visible);
            });
}

void add_traffic_light(World& world, Vec3 foot, float towards_road, bool over_road) {
  Random& random = world.random;
  const Rgb paint = random.tint(kPoles, 0.7f, 1.1f);
  const int draw = random.integer(0, 3);
  const int state = draw > 2 ? 0 : draw;
  const Vec3 normal = facing(world, foot);
  const float height = random.uniform(2.6f, 3.2f);
  add_rod(world, foot, 0.08f, foot + Vec3{0, over_road ? 5.6f : height + 0.3f, 0}, 0.07f, paint,
          id::kPole);
  add_light_box(world, foot + Vec3{0, height, 0} + normal * 0.16f, normal, state);
  if (over_road) {
    const float reach = random.uniform(2.5f, 4.5f);
    const Vec3 bend = foot + Vec3{0, 5.6f, 0};
    const Vec3 tip = bend + Vec3{towards_road * reach, 0.25f, 0};
    add_rod(world, bend, 0.07f, tip, 0.05f, paint, id::kPole);
    add_light_box(world, tip + Vec3{0, -0.25f, 0} + normal * 0.16f, normal, state);
  }
}

void add_bollard(World& world, Vec3 foot) {
  const Rgb paint = world.random.tint(kPoles, 0.5f, 1.1f);
  add_rod(world, foot, 0.07f, foot + Vec3{0, 0.9f, 0}, 0.07f, paint, id::kPole);
}

void add_bin(World& world, Vec3 foot) {
  Random& random = world.random;
  constexpr std::array kBins = {color(0x2F4A36), color(0x3A3B3D), color(0x6A5040), color(0xB06A2A),
                                color(0x2A4A78)};
  const Rgb paint = random.tint(kBins, 0.6f, 1.1f);
  const float height = random.uniform(0.7f, 1.2f), radius = random.uniform(0.22f, 0.35f);
  add_rod(world, foot + Vec3{0, radius * 0.5f, 0}, radius, foot + Vec3{0, height - radius, 0},
          radius, paint, id::kStaticThing);
}

void add_advertising_column(World& world, Vec3 foot) {
  Random& random = world.random;
  constexpr std::array kPosters = {color(0xC8C2B0), color(0x9A3A34), color(0x3A6A8A),
                                   color(0xD0A840), color(0x5A7A4A), color(0x4A4A52)};
  const int salt = random.integer(0, 999);
  const float height = random.uniform(2.6f, 3.4f), radius = 0.62f;
  world.solid.push_back(
      {std::max(foot.z, 0.0f), [=, &world](Canvas& canvas) {
         const Rgb sun = world.light.sun * world.sunlit(foot + Vec3{0, 1.5f, 0});
         canvas.capsule(
             foot + Vec3{0, radius * 0.3f, 0}, radius, foot + Vec3{0, height - radius, 0}, radius,
             id::kStaticThing, [&](const RoundHit& hit, Rgb& result) {
               const int column = static_cast<int>(std::floor((hit.across + 1) * 1.6f));
               const int row = static_cast<int>(std::floor(hit.along * 3));
               const bool band = hit.along < 0.1f || hit.along > 0.97f;
               const Rgb poster =
                   band ? color(0x4A4F4C) : kPosters[hash(column + salt, row) % kPosters.size()];
               const float print = filtered_noise(world.noise, hit.x * 6, hit.y * 6, hit.pixel * 6);
               result = poster * (0.6f + 0.7f * print) *
                        (world.light.ambient(hit.normal) +
                         sun * std::max(dot(hit.normal, world.light.to_sun), 0.0f));
               return true;
             });
       }});
  world.cast_capsule(foot, foot + Vec3{0, height, 0}, radius);
}

void add_bonnet(World& world, Canvas& canvas) {
  Random& random = world.random;
  const float w = static_cast<float>(canvas.width()), h = static_cast<float>(canvas.height());
  const float rise = random.uniform(0.05f, 0.13f) * h, middle = w * random.uniform(0.45f, 0.55f);
  constexpr std::array kPaints = {color(0x15171A), color(0xB8BABC), color(0x2A3A5A),
                                  color(0x5A1A1C), color(0x6A6E72)};
  const Rgb paint = random.tint(kPaints, 0.6f, 1.0f);
  const float visible = world.sunlit({0, 1, 2});
  const std::span<Rgb> colors = canvas.color();
  const std::span<uint8_t> labels = canvas.label();
  for (int y = static_cast<int>(h - rise); y < canvas.height(); ++y) {
    for (int x = 0; x < canvas.width(); ++x) {
      const float q = (static_cast<float>(x) + 0.5f - middle) / (w * 0.56f);
      const float edge = h - rise * (1.0f - q * q * q * q) + rise * 0.12f * q * q;
      const float below = (static_cast<float>(y) + 0.5f - edge) / rise;
      if (below <= 0) continue;
      // The bonnet curves away from the viewer: its far edge mirrors the horizon, the rest the sky.
      const Vec3 normal = normalized({q * 0.5f, 1.0f, 0.5f - 0.7f * below});
      const float cloud = noise(world.noise, q * 3 + 7, below * 2 + 3);
      const Rgb mirror =
          mix(world.light.horizon * 0.5f, world.light.zenith, clamp01(below * 1.3f)) *
          (0.5f + cloud);
      const size_t i = to_size(y) * to_size(canvas.width()) + to_size(x);
      colors[i] = world.light.lit(paint, normal, visible) * 0.8f +
                  mirror * (0.1f + 0.25f * (1 - clamp01(below)));
      labels[i] = id::kEgoVehicle;
    }
  }
}

}  // namespace macadam::synth
