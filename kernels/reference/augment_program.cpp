#include "kernels/reference/augment_program.h"

#include <array>
#include <vector>

#include "base/to_size.h"
#include "kernels/reference/array.h"
#include "kernels/scalar/clahe.h"
#include "kernels/scalar/pixel_ops.h"
#include "kernels/scalar/warp.h"

namespace macadam::reference {
namespace {

/// One sample: bytes are exact, so what single pixels go through is that of kernels/scalar.
struct Sample {
  int height, width;
  std::vector<scalar::Rgb> image;
  std::vector<uint8_t> labels;

  size_t index(int y, int x) const { return to_size(y) * to_size(width) + to_size(x); }
  /// The pixel at (y, x), mirrored at the edges.
  const scalar::Rgb& mirrored(int y, int x) const {
    return image[index(scalar::reflect_index(y, height), scalar::reflect_index(x, width))];
  }
  /// Replaces every pixel by f(pixel, y, x).
  template <typename F>
  void change(const F& f) {
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x) image[index(y, x)] = f(image[index(y, x)], y, x);
  }
};

class Program {
 public:
  explicit Program(const std::byte* bytes)
      : header_(*reinterpret_cast<const AugmentHeader*>(bytes)), bytes_(bytes) {}

  void run(Sample& sample) const {
    resample(sample);
    for (size_t i = 0; i < header_.stages; ++i) {
      const AugmentStage& stage = header_.stage[i];
      for (size_t k = stage.first; k < stage.blur_at; ++k) apply(header_.op[k], sample);
      if (stage.blur > 0) blur(stage.blur, sample);
      for (size_t k = stage.blur_at; k < stage.last; ++k) apply(header_.op[k], sample);
    }
  }

 private:
  template <typename T>
  const T* data(uint32_t offset) const {
    return reinterpret_cast<const T*>(bytes_ + offset);
  }

  void resample(Sample& sample) const {
    const Sample before = sample;
    const int height = sample.height, width = sample.width;
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x) {
        const size_t to = sample.index(y, x);
        if (header_.maps == 0) {
          const size_t from = sample.index(y, header_.mirror != 0 ? width - 1 - x : x);
          sample.image[to] = before.image[from];
          sample.labels[to] = before.labels[from];
          continue;
        }
        const scalar::Source source = scalar::source_of(header_, bytes_, y, x, height, width);
        if (!source.inside) {
          sample.image[to] = {header_.fill[0], header_.fill[1], header_.fill[2]};
          sample.labels[to] = header_.fill[3];
          continue;
        }
        sample.image[to] = mix(before, source);
        sample.labels[to] = before.labels[sample.index(scalar::nearest_pixel(source.y),
                                                       scalar::nearest_pixel(source.x))];
      }
  }

  static scalar::Rgb mix(const Sample& from, const scalar::Source& source) {
    const int x = source.x / scalar::kSubpixels, fx = source.x % scalar::kSubpixels;
    const int y = source.y / scalar::kSubpixels, fy = source.y % scalar::kSubpixels;
    const scalar::Rgb a0 = from.mirrored(y, x), a1 = from.mirrored(y, x + 1);
    const scalar::Rgb b0 = from.mirrored(y + 1, x), b1 = from.mirrored(y + 1, x + 1);
    const auto mixed = [&](uint8_t scalar::Rgb::*c) {
      return static_cast<uint8_t>(scalar::mix_bytes(a0.*c, a1.*c, b0.*c, b1.*c, fx, fy));
    };
    return {mixed(&scalar::Rgb::r), mixed(&scalar::Rgb::g), mixed(&scalar::Rgb::b)};
  }

  static void blur(int size, Sample& sample) {
    const Sample before = sample;
    const int radius = size / 2, area = size * size;
    sample.change([&](scalar::Rgb, int y, int x) {
      int r = 0, g = 0, b = 0;
      for (int dy = -radius; dy <= radius; ++dy)
        for (int dx = -radius; dx <= radius; ++dx) {
          const scalar::Rgb pixel = before.mirrored(y + dy, x + dx);
          r += pixel.r;
          g += pixel.g;
          b += pixel.b;
        }
      const auto mean = [&](int sum) {
        return static_cast<uint8_t>((2 * sum + area) / (2 * area));
      };
      return scalar::Rgb{mean(r), mean(g), mean(b)};
    });
  }

