#include "synth/synth.h"

#include "base/error.h"
#include "base/to_size.h"
#include "synth/parts.h"

namespace macadam {

using namespace synth;

SynthScene render_street(int height, int width, uint64_t seed, uint64_t index) {
  require(height >= 16 && height <= 4096, "16 <= height <= 4096");
  require(width >= 16 && width <= 4096, "16 <= width <= 4096");
  Random random(seed, index);
  World world(random);
  const float samples_x = static_cast<float>(width * kSamplesPerAxis);
  const float samples_y = static_cast<float>(height * kSamplesPerAxis);
  world.camera.focal = samples_x * random.uniform(0.78f, 1.1f);
  world.camera.center = {samples_x * random.uniform(0.44f, 0.56f),
                         samples_y * random.uniform(0.38f, 0.52f)};
  world.camera.height =
      random.chance(0.1f) ? random.uniform(1.8f, 2.6f) : random.uniform(1.15f, 1.7f);
  world.camera.roll = 0.012f * random.normal();
  choose_light(world);
  choose_street(world);
  populate(world);

  Canvas canvas(height * kSamplesPerAxis, width * kSamplesPerAxis, world.camera);
  for (const auto& cast : world.shadows) cast(canvas);
  const auto nearer = [](const Item& a, const Item& b) { return a.z < b.z; };
  std::stable_sort(world.solid.begin(), world.solid.end(), nearer);
  for (const Item& item : world.solid) item.draw(canvas);
  draw_ground(world, canvas);
  draw_sky(world, canvas);
  std::stable_sort(world.lattice.begin(), world.lattice.end(), nearer);
  for (auto item = world.lattice.rbegin(); item != world.lattice.rend(); ++item) item->draw(canvas);
  if (random.chance(0.45f)) add_bonnet(world, canvas);

  SynthScene scene;
  scene.height = height;
  scene.width = width;
  scene.labels.resize(to_size(height) * to_size(width));
  scene.rgb.resize(scene.labels.size() * 3);
  develop(world, random, canvas, height, width, scene.rgb.data(), scene.labels.data());
  return scene;
}

}  // namespace macadam
