#include "synth/canvas.h"

#include "base/to_size.h"

namespace macadam::synth {

Frame make_frame(Vec3 origin, Vec3 along, Vec3 up) {
  const Vec3 u = normalized(along);
  const Vec3 v = normalized(up - u * dot(up, u));
  return {origin, u, v};
}

Canvas::Canvas(int height, int width, const Camera& camera)
    : height_(height),
      width_(width),
      camera_(camera),
      sin_roll_(sine(camera.roll)),
      cos_roll_(cosine(camera.roll)) {
  const size_t samples = to_size(height) * to_size(width);
  color_.resize(samples);
  depth_.resize(samples);
  label_.resize(samples);
  shadow_.resize(samples);
  occlusion_.resize(samples);
  // The inverse of project(): x' = c x - s y, y' = s x + c y around the centre, y downwards.
  const float f = 1.0f / camera.focal;
  ray_x_ = {cos_roll_ * f, sin_roll_ * f, 0};
  ray_y_ = {sin_roll_ * f, -cos_roll_ * f, 0};
  ray_origin_ = Vec3{0, 0, 1} - ray_x_ * camera.center.x - ray_y_ * camera.center.y;
}

Vec2 Canvas::project(Vec3 point) const {
  const float scale = camera_.focal / point.z;
  const float x = point.x * scale, y = (point.y - camera_.height) * scale;
  return {camera_.center.x + cos_roll_ * x + sin_roll_ * y,
          camera_.center.y + sin_roll_ * x - cos_roll_ * y};
}

void Canvas::outline(const Frame& frame, std::span<const Vec2> corners,
                     std::vector<Vec2>& result) const {
  result.clear();
  Vec3 previous = at(frame, corners.back().x, corners.back().y);
  for (Vec2 corner : corners) {
    const Vec3 point = at(frame, corner.x, corner.y);
    if ((point.z >= kNearPlane) != (previous.z >= kNearPlane)) {
      const float t = (kNearPlane - previous.z) / (point.z - previous.z);
      Vec3 cut = mix(previous, point, t);
      cut.z = kNearPlane;
      result.push_back(project(cut));
    }
    if (point.z >= kNearPlane) result.push_back(project(point));
    previous = point;
  }
}

}  // namespace macadam::synth