  void apply(const PixelOp& op, Sample& sample) const {
    using Kind = PixelOp::Kind;
    const auto whole = [&](size_t i) { return static_cast<int>(op.value[i]); };
    switch (op.kind) {
      case Kind::table: {
        const auto* table = data<uint8_t>(op.data);
        return sample.change([&](scalar::Rgb p, int, int) {
          return scalar::Rgb{table[p.r], table[256 + p.g], table[512 + p.b]};
        });
      }
      case Kind::noise: return add_noise(op, sample);
      case Kind::hsv:
        return sample.change([&](scalar::Rgb p, int, int) {
          return scalar::shift_hsv(p, whole(0), whole(1), whole(2));
        });
      case Kind::saturation:
        return sample.change(
            [&](scalar::Rgb p, int, int) { return scalar::scale_saturation(p, op.value[0]); });
      case Kind::equalize: return equalize(op, sample);
      case Kind::shadow:
        return sample.change([&](scalar::Rgb p, int y, int x) {
          const bool dark = scalar::in_polygons(data<int32_t>(op.data), op.count, x, y);
          return dark ? scalar::halve_lightness(p) : p;
        });
      case Kind::hole: return fill_hole(op, sample);
    }
  }

  static void add_noise(const PixelOp& op, Sample& sample) {
    const auto noisy = [&](uint8_t value, float normal) {
      return scalar::add_noise(value, scalar::fused(op.value[1], normal, op.value[0]));
    };
    sample.change([&](scalar::Rgb p, int y, int x) {
      const auto pixel = static_cast<uint32_t>(sample.index(y, x));
      scalar::Normals n = scalar::draw_normals(pixel, op.key[0], op.key[1]);
      if (op.flag == 0) n = {n.r, n.r, n.r};
      return scalar::Rgb{noisy(p.r, n.r), noisy(p.g, n.g), noisy(p.b, n.b)};
    });
  }

  static void equalize(const PixelOp& op, Sample& sample) {
    const scalar::ClaheTiles tiles = scalar::clahe_tiles(
        sample.height, sample.width, static_cast<int>(op.value[1]), static_cast<int>(op.value[2]));
    std::vector<uint8_t> tables;
    for (int ty = 0; ty < tiles.tiles_y; ++ty)
      for (int tx = 0; tx < tiles.tiles_x; ++tx) {
        std::array<int, 256> histogram{};
        for (int y = 0; y < tiles.tile_height; ++y)
          for (int x = 0; x < tiles.tile_width; ++x) {
            const scalar::Rgb pixel =
                sample.mirrored(ty * tiles.tile_height + y, tx * tiles.tile_width + x);
            ++histogram[to_size(scalar::lightness(pixel))];
          }
        std::array<uint8_t, 256> table;
        scalar::clahe_table(histogram.data(), tiles.tile_height * tiles.tile_width, op.value[0],
                            table.data());
        tables.insert(tables.end(), table.begin(), table.end());
      }
    sample.change([&](scalar::Rgb p, int y, int x) {
      const int l = scalar::clahe_interpolate(tables.data(), tiles, y, x, scalar::lightness(p));
      return scalar::with_lightness(p, l);
    });
  }

  static void fill_hole(const PixelOp& op, Sample& sample) {
    const auto within = [&](int y, int x) {
      return y >= op.value[0] && x >= op.value[1] && y < op.value[2] && x < op.value[3];
    };
    sample.change([&](scalar::Rgb p, int y, int x) {
      if (!within(y, x)) return p;
      if (op.flag != 0) sample.labels[sample.index(y, x)] = op.fill[3];
      return scalar::Rgb{op.fill[0], op.fill[1], op.fill[2]};
    });
  }

  const AugmentHeader& header_;
  const std::byte* bytes_;
};

}  // namespace

void augment(const Tensor& images, const Tensor& labels, const AugmentPrograms& programs,
             const Normalization& normalization, const Tensor& x, const Tensor& out) {
  const Array pixels(images), classes(labels);
  Array values(x.shape), moved(out.shape);
  const Shape& s = images.shape;
  for (int n = 0; n < s.n; ++n) {
    Sample sample{s.h, s.w, {}, {}};
    for (int h = 0; h < s.h; ++h)
      for (int w = 0; w < s.w; ++w) {
        const auto byte = [&](int c) { return static_cast<uint8_t>(pixels(n, h, w, c)); };
        sample.image.push_back({byte(0), byte(1), byte(2)});
        sample.labels.push_back(static_cast<uint8_t>(classes(n, h, w, 0)));
      }
    Program(programs.data + to_size(n) * programs.limits.bytes).run(sample);
    for (int h = 0; h < s.h; ++h)
      for (int w = 0; w < s.w; ++w) {
        const scalar::Rgb p = sample.image[sample.index(h, w)];
        moved(n, h, w, 0) = sample.labels[sample.index(h, w)];
        for (int c = 0; c < 3; ++c) {
          const int from = normalization.bgr ? 2 - c : c;
          const double byte = from == 0 ? p.r : from == 1 ? p.g : p.b;
          const auto channel = to_size(c);
          values(n, h, w, c) =
              (byte * double{normalization.range} / 255 - double{normalization.mean[channel]}) /
              double{normalization.std[channel]};
        }
      }
  }
  values.write(x);
  moved.write(out);
}

}  // namespace macadam::reference
