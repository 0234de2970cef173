#include "base/to_size.h"
#include "synth/parts.h"

namespace macadam::synth {

namespace {

/// Facades include the colours of road, sky and foliage, so that colour alone tells little.
constexpr std::array kPlaster = {color(0xD9CDB4), color(0xC9B48F), color(0xB8A78E), color(0xE3DCCB),
                                 color(0x8F8F8D), color(0x6F7073), color(0xA8A9A6), color(0xC98F6E),
                                 color(0xB5675A), color(0xD8B45F), color(0x9FB0BE), color(0x7F98AE),
                                 color(0x93A07E), color(0xC7C9C4), color(0x877A6C), color(0xE8E4DA),
                                 color(0xB97F5A), color(0x5C5A58)};
constexpr std::array kBrick = {color(0x8C4A38), color(0xA05A42), color(0x6E4438), color(0x9C7B5E)};
constexpr std::array kGlass = {color(0x7C98B0), color(0x8EA3B3), color(0x5F7482), color(0x9AA9A8)};
constexpr std::array kTiles = {color(0x7A3B2C), color(0x8E4B36), color(0x4B4744),
                               color(0x5B5350), color(0x6A6A6E), color(0x95573F)};
constexpr std::array kAwnings = {color(0xA83A32), color(0x2F5F8A), color(0x35664A), color(0xD8D2C0),
                                 color(0x3A3A3C), color(0xC79A35), color(0x7A2F5A)};

struct Facade {
  Rgb wall, trim, base, sign;
  float floor_height = 3.1f, ground_height = 3.6f;
  float spacing = 2.6f, window_width = 1.2f, window_height = 1.6f, sill = 0.9f;
  float margin = 0.5f;  ///< without windows at the edges
  bool brick = false, shops = false, curtain = false, mullion = true, bands = false;
  float dirt = 0.2f;
  float length = 10, height = 12;
  int salt = 0;
  Vec3 normal;
};

Facade choose_facade(Random& random, District district) {
  Facade f;
  f.salt = random.integer(0, 1 << 20);
  const float kind = random.uniform();
  if (district == District::offices ? kind < 0.45f : kind < 0.06f) {
    f.curtain = true;
    f.wall = random.tint(kGlass, 0.5f, 1.0f);
    f.trim = random.chance(0.5f) ? color(0x4A4E52) : color(0xB8BCBE);
    f.floor_height = 3.5f;
    f.spacing = random.uniform(1.2f, 2.4f);
    f.window_width = f.spacing - 0.12f;
    f.window_height = random.uniform(1.8f, 3.1f);
    f.sill = (f.floor_height - f.window_height) * 0.5f;
    f.margin = 0.1f;
    f.mullion = false;
  } else {
    f.brick = random.chance(0.22f);
    f.wall = f.brick ? random.tint(kBrick, 0.7f, 1.1f) : random.tint(kPlaster, 0.7f, 1.1f);
    f.trim = random.chance(0.6f) ? color(0xDDD8CC) : f.wall * random.uniform(0.5f, 0.8f);
    f.floor_height = random.uniform(2.8f, 3.6f);
    f.spacing = random.uniform(1.9f, 3.4f);
    f.window_width = random.uniform(0.4f, 0.58f) * f.spacing;
    f.window_height = random.uniform(1.3f, 2.0f);
    f.bands = random.chance(0.35f);
    f.margin = random.uniform(0.3f, 1.0f);
    if (district == District::offices && random.chance(0.4f)) {
      f.window_width = f.spacing - 0.2f;
      f.window_height = 1.5f;
      f.mullion = false;
    }
  }
  f.base = random.chance(0.5f) ? f.wall * 0.7f : color(0x8A867E);
  f.shops = district != District::houses && random.chance(0.55f);
  f.sign = random.pick(kAwnings);
  f.ground_height =
      f.shops ? random.uniform(3.6f, 4.4f) : f.floor_height + random.uniform(0.2f, 0.8f);
  f.dirt = random.uniform(0.05f, 0.35f);
  return f;
}

/// A pane: the sky or the house opposite in it, curtains behind it, light at dusk.
Rgb pane(const World& world, const Facade& f, int column, int row, float x, float y) {
  const float chance = hash01(column + f.salt, row * 7 + 3);
  const Rgb mirror = world.light.horizon * mix(0.12f, 0.6f, hash01(column * 3 + f.salt, row));
  const Rgb room = world.light.sky * 0.03f;
  Rgb glass = mix(room, mirror, f.curtain ? 0.75f : 0.3f + 0.35f * y);
  if (f.curtain) {
    const float shape =
        noise(world.noise, (static_cast<float>(column) + x) * 0.35f,
              (static_cast<float>(row) + y) * 0.5f + static_cast<float>(f.salt & 63));
    glass = mix(glass, f.wall * world.light.sky, 0.45f) * mix(0.6f, 1.15f, shape);
  }
  if (world.light.dusk && chance < 0.35f) {
    return Rgb{0.9f, 0.62f, 0.3f} * mix(0.5f, 1.2f, hash01(row, column + f.salt));
  }
  if (!f.curtain && chance > 0.55f) {
    const float drop = hash01(column + 31, row + f.salt);
    const bool closed = chance > 0.8f ? y > drop : std::abs(x - 0.5f) > 0.18f + 0.3f * drop;
    if (closed) glass = mix(glass, Rgb{0.6f, 0.57f, 0.5f} * world.light.sky, 0.55f);
  }
  return glass;
}

Rgb shade_facade(const World& world, const Facade& f, const Hit& hit, const Frame& frame) {
  const float u = hit.u, v = hit.v;
  const float width = std::max(hit.du, 0.01f), tall = std::max(hit.dv, 0.01f);
  Rgb wall = f.wall;
  const float stain = filtered_noise(world.noise, u * 0.35f + static_cast<float>(f.salt & 127),
                                     v * 0.22f, hit.z * 0.0005f);
  wall = wall * (1.0f + f.dirt * (stain - 0.5f) * 1.6f);
  if (f.brick) {
    const float row = std::floor(v / 0.16f);
    const float column = u / 0.34f + 0.5f * (row - 2 * std::floor(row * 0.5f));
    const float fade = clamp01(1.4f - std::max(width / 0.3f, tall / 0.14f));
    if (fade > 0) {
      const float joint = std::max(coverage(fraction(column), -0.5f, 0.07f, width / 0.34f),
                                   coverage(fraction(v / 0.16f), -0.5f, 0.14f, tall / 0.16f));
      const float tone = hash01(static_cast<int>(std::floor(column)), static_cast<int>(row)) - 0.5f;
      wall = wall * (1.0f + fade * 0.3f * tone) + Rgb{0.12f, 0.11f, 0.1f} * (fade * joint);
    }
  } else {
    wall = wall * (0.94f + 0.12f * filtered_noise(world.noise, u * 5, v * 5, width * 5));
  }
  const float above = v - f.ground_height;
  const float visible = world.sunlit(at(frame, u, v), f.normal);
  const Rgb ambient = world.light.ambient(f.normal) * (0.55f + 0.45f * smoothstep(0.0f, 9.0f, v));
  const Rgb light = ambient + world.light.direct(f.normal) * visible;
  const float columns = std::max(std::floor((f.length - 2 * f.margin) / f.spacing), 1.0f);
  const float pitch = (f.length - 2 * f.margin) / columns;
  const float place = (u - f.margin) / pitch;
  const int column = static_cast<int>(std::floor(place));
  const bool inside = place >= 0 && place < columns;
  const float x = (fraction(place) - 0.5f) * pitch;

  if (above < 0) {
    if (!f.shops) {
      Rgb result = mix(f.base, wall, smoothstep(0.7f, 0.8f, v));
      const bool door = inside && hash01(column, f.salt) < 1.3f / columns;
      const float lo = door ? 0.05f : 1.0f, hi = std::min(2.35f, f.ground_height - 0.4f);
      const float half = door ? 0.55f : f.window_width * 0.5f;
      if (inside) {
        const float hole = coverage(x, -half, half, width) * coverage(v, lo, hi, tall);
        const float rim = coverage(x, -half - 0.14f, half + 0.14f, width) *
                          coverage(v, lo - 0.14f, hi + 0.14f, tall);
        result = mix(result, f.trim, rim * 0.8f);
        const Rgb lit_result = result * light;
        const Rgb fill =
            door ? f.sign * 0.5f * light
                 : pane(world, f, column, -1, x / (2 * half) + 0.5f, clamp01((v - lo) / (hi - lo)));
        return mix(lit_result, fill, hole);
      }
      return result * light;
    }
    const float bay = pitch * 2;
    const float bx = fraction((u - f.margin) / bay);
    const int shop = static_cast<int>(std::floor((u - f.margin) / bay));
    const Rgb sign = kAwnings[hash(shop, f.salt) % kAwnings.size()];
    const float fascia = coverage(v, f.ground_height - 0.95f, f.ground_height - 0.3f, tall);
    const float window =
        coverage(bx, 0.06f, 0.94f, width / bay) * coverage(v, 0.45f, f.ground_height - 1.0f, tall);
    const Rgb display =
        mix(world.light.sky * 0.06f, world.light.horizon * 0.4f,
            noise(world.noise, u * 0.9f + static_cast<float>(f.salt & 31), v * 0.8f));
    Rgb goods = display;
    if (v < 1.9f) {
      const float thing = hash01(static_cast<int>(std::floor(u * 2.2f)), f.salt);
      if (thing > 0.45f && v < 0.6f + thing) {
        goods =
            mix(display,
                kPlaster[hash(static_cast<int>(std::floor(u * 2.2f)), 3) % kPlaster.size()] * light,
                0.5f);
      }
    }
    if (world.light.dusk) goods = goods + Rgb{0.5f, 0.4f, 0.25f};
    Rgb result = mix(wall, f.base, 0.5f) * light;
    result = mix(result, sign * light, fascia);
    const float letters = noise(world.noise, u * 6.0f, static_cast<float>(f.salt & 63));
    const float text = fascia *
                       coverage(v, f.ground_height - 0.78f, f.ground_height - 0.48f, tall) *
                       coverage(bx, 0.25f, 0.75f, width / bay) * smoothstep(0.45f, 0.55f, letters) *
                       clamp01(1.3f - width * 5);
    result = mix(result, Rgb{0.75f, 0.73f, 0.68f} * light, text);
    return mix(result, goods, window);
  }

  const float level = above / f.floor_height;
  const int row = static_cast<int>(std::floor(level));
  const float y = fraction(level) * f.floor_height;
  const bool fits =
      f.ground_height + static_cast<float>(row + 1) * f.floor_height < f.height + 0.6f;
  Rgb result = wall;
  if (f.bands) {
    result = mix(result, f.trim, coverage(y, -0.1f, 0.16f, tall) * 0.8f);
  }
  result = mix(result, f.trim, coverage(v, f.height - 0.5f, f.height + 1, tall) * 0.7f);
  Rgb shaded = result * light;
  if (!inside || !fits) return shaded;
  // Where windows are smaller than a sample, their average is what is seen.
  const float detail = clamp01(2.2f - 2.2f * std::max(width / pitch, tall / f.floor_height));
  const float half = std::min(f.window_width * 0.5f, pitch * 0.46f);
  const float lo = f.sill, hi = std::min(f.sill + f.window_height, f.floor_height - 0.2f);
  const float hole = coverage(x, -half, half, width) * coverage(y, lo, hi, tall);
  const float share = 2 * half * (hi - lo) / (pitch * f.floor_height);
  if (!f.curtain) {
    const float rim =
        coverage(x, -half - 0.12f, half + 0.12f, width) * coverage(y, lo - 0.16f, hi + 0.12f, tall);
    shaded = mix(shaded, f.trim * light, rim * 0.75f * detail);
    // The shadow of the lintel and the sill.
    shaded = shaded * (1.0f - 0.4f * detail * coverage(y, lo - 0.26f, lo - 0.14f, tall) *
                                  coverage(x, -half, half, width));
  }
  if (hole <= 0 && detail >= 1) return shaded;
  Rgb glass = pane(world, f, column, row, x / (2 * half) + 0.5f, clamp01((y - lo) / (hi - lo)));
  if (f.mullion) {
    const float bar = std::max(coverage(x, -0.05f, 0.05f, width),
                               coverage(y, mix(lo, hi, 0.66f), mix(lo, hi, 0.66f) + 0.07f, tall));
    glass = mix(glass, f.trim * light, bar * detail);
  }
  glass = glass * (1.0f - 0.5f * coverage(y, hi - 0.15f, hi, tall) * detail);
  return mix(shaded, glass, mix(share, hole, detail));
}

std::array<Vec2, 4> rectangle(float width, float height) {
  return {Vec2{0, 0}, {width, 0}, {width, height}, {0, height}};
}

void add_flat(World& world, const Frame& frame, std::vector<Vec2> corners, uint8_t label,
              Rgb albedo, Vec3 normal, float grain) {
  const float z = std::max(at(frame, corners[0].x, corners[0].y).z, 0.0f);
  world.solid.push_back(
      {z,
       [&world, frame, corners = std::move(corners), label, albedo, normal, grain](Canvas& canvas) {
         canvas.polygon(frame, corners, label, [&](const Hit& hit, Rgb& result) {
           const float speck =
               filtered_noise(world.noise, hit.u * grain, hit.v * grain, hit.du * grain);
           result = world.light.lit(albedo * (0.8f + 0.4f * speck), normal,
                                    world.sunlit(at(frame, hit.u, hit.v), normal));
           return true;
         });
       }});
}

/// A vertical front with windows from point a to point b on the ground.
void add_front(World& world, Facade facade, Vec3 a, Vec3 b, Vec3 outward) {
  const Frame frame = make_frame(a, b - a, {0, 1, 0});
  facade.length = length(b - a);
  facade.normal = outward;
  world.solid.push_back(
      {std::max(std::min(a.z, b.z), 0.0f), [&world, frame, facade](Canvas& canvas) {
         canvas.polygon(frame, rectangle(facade.length, facade.height), id::kBuilding,
                        [&](const Hit& hit, Rgb& result) {
                          result = shade_facade(world, facade, hit, frame);
                          return true;
                        });
       }});
}

}  // namespace

float add_building(World& world, int which, float z0, float z1, float setback, District district) {
  Random& random = world.random;
  const float sign = which == 0 ? -1.0f : 1.0f;
  const float line = world.side[to_size(which)].building_line + setback;
  Facade facade = choose_facade(random, district);
  int floors = 0;
  switch (district) {
    case District::old_town: floors = random.integer(2, 5); break;
    case District::offices: floors = random.integer(3, 9); break;
    case District::houses: floors = random.integer(0, 2); break;
    case District::mixed: floors = random.integer(1, 6); break;
  }
  facade.height = facade.ground_height + static_cast<float>(floors) * facade.floor_height +
                  random.uniform(0.4f, 1.0f);
  const float depth = random.uniform(9, 14);
  const Vec3 a = world.on_street(sign * line, 0, z0), b = world.on_street(sign * line, 0, z1);
  const Vec3 along = normalized(b - a);
  const Vec3 outward = Vec3{along.z, 0, -along.x} * -sign;
  const Vec3 back = outward * -depth;
  add_front(world, facade, a, b, outward);
  // The ends: fire walls, or fronts of their own at a crossing.
  Facade end = facade;
  if (random.chance(0.5f)) {
    end.spacing = 6;
    end.window_width = 0.9f;
    end.shops = false;
  }
  add_front(world, end, a, a + back, along * -1.0f);
  add_front(world, end, b, b + back, along);

  const float reach = length(b - a);
  const bool pitched =
      !facade.curtain && random.chance(district == District::offices ? 0.1f : 0.75f);
  float top = facade.height;
  const Rgb tiles = random.tint(kTiles, 0.8f, 1.2f);
  if (pitched) {
    const float rise = random.uniform(0.5f, 0.95f) * depth * 0.5f;
    const bool gable_front =
        district == District::houses ? random.chance(0.5f) : random.chance(0.15f);
    if (gable_front && reach < 13) {
      const float peak = rise * reach / depth;
      const Vec3 eave = a + Vec3{0, facade.height, 0};
      add_flat(world, make_frame(eave, along, {0, 1, 0}),
               {{0, 0}, {reach, 0}, {reach * 0.5f, peak}}, id::kBuilding, facade.wall, outward,
               2.0f);
      const Vec3 slope_a = normalized(along * (reach * 0.5f) + Vec3{0, peak, 0});
      const Vec3 slope_b = normalized(along * (-reach * 0.5f) + Vec3{0, peak, 0});
      const float run = std::sqrt(reach * reach * 0.25f + peak * peak) + 0.3f;
      add_flat(world, make_frame(eave - slope_a * 0.4f + outward * 0.3f, back, slope_a),
               {{0, 0}, {depth, 0}, {depth, run}, {0, run}}, id::kBuilding, tiles,
               normalized(Vec3{0, reach * 0.5f, 0} - along * peak), 4.0f);
      add_flat(world,
               make_frame(eave + along * reach - slope_b * 0.4f + outward * 0.3f, back, slope_b),
               {{0, 0}, {depth, 0}, {depth, run}, {0, run}}, id::kBuilding, tiles,
               normalized(Vec3{0, reach * 0.5f, 0} + along * peak), 4.0f);
      top += peak * 0.6f;
    } else {
      const Vec3 slope = normalized(back * 0.5f + Vec3{0, rise, 0});
      const float run = std::sqrt(depth * depth * 0.25f + rise * rise) + 0.4f;
      const Vec3 eave = a + Vec3{0, facade.height, 0} - slope * 0.4f;
      const Vec3 normal = normalized(outward * rise + Vec3{0, depth * 0.5f, 0});
      add_flat(world, make_frame(eave, along, slope), {{0, 0}, {reach, 0}, {reach, run}, {0, run}},
               id::kBuilding, tiles, normal, 4.0f);
      for (int i = 0; i < 2; ++i) {  // gables
        const Vec3 foot = (i == 0 ? a : b) + Vec3{0, facade.height, 0};
        add_flat(world, make_frame(foot, back, {0, 1, 0}),
                 {{0, 0}, {depth, 0}, {depth * 0.5f, rise}}, id::kBuilding, facade.wall,
                 along * (i == 0 ? -1.0f : 1.0f), 2.0f);
      }
      const int dormers = district == District::old_town ? random.integer(0, 3) : 0;
      for (int i = 0; i < dormers; ++i) {
        const float s = reach * (static_cast<float>(i) + 0.5f) / static_cast<float>(dormers);
        const Vec3 corner =
            a + along * (s - 0.7f) + Vec3{0, facade.height + 0.5f, 0} + back * 0.06f;
        add_flat(world, make_frame(corner, along, {0, 1, 0}),
                 {{0, 0}, {1.4f, 0}, {1.4f, 1.5f}, {0, 1.5f}}, id::kBuilding, facade.trim * 0.8f,
                 outward, 1.0f);
        add_flat(world,
                 make_frame(corner + along * 0.25f + outward * 0.02f + Vec3{0, 0.3f, 0}, along,
                            {0, 1, 0}),
                 {{0, 0}, {0.9f, 0}, {0.9f, 1.0f}, {0, 1.0f}}, id::kBuilding,
                 Rgb{0.03f, 0.035f, 0.04f}, outward, 1.0f);
      }
      top += rise * 0.5f;
    }
    const int chimneys = random.integer(0, 2);
    for (int i = 0; i < chimneys; ++i) {
      const Vec3 foot = a + along * (reach * random.uniform(0.15f, 0.85f)) +
                        Vec3{0, facade.height + rise * 0.6f, 0} + back * 0.35f;
      add_flat(world, make_frame(foot, along, {0, 1, 0}),
               {{0, 0}, {0.8f, 0}, {0.8f, 1.6f}, {0, 1.6f}}, id::kBuilding, kBrick[0], outward,
               6.0f);
      add_flat(world, make_frame(foot, back, {0, 1, 0}),
               {{0, 0}, {0.6f, 0}, {0.6f, 1.6f}, {0, 1.6f}}, id::kBuilding, kBrick[0],
               along * -1.0f, 6.0f);
    }
  } else {
    // A cornice stands out a little and is seen from below.
    const Vec3 edge = a + Vec3{0, facade.height, 0} + outward * 0.35f;
    add_flat(world, make_frame(edge, along, {0, 1, 0}),
             {{0, 0}, {reach, 0}, {reach, 0.45f}, {0, 0.45f}}, id::kBuilding, facade.trim * 0.9f,
             outward, 1.0f);
    add_flat(world, make_frame(edge, along, outward * -1.0f),
             {{0, 0}, {reach, 0}, {reach, 0.35f}, {0, 0.35f}}, id::kBuilding, facade.trim * 0.5f,
             {0, -1, 0}, 1.0f);
  }

  // Balconies, where they are near enough to be seen.
  if (!facade.curtain && !facade.shops && floors >= 2 && z0 < 60 && random.chance(0.4f)) {
    const float every = random.uniform(4, 7);
    const Rgb panel = random.chance(0.5f) ? facade.trim * 0.8f : random.pick(kAwnings) * 0.7f;
    for (float s = 1.5f; s + 3 < reach; s += every) {
      for (int level = 0; level < floors; ++level) {
        const float y = facade.ground_height + static_cast<float>(level) * facade.floor_height;
        const Vec3 corner = a + along * s + Vec3{0, y - 0.15f, 0} + outward * 1.1f;
        add_flat(world, make_frame(corner, along, {0, 1, 0}),
                 {{0, 0}, {2.6f, 0}, {2.6f, 1.1f}, {0, 1.1f}}, id::kBuilding, panel, outward, 3.0f);
        for (float end_at : {0.0f, 2.6f}) {
          add_flat(world, make_frame(corner + along * end_at, outward * -1.0f, {0, 1, 0}),
                   {{0, 0}, {1.1f, 0}, {1.1f, 1.1f}, {0, 1.1f}}, id::kBuilding, panel,
                   along * -1.0f, 3.0f);
        }
        add_flat(world, make_frame(corner, along, outward * -1.0f),
                 {{0, 0}, {2.6f, 0}, {2.6f, 1.1f}, {0, 1.1f}}, id::kBuilding, facade.wall * 0.5f,
                 {0, -1, 0}, 1.0f);
      }
    }
  }
  world.raise_skyline(which, z0, z1, top);
  return top;
}

void add_wall(World& world, int which, float z0, float z1, float offset) {
  Random& random = world.random;
  const float height = random.uniform(1.2f, 3.2f);
  const bool brick = random.chance(0.5f);
  const Rgb base = brick ? random.tint(kBrick, 0.6f, 1.0f) : random.tint(kPlaster, 0.6f, 1.0f);
  const float panel = random.uniform(2.0f, 4.0f);
  const float outward_sign = which == 0 ? 1.0f : -1.0f;
  for (float z = z0; z < z1; z += 8) {
    const float end = std::min(z + 8, z1);
    const Vec3 a = world.on_street(offset, 0, z), b = world.on_street(offset, 0, end);
    const Frame frame = make_frame(a, b - a, {0, 1, 0});
    const float reach = length(b - a);
    const Vec3 normal = Vec3{frame.u.z, 0, -frame.u.x} * outward_sign;
    const float from = z - z0;
    world.solid.push_back(
        {std::max(z, 0.0f), [=, &world](Canvas& canvas) {
           canvas.polygon(
               frame, rectangle(reach, height), id::kWall, [&](const Hit& hit, Rgb& result) {
                 const float u = hit.u + from;
                 Rgb albedo = base;
                 if (brick) {
                   const float row = std::floor(hit.v / 0.15f);
                   const float column = u / 0.36f + 0.5f * (row - 2 * std::floor(row * 0.5f));
                   const float fade = clamp01(1.4f - std::max(hit.du / 0.3f, hit.dv / 0.14f));
                   const float joint =
                       std::max(coverage(fraction(column), -0.5f, 0.07f, hit.du / 0.36f),
                                coverage(fraction(hit.v / 0.15f), -0.5f, 0.12f, hit.dv / 0.15f));
                   const float tone =
                       hash01(static_cast<int>(std::floor(column)), static_cast<int>(row));
                   albedo = albedo * (0.85f + fade * 0.3f * tone) +
                            Rgb{0.1f, 0.1f, 0.09f} * (joint * fade);
                 } else {
                   const float seam = coverage(fraction(u / panel), -0.5f, 0.015f, hit.du / panel);
                   albedo = albedo * (1.0f - 0.5f * seam);
                 }
                 const float stain = fractal_noise(world.noise, u * 0.5f + from, hit.v * 0.6f, 3);
                 albedo = albedo * (0.65f + 0.7f * stain);
                 albedo =
                     mix(albedo, albedo * 1.4f, coverage(hit.v, height - 0.15f, height, hit.dv));
                 result = world.light.lit(albedo, normal,
                                          world.sunlit(at(frame, hit.u, hit.v), normal)) *
                          (0.7f + 0.3f * smoothstep(0.0f, 1.0f, hit.v));
                 return true;
               });
         }});
    // The top, seen when the wall is lower than the camera.
    add_flat(world, make_frame(a + Vec3{0, height, 0}, b - a, normal * -1.0f),
             {{0, 0}, {reach, 0}, {reach, 0.3f}, {0, 0.3f}}, id::kWall, base * 1.1f, {0, 1, 0},
             3.0f);
    world.cast_box(mix(a, b, 0.5f), frame.u, 0.15f, reach * 0.5f, height);
  }
}

void add_fence(World& world, int which, float z0, float z1, float offset) {
  Random& random = world.random;
  const float height = random.uniform(0.9f, 2.0f);
  constexpr std::array kPaints = {color(0x2E3230), color(0x6B6E6C), color(0xC9C6BE),
                                  color(0x6A4E36), color(0x31503C), color(0x8A7458)};
  const Rgb base = random.pick(kPaints);
  const bool planks = random.chance(0.35f), mesh = !planks && random.chance(0.3f);
  const float period = planks ? 0.16f : random.uniform(0.13f, 0.2f);
  const float thick = planks ? 0.11f : 0.028f;
  const float outward_sign = which == 0 ? 1.0f : -1.0f;
  for (float z = z0; z < z1; z += 8) {
    const float end = std::min(z + 8, z1);
    const Vec3 a = world.on_street(offset, 0, z), b = world.on_street(offset, 0, end);
    const Frame frame = make_frame(a, b - a, {0, 1, 0});
    const float reach = length(b - a);
    const Vec3 normal = Vec3{frame.u.z, 0, -frame.u.x} * outward_sign;
    world.lattice.push_back(
        {std::max(z, 0.0f), [=, &world](Canvas& canvas) {
           canvas.polygon(
               frame, rectangle(reach, height), id::kFence, [&](const Hit& hit, Rgb& result) {
                 const float u = fraction(hit.u / period) * period;
                 float bar = coverage(u, 0, thick, hit.du);
                 if (hit.du > period * 0.7f) bar = thick / period;
                 if (mesh) {
                   const float w = fraction(hit.v / period) * period;
                   bar = std::max(bar, hit.dv > period * 0.7f ? thick / period
                                                              : coverage(w, 0, thick, hit.dv));
                 }
                 const float rails =
                     std::max(coverage(hit.v, height - 0.12f, height - 0.05f, hit.dv),
                              coverage(hit.v, 0.14f, 0.21f, hit.dv));
                 const float post = coverage(fraction(hit.u / 2.5f) * 2.5f, 0, 0.09f, hit.du);
                 const float alpha = clamp01(std::max({bar, rails, post}));
                 const float speck = filtered_noise(world.noise, hit.u * 7, hit.v * 2, hit.du * 7);
                 const Rgb lit = world.light.lit(base * (0.75f + 0.5f * speck), normal,
                                                 world.sunlit(at(frame, hit.u, hit.v), normal));
                 result = mix(result, lit, alpha);
                 return true;
               });
         }});
  }
}

void add_hedge(World& world, int which, float z0, float z1, float offset) {
  Random& random = world.random;
  const float height = random.uniform(0.8f, 1.9f), depth = random.uniform(0.6f, 1.2f);
  constexpr std::array kHedges = {color(0x3F5A26), color(0x4C6230), color(0x5C6B33)};
  const Rgb leaf = random.tint(kHedges, 0.9f, 1.4f);
  const float sign = which == 0 ? -1.0f : 1.0f;
  for (float z = z0; z < z1; z += 6) {
    const float end = std::min(z + 6, z1);
    const Vec3 a = world.on_street(offset, 0, z), b = world.on_street(offset, 0, end);
    const Vec3 along = normalized(b - a);
    const Vec3 out = Vec3{along.z, 0, -along.x} * sign;
    const float reach = length(b - a);
    struct Face {
      Frame frame;
      Vec3 normal;
      float width, height;
    };
    const std::array<Face, 4> faces = {
        Face{make_frame(a, along, {0, 1, 0}), out * -1.0f, reach, height},
        Face{make_frame(a + Vec3{0, height * 0.96f, 0}, along, out), {0, 1, 0}, reach, depth},
        Face{make_frame(a, out, {0, 1, 0}), along * -1.0f, depth, height},
        Face{make_frame(b, out, {0, 1, 0}), along, depth, height}};
    for (const Face& face : faces) {
      world.solid.push_back(
          {std::max(z, 0.0f), [=, &world](Canvas& canvas) {
             canvas.polygon(face.frame, rectangle(face.width, face.height), id::kVegetation,
                            [&](const Hit& hit, Rgb& result) {
                              const float u = hit.u + z;
                              const float coarse =
                                  filtered_noise(world.noise, u * 2.3f, hit.v * 2.3f, hit.dv * 2);
                              const float fine =
                                  filtered_noise(world.noise, u * 11, hit.v * 11, hit.dv * 11);
                              if (hit.v > face.height - 0.22f * coarse * coarse) return false;
                              const float tone = 0.35f + 0.5f * coarse + 0.7f * (fine - 0.3f);
                              result = world.light.lit(
                                  leaf * std::max(tone, 0.12f), face.normal,
                                  world.sunlit(at(face.frame, hit.u, hit.v), face.normal));
                              return true;
                            });
           }});
    }
    world.cast_box(mix(a, b, 0.5f) + out * (depth * 0.5f), along, depth * 0.5f, reach * 0.5f,
                   height);
  }
}

void add_backdrop(World& world) {
  Random& random = world.random;
  const float middle = world.course(200);
  for (float x = middle - 170; x < middle + 170;) {
    const float z = random.uniform(195, 250);
    const float broad = random.uniform(10, 32);
    if (random.chance(0.5f)) {
      Facade facade = choose_facade(random, District::mixed);
      facade.shops = false;
      facade.height = random.uniform(7, 24);
      add_front(world, facade, {x, 0, z}, {x + broad, 0, z}, {0, 0, -1});
    } else {
      const float top = random.uniform(5, 13);
      for (float s = 0; s < broad; s += 5) {
        add_bush(world, {x + s, 0, z}, top * random.uniform(0.45f, 0.6f));
      }
    }
    x += broad * random.uniform(0.8f, 1.0f);
  }
}

}  // namespace macadam::synth
