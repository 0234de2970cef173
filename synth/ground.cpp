#include "synth/parts.h"

namespace macadam::synth {

namespace {

constexpr float kFar = 400;

/// Shades one sample of the ground; keeps what does not change from sample to sample.
class GroundShader {
 public:
  explicit GroundShader(const World& world) : world_(world), paint_(world.paint) {
    sun_ = world.light.direct({0, 1, 0});
    sky_ = world.light.ambient({0, 1, 0});
  }

  uint8_t operator()(const Hit& hit, float shadow, float occlusion, Rgb& result) const {
    const float x = hit.u, z = hit.v;
    const float offset = x - world_.course(z);
    const Side& side = world_.side[offset < 0 ? 0 : 1];
    const float out = std::abs(offset);
    // Coordinates that bend with the street, so that slabs and seams follow it.
    const Hit local{offset + 300, z, hit.du, hit.dv, hit.z};
    uint8_t label = id::kRoad;
    Rgb albedo;
    const float beyond = out - side.road_edge;
    float into_crossing = -1;
    for (const Crossing& c : world_.crossings) {
      into_crossing = std::max(into_crossing, std::min(z - c.from, c.to - z));
    }
    const bool corner = into_crossing < 0 ? false : beyond + 0.01f > 0;
    if (beyond <= 0 || corner || rounded_corner(beyond, into_crossing)) {
      albedo = road(local, offset, out, side);
    } else if (beyond < 0.14f) {
      label = side.strip == Strip::parking ? id::kParking : id::kSidewalk;
      albedo = paint_.walk * 1.15f;
    } else if (beyond < side.strip_width) {
      albedo = strip(local, side, beyond, label);
    } else if (beyond < side.strip_width + side.walk_width) {
      label = id::kSidewalk;
      albedo = surface(side.walk, local, paint_.walk);
    } else {
      label = side.verge == Surface::grass ? id::kTerrain : id::kSidewalk;
      albedo = surface(side.verge, local,
                       side.verge == Surface::grass ? paint_.grass : paint_.walk * 0.9f);
      // Less sky is seen at the foot of the houses.
      occlusion = std::max(occlusion, 0.5f * smoothstep(1.2f, 0.0f, side.building_line - out));
    }
    const float sun = shadow >= 1 ? 0.0f : world_.sunlit({x, 0, z}, {0, 1, 0}) * (1.0f - shadow);
    result = albedo * (sky_ * (1.0f - 0.85f * occlusion) + sun_ * sun);
    return label;
  }

 private:
  /// Kerbs turn into the crossing road with a radius.
  static bool rounded_corner(float beyond, float into_crossing) {
    constexpr float kRadius = 3.0f;
    if (into_crossing < -kRadius || beyond > kRadius) return false;
    const float a = kRadius - beyond, b = kRadius + into_crossing;
    return b > 0 && a > 0 && a * a + b * b > kRadius * kRadius && into_crossing < 0;
  }

  float wobble(const Hit& hit, float scale) const {
    return filtered_noise(world_.noise, hit.u * scale + paint_.offset.x,
                          hit.v * scale + paint_.offset.y, std::max(hit.du, hit.dv) * scale);
  }

  Rgb surface(Surface kind, const Hit& hit, Rgb base) const {
    const float coarse = wobble(hit, 0.45f);
    switch (kind) {
      case Surface::asphalt: {
        const float grain = wobble(hit, 11.0f);
        return base * (0.78f + 0.24f * coarse + 0.2f * grain);
      }
      case Surface::slabs: {
        const float row = std::floor(hit.v / 0.6f);
        const float shift = 0.3f * (row - 2 * std::floor(row * 0.5f));
        const float u = fraction((hit.u + shift) / 0.6f), v = fraction(hit.v / 0.6f);
        const float fade = clamp01(1.4f - std::max(hit.du, hit.dv) / 0.4f);
        const float seam = std::max(coverage(u, -0.5f, 0.04f, hit.du / 0.6f),
                                    coverage(v, -0.5f, 0.04f, hit.dv / 0.6f));
        const float tone =
            hash01(static_cast<int>(std::floor((hit.u + shift) / 0.6f)), static_cast<int>(row));
        return base * (0.86f + 0.2f * coarse + fade * (0.16f * (tone - 0.5f) - 0.3f * seam));
      }
      case Surface::cobbles: {
        const float row = std::floor(hit.v / 0.16f);
        const float u = hit.u / 0.2f + 0.5f * (row - 2 * std::floor(row * 0.5f));
        const float fade = clamp01(1.5f - std::max(hit.du, hit.dv) / 0.14f);
        const float a = fraction(u) - 0.5f, b = fraction(hit.v / 0.16f) - 0.5f;
        const float tone = hash01(static_cast<int>(std::floor(u)), static_cast<int>(row));
        const float dome = 1.0f - 4.0f * std::max(a * a, b * b);
        return base * (0.72f + 0.25f * coarse + fade * (0.3f * (tone - 0.5f) + 0.3f * dome - 0.2f));
      }
      case Surface::grass: {
        const float tufts = wobble(hit, 4.0f), blades = wobble(hit, 19.0f);
        const Rgb dry = {base.r * 1.6f + 0.03f, base.g * 1.15f, base.b * 0.9f};
        return mix(base, dry, smoothstep(0.45f, 0.85f, coarse)) *
               (0.45f + 0.5f * tufts + 0.6f * blades);
      }
      case Surface::gravel: {
        const float stones = wobble(hit, 14.0f);
        return base * (0.6f + 0.3f * coarse + 0.5f * stones);
      }
    }
    return base;
  }

