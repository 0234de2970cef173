#pragma once
// What all parts of a street share: the light, the cross-section of the road and its course, and
// the list of things to draw.

#include <array>
#include <functional>
#include <vector>

#include "synth/canvas.h"
#include "synth/noise.h"
#include "synth/random.h"

namespace macadam::synth {

/// Cityscapes ids that streets use.
namespace id {
inline constexpr uint8_t kUnlabeled = 0, kEgoVehicle = 1, kStaticThing = 4, kRoad = 7,
                         kSidewalk = 8, kParking = 9, kBuilding = 11, kWall = 12, kFence = 13,
                         kPole = 17, kTrafficLight = 19, kTrafficSign = 20, kVegetation = 21,
                         kTerrain = 22, kSky = 23, kPerson = 24, kRider = 25, kCar = 26,
                         kTruck = 27, kBus = 28, kMotorcycle = 32, kBicycle = 33;
}

struct Light {
  Vec3 to_sun;           ///< unit vector
  Rgb sun, sky, bounce;  ///< light from the sun, from above and from below
  Rgb zenith, horizon;   ///< colours of the sky
  Rgb fog;
  float fog_density = 0;  ///< a metre
  float clouds = 0.5f;    ///< part of the sky that is covered
  bool dusk = false;      ///< windows and lamps are lit

  /// Light of the sky that falls on a surface.
  Rgb ambient(Vec3 normal) const { return mix(bounce, sky, 0.5f + 0.5f * normal.y); }
  Rgb direct(Vec3 normal) const { return sun * std::max(dot(normal, to_sun), 0.0f); }

  /// Light that leaves a matt surface, `visible` being how much of the sun reaches it.
  Rgb lit(Rgb albedo, Vec3 normal, float visible) const {
    return albedo * (ambient(normal) + direct(normal) * visible);
  }
};

enum class Surface { asphalt, slabs, cobbles, grass, gravel };
enum class Strip { none, parking, terrain, cycleway };

/// One side of the street; distances from the camera's line, always positive.
struct Side {
  float road_edge = 4;
  Strip strip = Strip::none;
  float strip_width = 0;
  float walk_width = 2.5f;
  float building_line = 8;
  Surface walk = Surface::slabs;
  Surface verge = Surface::slabs;  ///< between the pavement and the buildings
  float walk_edge() const { return road_edge + strip_width + walk_width; }
};

struct Crossing {
  float from, to;  ///< z of the crossing road
};

/// How the ground looks.
struct Paint {
  Rgb asphalt, walk, cycleway, grass, marking;
  float wear = 0.3f;     ///< of the markings
  float patches = 0.3f;  ///< share of repaired asphalt
  bool cobbled = false;  ///< the whole road
  bool edge_lines = false;
  float dash = 3, gap = 6;
  float phase = 0;
  Vec2 offset;  ///< into the noise
};

/// One thing to draw; nearer things are drawn first, so that hidden ones cost little.
struct Item {
  float z;
  std::function<void(Canvas&)> draw;
};

struct World {
  explicit World(Random& source) : random(source), noise(noise_table()) {}

  Random& random;
  const NoiseTable& noise;
  Camera camera;
  Light light;
  Paint paint;
  std::array<Side, 2> side;        ///< left, right
  float slope = 0, curvature = 0;  ///< of the road's course
  std::vector<float> lane_lines;   ///< offsets of the dashed lines
  float middle_line = 0;           ///< offset between the directions
  std::vector<Crossing> crossings;
  std::vector<float> zebras;  ///< z where a zebra crossing begins
  std::vector<Item> solid;    ///< opaque
  std::vector<Item> lattice;  ///< fences and wheels: drawn last, over what is behind them
  std::vector<std::function<void(Canvas&)>> shadows;

  /// Height of what casts shadows along each building line, every half metre from z = -50.
  std::array<std::vector<float>, 2> skyline;

  /// The street's course: x of the camera's line at depth z.
  float course(float z) const { return (slope + 0.5f * curvature * z) * z; }
  /// The point at `offset` metres to the right of the course.
  Vec3 on_street(float offset, float y, float z) const { return {course(z) + offset, y, z}; }
  /// Direction of the street at z.
  Vec3 heading(float z) const { return normalized({slope + curvature * z, 0, 1}); }
  Vec3 rightwards(float z) const {
    const Vec3 ahead = heading(z);
    return {ahead.z, 0, -ahead.x};
  }
  bool in_crossing(float z, float margin) const {
    for (const Crossing& c : crossings) {
      if (z > c.from - margin && z < c.to + margin) return true;
    }
    return false;
  }

  void raise_skyline(int which, float from, float to, float height);

  /// How much of the sun a point sees past the houses, 0 to 1.
  float sunlit(Vec3 point) const;
  /// The same for a surface, which may face away from it.
  float sunlit(Vec3 point, Vec3 normal) const {
    return light.sun.r <= 0 || dot(normal, light.to_sun) <= 0 ? 0.0f : sunlit(point);
  }

  /// Casts the shadow of a vertical cylinder-like thing of this half width on the ground.
  void cast_capsule(Vec3 a, Vec3 b, float radius);
  /// Casts the shadow of a clump; `gaps` of it lets light through.
  void cast_blob(Vec3 middle, float radius, float gaps);
  /// Casts the shadow of a box on the ground and darkens the ground under it.
  void cast_box(Vec3 center, Vec3 ahead, float half_width, float half_length, float height);

  /// Light of the sky as a mirror shows it in this direction.
  Rgb reflected(Vec3 direction) const;
};

}  // namespace macadam::synth
