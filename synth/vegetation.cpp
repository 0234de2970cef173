#include "synth/parts.h"

namespace macadam::synth {

namespace {

constexpr std::array kLeaves = {color(0x4C6B2A), color(0x3B5A2C), color(0x6B7A35), color(0x55702F),
                                color(0x7C7A3A), color(0x8A6A2E), color(0x405038)};
constexpr std::array kBark = {color(0x5A4A3C), color(0x6E655A), color(0x4A4038), color(0x8A8378)};

/// A clump of leaves with a ragged edge. `light` in the middle of the crown is less.
void add_clump(World& world, Vec3 middle, float radius, Rgb leaf, float inner, float salt) {
  // One lattice cell of noise should be a few samples, whatever the distance.
  const float density = world.camera.focal / std::max(middle.z, 1.0f);
  const float fine = std::min(13.0f, density * 0.3f), coarse = fine * 0.3f;
  world.solid.push_back(
      {std::max(middle.z - radius, 0.0f), [=, &world](Canvas& canvas) {
         const Rgb sun = world.light.sun * world.sunlit(middle);
         canvas.blob(middle, radius, id::kVegetation, [&](const RoundHit& hit, Rgb& result) {
           const float u = hit.x + salt, v = hit.y + salt * 0.7f;
           const float bumps = noise(world.noise, u * coarse, v * coarse);
           const float leaves = noise(world.noise, u * fine, v * fine);
           const float edge = hit.across + 0.55f * (bumps - 0.4f) + 0.35f * (leaves - 0.4f);
           if (edge > 0.8f) return false;
           const float facing = dot(hit.normal, world.light.to_sun);
           const Vec3 normal = {hit.normal.x, hit.normal.y, hit.normal.z};
           const float depth =
               0.25f + 0.75f * smoothstep(0.15f, 0.75f, 0.5f * leaves + 0.5f * bumps);
           const float through = 0.18f + 0.82f * clamp01(0.5f + 0.7f * facing);
           result = leaf * (world.light.ambient(normal) * inner + sun * (0.75f * through)) * depth *
                    (0.75f + 0.5f * leaves);
           return true;
         });
       }});
}

void add_limb(World& world, Vec3 a, float ra, Vec3 b, float rb, Rgb bark) {
  world.solid.push_back(
      {a.z, [=, &world](Canvas& canvas) {
         const Rgb sun = world.light.sun * world.sunlit(mix(a, b, 0.5f));
         canvas.capsule(a, ra, b, rb, id::kVegetation, [&](const RoundHit& hit, Rgb& result) {
           const float rough =
               filtered_noise(world.noise, hit.across * 4 + a.x, hit.y * 5, hit.pixel * 5);
           result = bark * (0.6f + 0.8f * rough) *
                    (world.light.ambient(hit.normal) +
                     sun * std::max(dot(hit.normal, world.light.to_sun), 0.0f));
           return true;
         });
       }});
  world.cast_capsule(a, b, 0.5f * (ra + rb));
}

void add_branches(World& world, Vec3 from, Vec3 direction, float reach, float radius, Rgb bark,
                  int depth) {
  Random& random = world.random;
  const Vec3 to = from + direction * reach;
  add_limb(world, from, radius, to, radius * 0.6f, bark);
  if (depth == 0) return;
  const int forks = random.integer(2, 3);
  for (int i = 0; i < forks; ++i) {
    const Vec3 spread = {random.uniform(-0.9f, 0.9f), random.uniform(0.0f, 0.6f),
                         random.uniform(-0.9f, 0.9f)};
    const Vec3 start = mix(from, to, random.uniform(0.6f, 1.0f));
    add_branches(world, start, normalized(direction + spread), reach * random.uniform(0.6f, 0.8f),
                 radius * 0.55f, bark, depth - 1);
  }
}

}  // namespace

void add_tree(World& world, Vec3 foot, float height, bool bare) {
  Random& random = world.random;
  const Rgb bark = random.tint(kBark, 0.6f, 1.1f);
  const float trunk = height * random.uniform(0.25f, 0.4f);
  const float radius = 0.018f * height + random.uniform(0.02f, 0.08f);
  const Vec3 lean = {random.uniform(-0.04f, 0.04f), 1, random.uniform(-0.04f, 0.04f)};
  const Vec3 fork = foot + lean * trunk;
  if (bare) {
    add_limb(world, foot, radius, fork, radius * 0.8f, bark);
    const int detail = foot.z < 25 ? 4 : foot.z < 60 ? 3 : 2;
    for (int i = 0; i < 3; ++i) {
      const Vec3 direction = normalized(
          {random.uniform(-0.7f, 0.7f), random.uniform(0.8f, 1.4f), random.uniform(-0.7f, 0.7f)});
      add_branches(world, fork, direction, height * random.uniform(0.2f, 0.28f), radius * 0.6f,
                   bark, detail);
    }
    return;
  }
  add_limb(world, foot, radius, foot + lean * (height * 0.65f), radius * 0.55f, bark);
  const float crown = height - trunk;
  const bool conifer = random.chance(0.12f), column = random.chance(0.15f);
  const float spread = crown * (conifer ? 0.25f : column ? 0.22f : random.uniform(0.36f, 0.5f));
  const Rgb leaf = random.tint(kLeaves, 0.9f, 1.5f);
  const int clumps = foot.z < 30 ? 16 : foot.z < 80 ? 10 : 6;
  for (int i = 0; i < clumps; ++i) {
    const float level = (static_cast<float>(i) + random.uniform()) / static_cast<float>(clumps);
    const float girth = conifer ? 1.1f - level : sine(kPi * mix(0.12f, 0.88f, level));
    const float angle = random.uniform(0, 2 * kPi),
                out = spread * girth * random.uniform(0.25f, 0.75f);
    const Vec3 middle = foot + Vec3{cosine(angle) * out, trunk + crown * mix(0.08f, 0.86f, level),
                                    sine(angle) * out};
    const float size =
        spread * mix(0.4f, 0.62f, random.uniform()) * (conifer ? mix(1.0f, 0.5f, level) : 1.0f);
    if (middle.z < 1.2f) continue;
    const Rgb shade = leaf * random.uniform(0.8f, 1.2f);
    add_clump(world, middle, size, shade, mix(0.6f, 1.0f, level), random.uniform(0, 90));
    world.cast_blob(middle, size, 0.45f);
  }
}

void add_bush(World& world, Vec3 foot, float radius) {
  Random& random = world.random;
  const Rgb leaf = random.tint(kLeaves, 0.8f, 1.4f);
  const int clumps = foot.z < 30 ? 7 : 4;
  for (int i = 0; i < clumps; ++i) {
    const Vec3 middle = foot + Vec3{random.uniform(-0.8f, 0.8f), random.uniform(0.3f, 0.9f),
                                    random.uniform(-0.5f, 0.5f)} *
                                   radius;
    const float size = radius * random.uniform(0.55f, 0.8f);
    const Rgb shade = leaf * random.uniform(0.8f, 1.2f);
    add_clump(world, middle, size, shade, 0.8f, random.uniform(0, 90));
    world.cast_blob(middle, radius * 0.6f, 0.2f);
  }
}

}  // namespace macadam::synth
