#include "base/to_size.h"
#include "synth/parts.h"

namespace macadam::synth {

void draw_sky(const World& world, Canvas& canvas) {
  const Light& light = world.light;
  const Vec2 offset = world.paint.offset;
  const std::span<Rgb> colors = canvas.color();
  const std::span<uint8_t> labels = canvas.label();
  const std::span<const float> depth = canvas.inverse_depth();
  const size_t width = to_size(canvas.width());
  const float cover = mix(0.75f, 0.25f, light.clouds);
  // The sky has no edges: one value serves the four samples of a pixel.
  for (int y = 0; y + 1 < canvas.height(); y += kSamplesPerAxis) {
    for (int x = 0; x + 1 < canvas.width(); x += kSamplesPerAxis) {
      const size_t i = to_size(y) * width + to_size(x);
      const std::array<size_t, 4> block = {i, i + 1, i + width, i + width + 1};
      bool open = false;
      for (size_t s : block) open |= depth[s] <= 0;
      if (!open) continue;
      const Vec3 ray = normalized(canvas.ray(static_cast<float>(x) + 1, static_cast<float>(y) + 1));
      const float up = std::max(ray.y, 0.0f);
      Rgb sky = mix(light.horizon, light.zenith, smoothstep(-0.05f, 0.55f, up));
      const float spread = 1.6f / (up + 0.12f);
      const float u = ray.x * spread + offset.x, v = ray.z * spread * 0.8f + offset.y;
      const float clump = fractal_noise(world.noise, u, v, 4);
      const float density = smoothstep(cover - 0.1f, cover + 0.18f, clump);
      const float shade = smoothstep(0.25f, 0.75f, noise(world.noise, u * 2.1f + 5, v * 2.1f + 9));
      const Rgb cloud = mix(light.horizon, light.sky + light.sun * 0.35f, 0.35f + 0.5f * shade);
      sky = mix(sky, cloud, density * 0.85f);
      const float towards_sun = std::max(dot(ray, light.to_sun), 0.0f);
      const float p2 = towards_sun * towards_sun, p8 = p2 * p2 * p2 * p2;
      sky = sky + light.sun * (0.25f * p8 + 1.5f * p8 * p8 * p8 * p8);
      for (size_t s : block) {
        if (depth[s] > 0) continue;
        colors[s] = sky;
        labels[s] = id::kSky;
      }
    }
  }
}

}  // namespace macadam::synth
