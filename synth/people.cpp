#include "synth/parts.h"

namespace macadam::synth {

namespace {

constexpr std::array kSkin = {color(0xE0B194), color(0xC98F6B), color(0x9A6A48), color(0x6A4630),
                              color(0xF0CDB4)};
constexpr std::array kHair = {color(0x241C18), color(0x4A3424), color(0x8A6A40), color(0xB8B0A6),
                              color(0x6B3A22)};
/// Clothes share their colours with houses, road and foliage.
constexpr std::array kTops = {color(0x22252B), color(0x39404A), color(0x6E7278), color(0xB9B6AE),
                              color(0xE4E1DA), color(0x8C2F2C), color(0x2E4E7A), color(0x55694A),
                              color(0x7C6248), color(0xA88A5E), color(0x5A3B58), color(0xC0A03A),
                              color(0x89A0B4), color(0x9A5A40), color(0x3B5C40)};
constexpr std::array kTrousers = {color(0x23262E), color(0x35425C), color(0x4C5A74),
                                  color(0x5C5246), color(0x7F7360), color(0x1A1A1C),
                                  color(0x6A6C6E)};

/// Parts of one figure, drawn together.
struct Limb {
  Vec3 a, b;
  float ra, rb;
  Rgb albedo;
};

struct Axes {
  Vec3 foot, right, ahead;
  Vec3 operator()(float x, float y, float z) const {
    return foot + right * x + ahead * z + Vec3{0, y, 0};
  }
};

Axes make_axes(Vec3 foot, Vec3 ahead) { return {foot, {ahead.z, 0, -ahead.x}, ahead}; }

void add_limbs(World& world, Vec3 foot, uint8_t label, std::vector<Limb> limbs) {
  for (const Limb& limb : limbs) world.cast_capsule(limb.a, limb.b, 0.5f * (limb.ra + limb.rb));
  world.solid.push_back(
      {std::max(foot.z, 0.0f), [&world, foot, label, limbs = std::move(limbs)](Canvas& canvas) {
         const Rgb sun = world.light.sun * world.sunlit(foot + Vec3{0, 1, 0});
         for (const Limb& limb : limbs) {
           canvas.capsule(limb.a, limb.ra, limb.b, limb.rb, label,
                          [&](const RoundHit& hit, Rgb& result) {
                            const float folds = filtered_noise(world.noise, hit.x * 9 + foot.x * 5,
                                                               hit.y * 7 + foot.z, hit.pixel * 9);
                            result = limb.albedo * (0.7f + 0.6f * folds) *
                                     (world.light.ambient(hit.normal) +
                                      sun * std::max(dot(hit.normal, world.light.to_sun), 0.0f));
                            return true;
                          });
         }
       }});
}

struct Dress {
  Rgb skin, hair, top, trousers, shoes;
  bool long_hair, coat, skirt, bag, hat;
};

Dress choose_dress(Random& random) {
  Dress d;
  d.skin = random.pick(kSkin);
  d.hair = random.pick(kHair);
  d.top = random.tint(kTops, 0.6f, 1.1f);
  d.trousers = random.tint(kTrousers, 0.6f, 1.1f);
  d.shoes = color(0x1C1A18);
  d.long_hair = random.chance(0.35f);
  d.coat = random.chance(0.3f);
  d.skirt = random.chance(0.15f);
  d.bag = random.chance(0.35f);
  d.hat = random.chance(0.12f);
  return d;
}

void add_head(std::vector<Limb>& limbs, const Axes& p, const Dress& d, Vec3 neck, float h) {
  const Vec3 head = neck + Vec3{0, 0.075f * h, 0} + p.ahead * (0.012f * h);
  const Vec3 crown = head + Vec3{0, 0.028f * h, 0} + p.ahead * (-0.02f * h);
  limbs.push_back({neck - Vec3{0, 0.03f * h, 0}, head, 0.032f * h, 0.03f * h, d.skin});
  limbs.push_back({head - Vec3{0, 0.018f * h, 0}, head + Vec3{0, 0.02f * h, 0}, 0.046f * h,
                   0.052f * h, d.skin});
  limbs.push_back(
      {crown, crown + Vec3{0, 0.012f * h, 0}, 0.052f * h, 0.05f * h, d.hat ? d.top : d.hair});
  if (d.long_hair) {
    limbs.push_back({crown, crown - Vec3{0, 0.1f * h, 0} - p.ahead * (0.02f * h), 0.05f * h,
                     0.04f * h, d.hair});
  }
}

/// Two points of a leg: the knee bends forwards.
void add_leg(std::vector<Limb>& limbs, Vec3 hip, Vec3 foot, Vec3 ahead, float h, Rgb cloth,
             Rgb shoe, float bend) {
  const Vec3 knee = mix(hip, foot, 0.5f) + ahead * (bend * h);
  limbs.push_back({hip, knee, 0.055f * h, 0.042f * h, cloth});
  limbs.push_back({knee, foot, 0.042f * h, 0.028f * h, cloth});
  limbs.push_back({foot - Vec3{0, 0.015f * h, 0},
                   foot - Vec3{0, 0.018f * h, 0} + ahead * (0.08f * h), 0.026f * h, 0.02f * h,
                   shoe});
}

void add_seated(World& world, const Axes& p, Vec3 hip, Vec3 hands, Vec3 feet, float lean, float h,
                uint8_t label, bool helmet) {
  Dress d = choose_dress(world.random);
  const Vec3 chest = hip + Vec3{0, 0.27f * h, 0} + p.ahead * lean;
  std::vector<Limb> limbs;
  limbs.push_back({hip, chest, 0.085f * h, 0.1f * h, d.top});
  for (float s : {-1.0f, 1.0f}) {
    const Vec3 side = p.right * (s * 0.06f * h);
    const Vec3 lift = Vec3{0, s * 0.07f, 0};
    add_leg(limbs, hip + side, feet + side + lift, p.ahead, h, d.trousers, d.shoes, 0.13f);
    const Vec3 shoulder = chest + p.right * (s * 0.1f * h);
    const Vec3 hand = hands + p.right * (s * 0.13f * h);
    const Vec3 elbow =
        mix(shoulder, hand, 0.5f) - Vec3{0, 0.04f * h, 0} + p.right * (s * 0.03f * h);
    limbs.push_back({shoulder, elbow, 0.04f * h, 0.032f * h, d.top});
    limbs.push_back({elbow, hand, 0.032f * h, 0.024f * h, d.top});
  }
  const Vec3 neck = chest + Vec3{0, 0.08f * h, 0} + p.ahead * (lean * 0.15f);
  add_head(limbs, p, d, neck, h);
  if (helmet) {
    const Vec3 head = neck + Vec3{0, 0.1f * h, 0};
    limbs.push_back(
        {head - p.ahead * 0.04f, head + p.ahead * 0.04f, 0.07f * h, 0.066f * h, d.top * 0.8f});
  }
  if (d.bag) {
    limbs.push_back({hip + Vec3{0, 0.12f * h, 0} - p.ahead * (0.1f * h),
                     chest - p.ahead * (0.11f * h), 0.06f * h, 0.065f * h, d.trousers * 0.8f});
  }
  add_limbs(world, p.foot, label, std::move(limbs));
}

/// A spoked wheel as a lattice: its whole disc has the label, its colour is mostly what is behind.
void add_wheel(World& world, const Axes& p, float z, float radius, float tire, uint8_t label,
               bool spoked) {
  const Frame frame = make_frame(p(0, radius, z), p.ahead, {0, 1, 0});
  std::vector<Vec2> disc;
  for (int i = 0; i < 20; ++i) {
    const float angle = 2 * kPi * static_cast<float>(i) / 20;
    disc.push_back(Vec2{cosine(angle), sine(angle)} * (radius * 1.01f));
  }
  world.lattice.push_back(
      {std::max(frame.origin.z, 0.0f), [=, &world, disc = std::move(disc)](Canvas& canvas) {
         canvas.polygon(frame, disc, label, [&](const Hit& hit, Rgb& result) {
           const float r = std::sqrt(hit.u * hit.u + hit.v * hit.v);
           if (r > radius) return false;
           const float width = std::max(hit.du, hit.dv);
           float alpha = coverage(r, radius - tire, radius + 1, width);
           alpha = std::max(alpha, coverage(r, -1, tire, width));
           if (spoked) {
             alpha = std::max(alpha, 0.12f);
           } else {
             alpha = std::max(alpha, coverage(r, -1, radius * 0.6f, width) * 0.8f);
           }
           const Rgb lit = world.light.lit(color(0x1D1D1E), {0, 0.5f, -0.5f}, 0.5f);
           result = mix(result, lit, alpha);
           return true;
         });
       }});
  // Seen from the front a wheel is as wide as its tyre.
  world.solid.push_back({std::max(frame.origin.z, 0.0f), [=, &world](Canvas& canvas) {
                           const float across = std::abs(dot(p.right, normalized(frame.origin)));
                           if (across > 0.35f) return;
                           canvas.capsule(
                               p(0, tire, z), tire * 0.6f, p(0, 2 * radius - tire, z), tire * 0.6f,
                               label, [&](const RoundHit&, Rgb& result) {
                                 result = world.light.lit(color(0x1D1D1E), {0, 0.4f, -0.6f}, 0.5f);
                                 return true;
                               });
                         }});
}

}  // namespace

void add_person(World& world, Vec3 foot, Vec3 ahead, bool walking) {
  Random& random = world.random;
  const bool child = random.chance(0.12f);
  const float h = child ? random.uniform(1.05f, 1.4f) : random.uniform(1.55f, 1.92f);
  const float stout = random.uniform(0.9f, 1.25f);
  const Dress d = choose_dress(random);
  const Axes p = make_axes(foot, ahead);
  const float phase = random.uniform(0, 2 * kPi);
  const float stride = walking ? 0.17f * h * sine(phase) : 0.02f * h;
  std::vector<Limb> limbs;
  const Vec3 hip = p(0, 0.5f * h, 0);
  const Vec3 chest = p(0, 0.74f * h, walking ? 0.02f * h : 0);
  for (float s : {-1.0f, 1.0f}) {
    const Vec3 ankle = p(s * 0.05f * h, 0.035f * h, s * stride);
    add_leg(limbs, hip + p.right * (s * 0.05f * h), ankle, ahead, h, d.skirt ? d.skin : d.trousers,
            d.shoes, walking ? 0.03f : 0.005f);
    const Vec3 shoulder = chest + p.right * (s * 0.105f * h * stout) + Vec3{0, 0.05f * h, 0};
    const Vec3 hand = p(s * 0.14f * h * stout, 0.46f * h, -s * stride * 0.9f);
    const Vec3 elbow = mix(shoulder, hand, 0.5f) - ahead * (0.03f * h);
    limbs.push_back({shoulder, elbow, 0.04f * h, 0.034f * h, d.top * 0.92f});
    limbs.push_back({elbow, hand, 0.034f * h, 0.024f * h, d.top * 0.92f});
    limbs.push_back({hand, hand - Vec3{0, 0.02f * h, 0}, 0.024f * h, 0.022f * h, d.skin});
  }
  limbs.push_back({hip, chest, 0.08f * h * stout, 0.092f * h * stout, d.top});
  limbs.push_back(
      {chest, chest + Vec3{0, 0.045f * h, 0}, 0.092f * h * stout, 0.075f * h * stout, d.top});
  for (float s : {-1.0f, 1.0f}) {
    limbs.push_back({hip + p.right * (s * 0.03f * h), chest + p.right * (s * 0.05f * h),
                     0.07f * h * stout, 0.075f * h * stout, d.top});
  }
  if (d.coat || d.skirt) {
    limbs.push_back({p(0, (d.coat ? 0.32f : 0.36f) * h, 0), p(0, 0.6f * h, 0), 0.105f * h * stout,
                     0.085f * h * stout, d.coat ? d.top : d.trousers});
  }
  add_head(limbs, p, d, p(0, 0.845f * h, walking ? 0.03f * h : 0), h);
  if (d.bag) {
    const Rgb leather = random.tint(kTrousers, 0.5f, 1.0f);
    if (random.chance(0.5f)) {
      limbs.push_back(
          {p(0, 0.58f * h, -0.1f * h), p(0, 0.74f * h, -0.1f * h), 0.07f * h, 0.07f * h, leather});
    } else {
      limbs.push_back({p(0.17f * h, 0.36f * h, 0.03f * h), p(0.17f * h, 0.42f * h, -0.05f * h),
                       0.05f * h, 0.05f * h, leather});
    }
  }
  add_limbs(world, foot, id::kPerson, std::move(limbs));
}

void add_bicycle(World& world, Vec3 foot, Vec3 ahead, bool ridden) {
  Random& random = world.random;
  const Axes p = make_axes(foot, ahead);
  const Rgb paint = random.tint(kTops, 0.5f, 1.0f);
  const Rgb black = color(0x18181A);
  constexpr float r = 0.34f;
  add_wheel(world, p, -0.53f, r, 0.045f, id::kBicycle, true);
  add_wheel(world, p, 0.53f, r, 0.045f, id::kBicycle, true);
  const Vec3 rear = p(0, r, -0.53f), front = p(0, r, 0.53f), crank = p(0, 0.3f, -0.08f);
  const Vec3 saddle = p(0, 0.95f, -0.24f), head = p(0, 0.85f, 0.37f), bar = p(0, 1.02f, 0.33f);
  std::vector<Limb> limbs = {{rear, crank, 0.014f, 0.018f, paint},
                             {rear, saddle, 0.014f, 0.016f, paint},
                             {crank, saddle, 0.019f, 0.019f, paint},
                             {crank, head, 0.022f, 0.022f, paint},
                             {p(0, 0.8f, -0.2f), head, 0.02f, 0.02f, paint},
                             {head, front, 0.018f, 0.018f, paint},
                             {head, bar, 0.018f, 0.018f, black},
                             {p(-0.28f, 1.04f, 0.3f), p(0.28f, 1.04f, 0.3f), 0.018f, 0.018f, black},
                             {p(0, 0.97f, -0.36f), p(0, 0.98f, -0.12f), 0.06f, 0.03f, black}};
  if (random.chance(0.3f)) {  // a basket
    limbs.push_back({p(0, 0.9f, 0.5f), p(0, 1.0f, 0.5f), 0.13f, 0.15f, color(0x6A5A44)});
  }
  add_limbs(world, foot, id::kBicycle, std::move(limbs));
  if (!ridden) return;
  const float lean = random.uniform(0.08f, 0.3f), height = random.uniform(1.6f, 1.85f);
  const bool helmet = random.chance(0.4f);
  add_seated(world, p, p(0, 1.02f, -0.24f), p(0, 1.06f, 0.28f), p(0, 0.3f, -0.05f), lean, height,
             id::kRider, helmet);
}

void add_motorcycle(World& world, Vec3 foot, Vec3 ahead, bool ridden) {
  Random& random = world.random;
  const Axes p = make_axes(foot, ahead);
  const Rgb paint = random.tint(kTops, 0.5f, 1.0f);
  const Rgb black = color(0x161618), steel = color(0x6A6C6E);
  constexpr float r = 0.31f;
  const bool scooter = random.chance(0.5f);
  add_wheel(world, p, -0.68f, r, 0.1f, id::kMotorcycle, false);
  add_wheel(world, p, 0.68f, r, 0.1f, id::kMotorcycle, false);
  std::vector<Limb> limbs = {
      {p(0, 0.45f, -0.5f), p(0, 0.5f, 0.2f), 0.18f, 0.19f, scooter ? paint : black},
      {p(0, 0.74f, -0.6f), p(0, 0.72f, 0.0f), 0.12f, 0.14f, black},
      {p(0, 0.78f, 0.05f), p(0, 0.8f, 0.3f), 0.16f, 0.15f, paint},
      {p(0, 0.85f, 0.4f), p(0, r, 0.68f), 0.05f, 0.045f, steel},
      {p(0, 0.92f, 0.5f), p(0, 0.98f, 0.46f), 0.12f, 0.11f, paint},
      {p(-0.36f, 1.02f, 0.36f), p(0.36f, 1.02f, 0.36f), 0.025f, 0.025f, black},
      {p(0.14f, 0.3f, -0.6f), p(0.14f, 0.28f, 0.1f), 0.055f, 0.045f, steel},
      {p(0, 0.75f, -0.78f), p(0, 0.7f, -0.78f), 0.06f, 0.05f, Rgb{0.35f, 0.02f, 0.02f}}};
  if (scooter) limbs.push_back({p(0, 0.4f, 0.38f), p(0, 0.95f, 0.42f), 0.17f, 0.13f, paint});
  if (random.chance(0.3f)) {
    limbs.push_back({p(0, 0.98f, -0.72f), p(0, 1.02f, -0.72f), 0.19f, 0.18f, black});
  }
  add_limbs(world, foot, id::kMotorcycle, std::move(limbs));
  if (!ridden) return;
  const float lean = random.uniform(0.05f, 0.22f), height = random.uniform(1.65f, 1.85f);
  add_seated(world, p, p(0, 0.88f, -0.25f), p(0, 1.04f, 0.34f), p(0, 0.3f, 0.05f), lean, height,
             id::kRider, true);
}

}  // namespace macadam::synth