  Rgb strip(const Hit& hit, const Side& side, float beyond, uint8_t& label) const {
    switch (side.strip) {
      case Strip::parking: {
        label = id::kParking;
        const Rgb base = surface(paint_.patches > 0.4f ? Surface::cobbles : Surface::asphalt, hit,
                                 paint_.asphalt * 1.2f);
        const float bay = fraction(hit.v / 5.5f);
        const float line = coverage(bay, 0, 0.02f, hit.dv / 5.5f);
        return mix(base, paint_.marking, 0.7f * line);
      }
      case Strip::terrain: label = id::kTerrain; return surface(Surface::grass, hit, paint_.grass);
      default: {
        label = id::kSidewalk;
        const float line = coverage(beyond, side.strip_width - 0.12f, side.strip_width, hit.du);
        return mix(surface(Surface::asphalt, hit, paint_.cycleway), paint_.marking, 0.8f * line);
      }
    }
  }

  /// Alpha of paint on the road at this place; old paint has holes.
  float painted(const Hit& hit, float amount) const {
    if (amount <= 0) return 0;
    const float worn = wobble(hit, 6.0f) * 0.7f + wobble(hit, 0.8f) * 0.5f;
    return amount * mix(1.0f, smoothstep(0.35f, 0.65f, worn), paint_.wear);
  }

  Rgb road(const Hit& hit, float offset, float out, const Side& side) const {
    Rgb base = surface(paint_.cobbled ? Surface::cobbles : Surface::asphalt, hit, paint_.asphalt);
    const bool junction = world_.in_crossing(hit.v, 0);
    if (!paint_.cobbled) {
      // Tyres polish two tracks in every lane; utilities leave rectangles.
      const float track = std::abs(std::abs(fraction(offset / 3.3f + 0.5f) - 0.5f) - 0.24f);
      base = base * (1.0f + 0.16f * (smoothstep(0.0f, 0.14f, track) - 0.5f));
      const float cell_u = std::floor(hit.u / 2.3f), cell_v = std::floor(hit.v / 7.1f);
      const int salt = static_cast<int>(paint_.offset.x);
      const int iu = static_cast<int>(cell_u) + salt, iv = static_cast<int>(cell_v);
      if (hash01(iu, iv) < paint_.patches * 0.5f) {
        const float a = 0.1f + 0.3f * hash01(iu, iv + 991), b = 0.1f + 0.4f * hash01(iu + 77, iv);
        const float inside = coverage(fraction(hit.u / 2.3f), a, 0.95f, hit.du / 2.3f) *
                             coverage(fraction(hit.v / 7.1f), b, 0.9f, hit.dv / 7.1f);
        base = base * mix(1.0f, 0.62f + 0.6f * hash01(iu + 5, iv + 5), inside);
      }
      const float crack = std::abs(wobble(hit, 0.9f) - 0.5f) * 18.0f;
      base = base * (1.0f - 0.25f * paint_.patches * clamp01(1.0f - crack) *
                                clamp01(1.0f - hit.dv * 2.5f));
    }
    // Dirt and leaves gather in the gutter.
    base = base * (1.0f - 0.25f * smoothstep(0.6f, 0.0f, side.road_edge - out));
    float line = 0;
    if (!junction) {
      const float cycle = paint_.dash + paint_.gap;
      const float along = fraction((hit.v + paint_.phase) / cycle) * cycle;
      const float dashed = coverage(along, 0, paint_.dash, hit.dv);
      for (float at : world_.lane_lines) {
        line = std::max(line, dashed * coverage(offset, at - 0.07f, at + 0.07f, hit.du));
      }
      if (paint_.edge_lines) {
        line = std::max(line, coverage(out, side.road_edge - 0.45f, side.road_edge - 0.3f, hit.du));
      }
    }
    for (float zebra : world_.zebras) {
      const float across = coverage(hit.v, zebra, zebra + 3.2f, hit.dv);
      if (across <= 0 || out > side.road_edge - 0.3f) continue;
      line = std::max(line, across * coverage(fraction(hit.u), 0.0f, 0.5f, hit.du));
    }
    return mix(base, paint_.marking, 0.92f * painted(hit, line));
  }

  const World& world_;
  const Paint& paint_;
  Rgb sun_, sky_;
};

}  // namespace

void draw_ground(const World& world, Canvas& canvas) { canvas.ground(kFar, GroundShader(world)); }

}  // namespace macadam::synth
