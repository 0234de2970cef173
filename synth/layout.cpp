// Decides what a street is made of and where everything stands.

#include "base/to_size.h"
#include "synth/parts.h"

namespace macadam::synth {

namespace {

constexpr float kEnd = 165;  ///< metres of street

/// The kind of street, which makes some things likely and others rare.
struct Character {
  District district;
  float trees, parked, people, cycles, traffic, gardens, walls;
};

constexpr std::array kCharacters = {
    Character{District::old_town, 0.25f, 0.75f, 1.2f, 1.2f, 0.7f, 0.05f, 0.08f},
    Character{District::mixed, 0.85f, 0.6f, 0.9f, 0.9f, 1.0f, 0.15f, 0.15f},
    Character{District::offices, 0.4f, 0.3f, 0.8f, 0.6f, 1.4f, 0.1f, 0.15f},
    Character{District::houses, 0.5f, 0.45f, 0.5f, 0.5f, 0.6f, 0.6f, 0.45f},
    Character{District::mixed, 0.7f, 0.2f, 0.6f, 0.7f, 1.2f, 0.3f, 0.6f}};

float signed_side(int which) { return which == 0 ? -1.0f : 1.0f; }

/// Houses, walls, fences, hedges and gaps along one side.
void line_with_houses(World& world, int which, const Character& kind) {
  Random& random = world.random;
  const Side& side = world.side[to_size(which)];
  const float sign = signed_side(which);
  const float usual_setback = kind.district == District::houses ? random.uniform(1.5f, 5.0f) : 0.0f;
  const float front = sign * (side.walk_edge() + 0.1f);
  const bool winter = world.random.chance(0.2f);
  float z = random.uniform(-22.0f, -8.0f);
  while (z < kEnd) {
    float reach =
        kind.district == District::offices ? random.uniform(14, 36) : random.uniform(8, 22);
    for (const Crossing& c : world.crossings) {
      const float gap_from = c.from - 2.5f, gap_to = c.to + 2.5f;
      if (z >= gap_from && z < gap_to) z = gap_to;
      if (z < gap_from && z + reach > gap_from) reach = gap_from - z;
    }
    if (reach < 3.0f) {
      z += std::max(reach, 0.5f);
      continue;
    }
    const float end = z + reach;
    const bool garden = random.chance(kind.gardens * 0.5f);
    if (!garden) {
      const float setback =
          usual_setback + (random.chance(0.2f) ? random.uniform(0.0f, 1.5f) : 0.0f);
      const float gap = kind.district == District::houses ? random.uniform(1.0f, 5.0f)
                                                          : (random.chance(0.15f) ? 2.0f : 0.0f);
      add_building(world, which, z, std::max(end - gap, z + 3), setback, kind.district);
    } else {
      // Trees behind, and sometimes a house far back.
      const int trees = static_cast<int>(reach / 4);
      for (int i = 0; i < trees; ++i) {
        const float offset = sign * (side.building_line + random.uniform(2, 12));
        const Vec3 foot = world.on_street(
            offset, 0, z + reach * (static_cast<float>(i) + 0.5f) / static_cast<float>(trees));
        const float height = random.uniform(5, 13);
        if (foot.z > 3) add_tree(world, foot, height, winter);
      }
      if (random.chance(0.6f))
        add_building(world, which, z, end, random.uniform(12, 18), kind.district);
    }
    const bool bounded =
        garden || usual_setback > 1.4f || side.building_line - side.walk_edge() > 3.0f;
    if (bounded) {
      const float choice = random.uniform();
      if (choice < 0.28f) {
        add_wall(world, which, z, end, front);
      } else if (choice < 0.58f) {
        add_fence(world, which, z, end, front);
      } else if (choice < 0.8f) {
        add_hedge(world, which, z, end, front);
      }
      for (float s = z + 2;
           s < end - 1 && side.building_line + usual_setback - side.walk_edge() > 1.8f;
           s += random.uniform(2.5f, 7.0f)) {
        const Vec3 foot = world.on_street(front + sign * random.uniform(0.9f, 1.6f), 0, s);
        const float radius = random.uniform(0.5f, 1.1f);
        if (foot.z > 4) add_bush(world, foot, radius);
      }
    } else if (random.chance(kind.walls * 0.25f)) {
      if (random.chance(0.5f)) {
        add_fence(world, which, z, end, front);
      } else {
        add_wall(world, which, z, end, front);
      }
    }
    z = end;
  }
}

/// Trees, lamps, signs and small things along the kerb.
void furnish(World& world, int which, const Character& kind) {
  Random& random = world.random;
  const Side& side = world.side[to_size(which)];
  const float sign = signed_side(which);
  const float curb = side.road_edge + (side.strip == Strip::terrain ? side.strip_width * 0.5f
                                                                    : side.strip_width + 0.5f);
  if (random.chance(kind.trees)) {
    const float spacing = random.uniform(8, 16), height = random.uniform(5.5f, 12);
    const bool bare = random.chance(0.22f);
    for (float z = random.uniform(4, 14); z < 130; z += spacing * random.uniform(0.85f, 1.2f)) {
      if (world.in_crossing(z, 2) || random.chance(0.12f)) continue;
      const float stature = height * random.uniform(0.8f, 1.15f);
      add_tree(world, world.on_street(sign * (curb + random.uniform(0.0f, 0.3f)), 0, z), stature,
               bare);
    }
  }
  if (random.chance(0.85f)) {
    const float spacing = random.uniform(18, 34);
    for (float z = random.uniform(5, 22); z < 140; z += spacing) {
      if (world.in_crossing(z, 1)) continue;
      add_lamp(world, world.on_street(sign * (curb + 0.2f), 0, z), -sign);
    }
  }
  for (float z = random.uniform(5, 18); z < 90; z += random.uniform(14, 45)) {
    if (world.in_crossing(z, 1)) continue;
    const float place = sign * (curb + random.uniform(-0.15f, 0.3f));
    add_sign(world, world.on_street(place, 0, z));
  }
  if (random.chance(0.2f)) {
    const float z = random.uniform(14, 50);
    add_direction_board(world, world.on_street(sign * (curb + 0.8f), 0, z), -sign);
  }
  if (random.chance(0.3f)) {
    const float spacing = random.uniform(1.5f, 3.0f), from = random.uniform(3, 30);
    for (float z = from; z < from + 25; z += spacing) {
      if (!world.in_crossing(z, 0.5f))
        add_bollard(world,
                    world.on_street(sign * (side.road_edge + side.strip_width + 0.3f), 0, z));
    }
  }
  for (float z = random.uniform(4, 25); z < 80; z += random.uniform(12, 45)) {
    if (world.in_crossing(z, 1)) continue;
    const float place = sign * (side.walk_edge() - random.uniform(0.3f, 0.6f));
    if (random.chance(0.15f)) {
      add_advertising_column(world, world.on_street(place - sign * 0.6f, 0, z));
    } else {
      const int bins = random.integer(1, 3);
      for (int i = 0; i < bins; ++i)
        add_bin(world, world.on_street(place, 0, z + 0.7f * static_cast<float>(i)));
    }
  }
}

/// Vehicles in the parking bays.
void park(World& world, int which, const Character& kind) {
  Random& random = world.random;
  const Side& side = world.side[to_size(which)];
  const float sign = signed_side(which);
  if (side.strip != Strip::parking) return;
  const float fill = mix(0.2f, 0.95f, random.uniform() * kind.parked);
  const float offset = sign * (side.road_edge + side.strip_width * 0.5f);
  for (float z = random.uniform(3.5f, 9.0f); z < 120; z += random.uniform(5.4f, 6.6f)) {
    if (world.in_crossing(z, 5) || !random.chance(fill)) continue;
    const float place = offset + random.uniform(-0.12f, 0.12f);
    const Vec3 center = world.on_street(place, 0, z);
    const Vec3 ahead = world.heading(z) * (which == 0 ? -1.0f : 1.0f);
    const float choice = random.uniform();
    if (choice < 0.82f) {
      add_car(world, center, ahead);
    } else if (choice < 0.93f) {
      add_van(world, center, ahead);
    } else {
      add_truck(world, world.on_street(place, 0, z + 2.5f), ahead);
      z += 5;
    }
  }
}

/// Everything that moves along one lane; `direction` +1 is the way that the camera looks.
void drive(World& world, float offset, float direction, float from, const Character& kind) {
  Random& random = world.random;
  for (float z = from; z < 140;) {
    const float place = offset + random.uniform(-0.3f, 0.3f);
    const Vec3 center = world.on_street(place, 0, z);
    const Vec3 ahead = world.heading(z) * direction;
    const float choice = random.uniform();
    float room = 5;
    if (choice < 0.62f) {
      add_car(world, center, ahead);
    } else if (choice < 0.7f) {
      add_van(world, center, ahead);
    } else if (choice < 0.77f) {
      z += 4;
      add_bus(world, world.on_street(place, 0, z), ahead);
      room = 9;
    } else if (choice < 0.85f) {
      z += 3;
      add_truck(world, world.on_street(place, 0, z), ahead);
      room = 8;
    } else if (choice < 0.92f) {
      add_bicycle(world, center, ahead, true);
      room = 3;
    } else {
      add_motorcycle(world, center, ahead, true);
      room = 4;
    }
    z += room + random.uniform(4, 45) / std::max(kind.traffic, 0.3f);
  }
}

void bring_people(World& world, int which, const Character& kind) {
  Random& random = world.random;
  const Side& side = world.side[to_size(which)];
  const float sign = signed_side(which);
  const float inner = side.road_edge + side.strip_width + 0.7f, outer = side.walk_edge() - 0.4f;
  for (float z = random.uniform(5, 14); z < 90; z += random.uniform(2.0f, 18.0f) / kind.people) {
    const int together = random.chance(0.3f) ? random.integer(2, 3) : 1;
    const float facing = random.chance(0.5f) ? 1.0f : -1.0f;
    const bool walking = random.chance(0.75f);
    for (int i = 0; i < together; ++i) {
      const float place = sign * random.uniform(inner, std::max(outer, inner + 0.1f));
      const float turn = random.uniform(-0.35f, 0.35f);
      const Vec3 along = world.heading(z) * facing;
      const Vec3 ahead = normalized(along + Vec3{turn, 0, 0});
      add_person(world, world.on_street(place, 0, z + 0.4f * static_cast<float>(i)), ahead,
                 walking);
    }
  }
  for (float z = random.uniform(5, 20); z < 70; z += random.uniform(5, 30) / kind.cycles) {
    if (world.in_crossing(z, 1)) continue;
    const float choice = random.uniform();
    if (side.strip == Strip::cycleway && choice < 0.5f) {
      const Vec3 foot = world.on_street(sign * (side.road_edge + side.strip_width * 0.5f), 0, z);
      add_bicycle(world, foot, world.heading(z) * (which == 0 ? -1.0f : 1.0f), true);
    } else if (choice < 0.75f) {
      const int row = random.integer(1, 4);
      const float angle = random.uniform(-0.4f, 1.2f);
      for (int i = 0; i < row; ++i) {
        const Vec3 foot =
            world.on_street(sign * (outer - 0.2f), 0, z + 0.75f * static_cast<float>(i));
        add_bicycle(world, foot, {sine(angle), 0, cosine(angle)}, false);
      }
    } else {
      const float angle = random.uniform(0, 2 * kPi);
      add_motorcycle(world, world.on_street(sign * (inner + 0.2f), 0, z),
                     {sine(angle), 0, cosine(angle)}, false);
    }
  }
}

void set_crossings(World& world, const Character& kind) {
  Random& random = world.random;
  for (const Crossing& c : world.crossings) {
    if (c.from < 4) continue;
    const bool signals = random.chance(0.65f);
    for (int which = 0; which < 2; ++which) {
      const Side& side = world.side[to_size(which)];
      const float sign = signed_side(which);
      const float place = sign * (side.road_edge + 0.6f);
      const bool over = random.chance(0.35f);
      if (signals) {
        add_traffic_light(world, world.on_street(place, 0, c.from - 0.8f), -sign,
                          over && which == 1);
        if (random.chance(0.6f))
          add_traffic_light(world, world.on_street(place, 0, c.to + 0.8f), -sign, over);
      } else {
        add_sign(world, world.on_street(place, 0, c.from - 0.8f));
      }
    }
    if (random.chance(0.4f)) {
      const float offset = random.uniform(-14, 14), z = 0.5f * (c.from + c.to);
      const float direction = random.chance(0.5f) ? 1.0f : -1.0f;
      add_car(world, world.on_street(offset, 0, z), {direction, 0, 0});
    }
  }
  for (float zebra : world.zebras) {
    const int crossing = random.integer(0, static_cast<int>(2.5f * kind.people) + 1);
    for (int i = 0; i < crossing; ++i) {
      const float offset = random.uniform(-world.side[0].road_edge, world.side[1].road_edge);
      const float z = zebra + random.uniform(0.4f, 2.8f);
      const float direction = random.chance(0.5f) ? 1.0f : -1.0f;
      add_person(world, world.on_street(offset, 0, z), {direction, 0, 0}, true);
    }
  }
}

}  // namespace

void choose_light(World& world) {
  Random& random = world.random;
  Light& light = world.light;
  const float weather = random.uniform();
  const bool overcast = weather < 0.3f;
  light.dusk = weather > 0.9f;
  const float azimuth = random.uniform(0, 2 * kPi);
  const float elevation = light.dusk ? random.uniform(0.1f, 0.25f) : random.uniform(0.35f, 1.1f);
  light.to_sun = {sine(azimuth) * cosine(elevation), sine(elevation),
                  cosine(azimuth) * cosine(elevation)};
  const float warmth = smoothstep(0.7f, 0.15f, elevation);
  const Rgb blue = mix(Rgb{0.22f, 0.42f, 0.85f}, Rgb{0.4f, 0.55f, 0.85f}, random.uniform());
  const Rgb gray = mix(Rgb{0.62f, 0.66f, 0.72f}, Rgb{0.8f, 0.8f, 0.8f}, random.uniform());
  if (overcast) {
    light.clouds = random.uniform(0.8f, 1.0f);
    light.sky = gray * random.uniform(0.9f, 1.2f);
    light.zenith = gray * random.uniform(0.85f, 1.3f);
    light.horizon = gray * random.uniform(1.1f, 1.6f);
    light.sun = {};
    if (random.chance(0.4f)) light.sun = Rgb{0.25f, 0.24f, 0.22f};
  } else {
    light.clouds = random.uniform(0.05f, 0.75f);
    light.sun =
        mix(Rgb{2.6f, 2.4f, 2.1f}, Rgb{2.3f, 1.4f, 0.7f}, warmth) * random.uniform(0.6f, 1.1f);
    light.sky = mix(blue, gray, 0.3f + 0.4f * light.clouds) * random.uniform(0.5f, 0.75f);
    light.zenith = blue * random.uniform(0.7f, 1.1f);
    light.horizon = mix(Rgb{0.85f, 0.95f, 1.1f}, Rgb{1.2f, 0.85f, 0.55f}, warmth);
  }
  if (light.dusk) {
    const float dim = random.uniform(0.25f, 0.5f);
    light.sun = light.sun * (dim * 0.5f);
    light.sky = light.sky * dim;
    light.zenith = light.zenith * dim;
    light.horizon = light.horizon * (dim * 1.2f);
  }
  light.bounce = (light.sky + light.sun * 0.3f) * 0.28f;
  light.fog = mix(light.horizon, gray * luminance(light.horizon), 0.5f);
  light.fog_density =
      random.chance(0.16f) ? random.uniform(0.006f, 0.02f) : random.uniform(0.0003f, 0.0025f);
}

void choose_street(World& world) {
  Random& random = world.random;
  world.slope = random.uniform(-0.05f, 0.05f);
  const float bend = random.normal();
  world.curvature = random.chance(0.35f) ? 0.0f : 0.0022f * bend;
  const float lane = random.uniform(2.9f, 3.6f);
  const int lanes_ours = random.chance(0.3f) ? 2 : 1, lanes_theirs = random.chance(0.25f)   ? 2
                                                                     : random.chance(0.12f) ? 0
                                                                                            : 1;
  const int our_lane = lanes_ours == 2 ? random.integer(0, 1) : 0;
  const float shift = random.uniform(-0.35f, 0.35f);
  // Traffic keeps to the right; distances from the camera's line.
  world.middle_line = -(static_cast<float>(our_lane) + 0.5f) * lane + shift;
  world.side[1].road_edge = world.middle_line + static_cast<float>(lanes_ours) * lane + 0.3f;
  world.side[0].road_edge = -(world.middle_line - static_cast<float>(lanes_theirs) * lane) + 0.3f;
  const bool marked = random.chance(0.75f);
  if (marked) {
    for (int i = -lanes_theirs + 1; i < lanes_ours; ++i)
      world.lane_lines.push_back(world.middle_line + static_cast<float>(i) * lane);
  }
  for (Side& side : world.side) {
    const float strip = random.uniform();
    if (strip < 0.48f) {
      side.strip = Strip::parking;
      side.strip_width = random.uniform(2.1f, 2.5f);
    } else if (strip < 0.62f) {
      side.strip = Strip::terrain;
      side.strip_width = random.uniform(1.2f, 3.2f);
    } else if (strip < 0.74f) {
      side.strip = Strip::cycleway;
      side.strip_width = random.uniform(1.4f, 2.0f);
    }
    side.walk_width = random.uniform(1.6f, 4.2f);
    constexpr std::array kWalks = {Surface::slabs, Surface::slabs, Surface::asphalt,
                                   Surface::cobbles};
    side.walk = random.pick(kWalks);
    const bool green = random.chance(0.4f);
    side.verge = green ? Surface::grass : random.chance(0.5f) ? Surface::slabs : Surface::gravel;
    side.building_line =
        side.walk_edge() + (green ? random.uniform(0.6f, 5.0f) : random.uniform(0.1f, 0.8f));
  }
  if (random.chance(0.6f)) {
    const float from = random.uniform(10, 60), wide = random.uniform(6, 11);
    world.crossings.push_back({from, from + wide});
    if (random.chance(0.7f)) world.zebras.push_back(from - random.uniform(4.5f, 5.5f));
  }
  if (random.chance(0.3f)) {
    const float from = random.uniform(80, 120);
    world.crossings.push_back({from, from + 8});
  }
  if (random.chance(0.2f)) world.zebras.push_back(random.uniform(6, 40));

  Paint& paint = world.paint;
  const float gray = random.uniform(0.045f, 0.2f), warm = random.uniform(-0.06f, 0.1f);
  paint.asphalt = {gray * (1 + warm), gray, gray * (1 - warm)};
  const float pale =
      random.chance(0.35f) ? gray * random.uniform(0.9f, 1.3f) : random.uniform(0.14f, 0.36f);
  const float tint = random.uniform(-0.05f, 0.14f);
  paint.walk = {pale * (1 + tint), pale, pale * (1 - tint)};
  paint.cycleway = random.chance(0.6f) ? color(0x8A4438) : paint.asphalt * 1.15f;
  constexpr std::array kGrass = {color(0x4F6B2C), color(0x66702F), color(0x7C7442)};
  paint.grass = random.tint(kGrass, 0.8f, 1.3f);
  paint.marking = color(0xE6E4DC) * random.uniform(0.6f, 1.0f);
  paint.wear = random.uniform(0.1f, 0.95f);
  paint.patches = random.uniform(0.0f, 0.9f);
  paint.cobbled = random.chance(0.14f);
  paint.edge_lines = random.chance(0.4f);
  paint.dash = random.uniform(2.5f, 4.5f);
  paint.gap = random.uniform(3, 8);
  paint.phase = random.uniform(0, 12);
  paint.offset = {random.uniform(0, 100), random.uniform(0, 100)};
}

void populate(World& world) {
  Random& random = world.random;
  const Character& kind = random.pick(kCharacters);
  for (int which = 0; which < 2; ++which) line_with_houses(world, which, kind);
  add_backdrop(world);
  for (int which = 0; which < 2; ++which) {
    furnish(world, which, kind);
    park(world, which, kind);
    bring_people(world, which, kind);
  }
  set_crossings(world, kind);
  // Lanes: ours, those beside it, and those that come towards us.
  const float ours_from = random.uniform(8, 45);
  drive(world, 0, 1, ours_from, kind);
  const float lane = 3.2f;
  for (float offset = lane; offset < world.side[1].road_edge - 1.2f; offset += lane)
    drive(world, offset, 1, random.uniform(4, 25), kind);
  for (float offset = -lane; offset > world.middle_line + 1.0f; offset -= lane)
    drive(world, offset, 1, random.uniform(4, 25), kind);
  for (float offset = world.middle_line - lane * 0.5f; offset > -world.side[0].road_edge + 1.0f;
       offset -= lane) {
    drive(world, offset, -1, random.uniform(7, 40), kind);
  }
}

}  // namespace macadam::synth
