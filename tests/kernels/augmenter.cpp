#include "tests/kernels/augmenter.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "base/to_size.h"
#include "kernels/reference/reference_ops.h"
#include "tests/kernels/npy.h"

namespace macadam::testing {

namespace {

int whole(std::mt19937& random, int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(random);
}

float real(std::mt19937& random, float low, float high) {
  return std::uniform_real_distribution<float>(low, high)(random);
}

std::vector<uint8_t> bytes_of(const NpyArray& array) {
  return {array.values.begin(), array.values.end()};
}

/// Where the ends of a grid's segments lead: not always forwards, nor into the image.
std::vector<float> random_ends(int segments, int extent, std::mt19937& random) {
  std::vector<float> ends(to_size(segments) + 1);
  float end = 0;
  for (float& v : ends) {
    v = end;
    end += real(random, -0.2f, 2.0f) * static_cast<float>(extent) / static_cast<float>(segments);
  }
  return ends;
}

void add_random_map(AugmentBuilder& b, std::mt19937& random) {
  const Border border = whole(random, 0, 3) == 0 ? Border::constant : Border::reflect;
  const auto height = static_cast<float>(b.height()), width = static_cast<float>(b.width());
  switch (whole(random, 0, 4)) {
    case 0: return b.mirror();
    case 1: {
      std::array<float, 6> m;
      for (float& v : m) v = real(random, -1.5f, 1.5f);
      m[2] = real(random, -width, 2 * width);
      m[5] = real(random, -height, 2 * height);
      return b.affine(m, border);
    }
    case 2: {
      const int step_x = whole(random, 1, b.width()), step_y = whole(random, 1, b.height());
      const int segments_x = (b.width() - 1) / step_x + 1;
      const int segments_y = (b.height() - 1) / step_y + 1;
      return b.grid(step_x, random_ends(segments_x, b.width(), random), step_y,
                    random_ends(segments_y, b.height(), random), border);
    }
    case 3:
      return b.radial(real(random, -0.5f, 0.5f), real(random, 0, width), real(random, 0, height),
                      border);
    default: {
      const int spacing = whole(random, 1, 9);
      const int nodes_x = std::max(2, (b.width() + spacing - 2) / spacing + 1);
      const int nodes_y = std::max(2, (b.height() + spacing - 2) / spacing + 1);
      std::vector<float> nodes(2 * to_size(nodes_x) * to_size(nodes_y));
      for (float& v : nodes) v = real(random, -4, 4);
      return b.field(spacing, nodes_x, nodes_y, nodes, border);
    }
  }
}

void add_random_op(AugmentBuilder& b, std::mt19937& random) {
  const auto byte = [&] { return static_cast<uint8_t>(whole(random, 0, 255)); };
  const auto corner = [&] {
    return AugmentBuilder::Corner{whole(random, -3, b.width() + 3),
                                  whole(random, -3, b.height() + 3)};
  };
  switch (whole(random, 0, 7)) {
    case 0: {
      AugmentBuilder::Table table;
      for (auto& channel : table)
        for (uint8_t& v : channel) v = byte();
      return b.table(table);
    }
    case 1:
      return b.noise(real(random, -5, 5), real(random, 0, 20), whole(random, 0, 1) == 0,
                     {static_cast<uint32_t>(random()), static_cast<uint32_t>(random())});
    case 2: return b.hsv(whole(random, -180, 180), whole(random, -40, 40), whole(random, -40, 40));
    case 3: return b.saturation(real(random, 0, 2));
    case 4: return b.equalize(real(random, 0, 4), whole(random, 1, 4), whole(random, 1, 4));
    case 5: {
      std::vector<std::vector<AugmentBuilder::Corner>> polygons(to_size(whole(random, 1, 3)));
      for (auto& polygon : polygons) {
        polygon.resize(to_size(whole(random, 1, 6)));
        std::generate(polygon.begin(), polygon.end(), corner);
      }
      return b.shadow(polygons);
    }
    case 6: {
      const AugmentBuilder::Corner first = corner();
      return b.hole(first.y, first.x, first.y + whole(random, 0, b.height()),
                    first.x + whole(random, 0, b.width()), {byte(), byte(), byte()},
                    whole(random, 0, 1) == 0 ? -1 : byte());
    }
    default: return b.blur(2 * whole(random, 0, 15) + 1);
  }
}

}  // namespace

Picture photo() {
  NpyFile file = augment_golden("photo");
  const NpyArray rgb = file.next(), labels = file.next();
  return {rgb.shape.at(0), rgb.shape.at(1), bytes_of(rgb), bytes_of(labels)};
}

Picture random_picture(int height, int width, std::mt19937& random) {
  Picture picture{height, width, {}, {}};
  const auto pixels = to_size(height) * to_size(width);
  picture.rgb.resize(3 * pixels);
  for (uint8_t& v : picture.rgb) v = static_cast<uint8_t>(random());
  for (size_t i = 0; i < pixels; ++i) {
    const size_t y = i / to_size(width), x = i % to_size(width);
    picture.labels.push_back(static_cast<uint8_t>((3 * (y / 5) + x / 4) % 19));
  }
  return picture;
}

WrittenProgram::WrittenProgram(const AugmentBuilder& builder) : bytes_(builder.bytes()) {
  builder.write(bytes_);
  std::memcpy(&header_, bytes_.data(), sizeof header_);
}

AugmentLimits WrittenProgram::limits() const {
  AugmentLimits limits{.bytes = bytes_.size(), .stages = header_.stages};
  for (size_t i = 0; i < header_.stages; ++i) {
    const AugmentStage& stage = header_.stage[i];
    limits.blur = std::max(limits.blur, int{stage.blur});
    for (size_t k = stage.first; k < stage.last; ++k) {
      const PixelOp& op = header_.op[k];
      if (op.kind != PixelOp::Kind::equalize) continue;
      limits.equalize_tiles =
          std::max(limits.equalize_tiles, static_cast<int>(op.value[1] * op.value[2]));
    }
  }
  return limits;
}

AugmentBuilder random_program(int height, int width, std::mt19937& random) {
  AugmentBuilder builder(height, width);
  builder.fill({10, 20, 30}, 255);
  for (int i = whole(random, -2, 4); i > 0; --i) add_random_map(builder, random);
  for (int i = whole(random, 0, 6); i > 0; --i) add_random_op(builder, random);
  return builder;
}

Prepared augment(Backend& backend, std::span<const Picture> pictures,
                 std::span<const AugmentBuilder> programs, const Wanted& wanted) {
  const Shape images{static_cast<int>(pictures.size()), pictures[0].height, pictures[0].width, 3};
  const Shape classes{images.n, images.h, images.w, 1};
  AugmentLimits limits;
  std::vector<WrittenProgram> written;
  for (const AugmentBuilder& program : programs) {
    const AugmentLimits& own = written.emplace_back(program).limits();
    limits = {.bytes = std::max(limits.bytes, own.bytes),
              .stages = std::max(limits.stages, own.stages),
              .blur = std::max(limits.blur, own.blur),
              .equalize_tiles = std::max(limits.equalize_tiles, own.equalize_tiles)};
  }
  std::vector<uint8_t> rgb, labels;
  std::vector<std::byte> programs_bytes(limits.bytes * pictures.size());
  for (size_t i = 0; i < pictures.size(); ++i) {
    rgb.insert(rgb.end(), pictures[i].rgb.begin(), pictures[i].rgb.end());
    labels.insert(labels.end(), pictures[i].labels.begin(), pictures[i].labels.end());
    std::ranges::copy(written[i].bytes(),
                      programs_bytes.begin() + static_cast<std::ptrdiff_t>(i * limits.bytes));
  }

  Stream& stream = backend.stream;
  const Device device = stream.device();
  const auto copied = [&](const void* from, size_t bytes) {
    Buffer buffer(device, bytes);
    copy_bytes(stream, buffer.data(), from, bytes);
    return buffer;
  };
  const Buffer image_bytes = copied(rgb.data(), rgb.size());
  const Buffer label_bytes = copied(labels.data(), labels.size());
  const Buffer program_bytes = copied(programs_bytes.data(), programs_bytes.size());
  const Buffer scratch(device, augment_scratch_bytes(images, limits));
  const Buffer out_bytes(device, labels.size());
  const size_t element = size_of(wanted.dtype), stride = to_size(wanted.pixel_stride);
  std::vector<std::byte> host(to_size(images.pixels()) * stride * element, std::byte{0x55});
  const Buffer x_bytes = copied(host.data(), host.size());
  const size_t first = wanted.spare ? 0 : stride - 3;
  Tensor x(x_bytes.data() + first * element, images, wanted.dtype, device);
  x.pixel_stride = wanted.pixel_stride;
  if (wanted.spare) x.spare = wanted.pixel_stride - 3;
  backend.ops.augment->augment(Tensor(image_bytes.data(), images, DType::u8, device),
                               Tensor(label_bytes.data(), classes, DType::u8, device),
                               {program_bytes.data(), limits}, wanted.normalization, scratch.data(),
                               x, Tensor(out_bytes.data(), classes, DType::u8, device));
  Prepared result;
  result.labels.resize(labels.size());
  copy_bytes(stream, result.labels.data(), out_bytes.data(), labels.size());
  copy_bytes(stream, host.data(), x_bytes.data(), host.size());
  stream.synchronize();
  for (size_t i = 0; i < host.size() / element; ++i) {
    const std::byte* from = host.data() + i * element;
    if (i % stride - first >= 3) {  // before it as well: the difference wraps around
      const auto all = [&](std::byte value) {
        return std::all_of(from, from + element, [&](std::byte b) { return b == value; });
      };
      require(all(std::byte{0x55}) || (wanted.spare && all(std::byte{0})),
              "augment writes its own channels, and zeros into spare ones");
      continue;
    }
    visit_float(wanted.dtype, [&](auto type) {
      std::memcpy(&type, from, sizeof type);
      result.x.push_back(scalar::to_float(type));
    });
  }
  return result;
}

Picture augment(Backend& backend, const Picture& picture, const AugmentBuilder& program) {
  const Prepared prepared = augment(backend, {&picture, 1}, {&program, 1});
  return {picture.height, picture.width, {prepared.x.begin(), prepared.x.end()}, prepared.labels};
}

Backend* find_augmenting_backend(const std::string& name) {
  if (name != "Reference") return find_backend(name);
  static Backend reference(make_reference_ops());
  return &reference;
}

void AugmentingTest::SetUp() {
  backend_ = find_augmenting_backend(GetParam());
  if (!backend_) GTEST_SKIP() << "no CUDA device";
}

}  // namespace macadam::testing
