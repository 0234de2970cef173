// Augmentation programs on the CPU, tile by tile: whatever an image goes through, the bytes in
// between stay in the nearest cache.

#include "kernels/cpu/augment_program.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/to_size.h"
#include "kernels/augment_scratch.h"
#include "kernels/cpu/normalize_row.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/pixel_row.h"
#include "kernels/cpu/reverse_pixels.h"
#include "kernels/cpu/warp_row.h"
#include "kernels/scalar/warp.h"

namespace macadam::cpu {

namespace {

/// Rows of a task, and the columns that it works on at a time.
constexpr int kStripRows = 64, kTileColumns = 256;
constexpr int kMaxRadius = AugmentHeader::kMaxBlur / 2;
static_assert(kTileColumns + 2 * kMaxRadius <= kRunPixels);

struct Tile {
  int y0, y1, x0, x1;
};

/// One stage of one sample's program, and the memory that it reads.
struct SampleStage {
  const AugmentHeader& header;
  const std::byte* program;
  int index;
  ByteImage image;   // that the stage reads
  ByteImage labels;  // read by the first stage alone
  uint8_t* labels_out;
  const uint8_t* equalize_tables;

  const AugmentStage& stage() const { return header.stage[to_size(index)]; }
  bool last() const { return index + 1 == header.stages; }

  /// The table through which the last pixels go before they are normalised; null where the program
  /// ends otherwise.
  const uint8_t* final_table() const {
    const AugmentStage& s = stage();
    if (!last() || s.last == (s.blur == 0 ? s.first : s.blur_at)) return nullptr;
    const PixelOp& op = header.op[s.last - 1u];
    if (op.kind != PixelOp::Kind::table) return nullptr;
    return reinterpret_cast<const uint8_t*>(program + op.data);
  }
};

/// Turns out the rows of one tile of a stage.
class TileRows {
 public:
  TileRows(const SampleStage& sample, const Tile& tile)
      : sample_(sample),
        stage_(sample.stage()),
        context_{sample.program, sample.image.height, sample.image.width, sample.equalize_tables},
        tile_(tile),
        last_op_(stage_.last - (sample.final_table() != nullptr ? 1 : 0)) {}

  /// Calls emit(y, pixels) for every row of the tile, all its operations but the final table done.
  template <typename Emit>
  void run(const Emit& emit) const {
    if (stage_.blur == 0) {
      alignas(64) std::array<uint8_t, kRunBytes> buffer;
      for (int y = tile_.y0; y < tile_.y1; ++y) {
        emit(y, read(y, tile_.x0, tile_.x1, true, stage_.first, last_op_, buffer.data()));
      }
    } else {
      run_blurred(emit);
    }
  }

 private:
  template <typename Emit>
  void run_blurred(const Emit& emit) const {
    const int size = stage_.blur, radius = size / 2;
    const int width = sample_.image.width, height = sample_.image.height;
    // The columns of the boxes, and those of them that exist.
    const int begin = tile_.x0 - radius, end = tile_.x1 + radius;
    const int x0 = std::max(begin, 0), x1 = std::min(end, width);
    constexpr size_t kSlots = AugmentHeader::kMaxBlur + 1;
    alignas(64) std::array<std::array<uint8_t, kRunBytes>, kSlots> buffers;
    std::array<const uint8_t*, kSlots> rows;
    alignas(64) std::array<uint16_t, 3 * kRunPixels> sums{};
    alignas(64) std::array<uint8_t, kRunBytes> means;
    uint16_t* existing = sums.data() + 3 * (x0 - begin);
    const size_t slots = to_size(size) + 1;
    const int count = tile_.y1 - tile_.y0 + 2 * radius;
    for (int i = 0; i < count; ++i) {
      const int row = tile_.y0 - radius + i;
      const size_t slot = to_size(i) % slots;
      rows[slot] =
          read(scalar::reflect_index(row, height), x0, x1, row >= tile_.y0 && row < tile_.y1,
               stage_.first, stage_.blur_at, buffers[slot].data());
      const uint8_t* removed = i < size ? nullptr : rows[(slot + 1) % slots];
      slide_sums(existing, rows[slot], removed, 3 * (x1 - x0));
      if (i + 1 < size) continue;
      for (int x = begin; x < 0; ++x) mirror_sums(sums.data(), x, begin);
      for (int x = width; x < end; ++x) mirror_sums(sums.data(), x, begin);
      box_means(sums.data(), size, tile_.x1 - tile_.x0, means.data());
      const int y = row - radius;
      apply_all(stage_.blur_at, last_op_, {y, tile_.x0, tile_.x1 - tile_.x0, means.data()});
      emit(y, means.data());
    }
  }

  /// Sums of a column beyond the image; `begin` is the first column that has any.
  void mirror_sums(uint16_t* sums, int x, int begin) const {
    const int from = scalar::reflect_index(x, sample_.image.width);
    std::copy_n(sums + 3 * (from - begin), 3, sums + 3 * (x - begin));
  }

  void apply_all(int first, int last, const PixelRun& run) const {
    for (int i = first; i < last; ++i) {
      apply(sample_.header.op[to_size(i)], context_, run);
    }
  }

  /// Pixels [x0, x1) of row y with operations [first, last) done: in `buffer`, or where they lie in
  /// the image that the stage reads. With `labelled`, the labels of the tile's columns too.
  const uint8_t* read(int y, int x0, int x1, bool labeled, int first, int last,
                      uint8_t* buffer) const {
    const int count = x1 - x0;
    const uint8_t* pixels = fetch(y, x0, count, labeled, buffer);
    if (first == last) return pixels;
    if (pixels != buffer) std::memcpy(buffer, pixels, 3 * to_size(count));
    apply_all(first, last, {y, x0, count, buffer});
    return buffer;
  }

  const uint8_t* fetch(int y, int x, int count, bool labeled, uint8_t* buffer) const {
    const ByteImage& image = sample_.image;
    if (sample_.index > 0) return image.data + 3 * (int64_t{y} * image.width + x);
    const AugmentHeader& header = sample_.header;
    const int columns = tile_.x1 - tile_.x0;
    const int64_t first_label = int64_t{y} * image.width + tile_.x0;
    uint8_t* labels = sample_.labels_out + first_label;
    const uint8_t* pixels = buffer;
    if (header.maps > 0) {
      Sources sources;
      find_sources(header, sample_.program, image.height, image.width, y, x, count, sources);
      sample_colors(image, sources, count, header.fill, buffer);
      if (labeled) {
        sample_labels(sample_.labels, sources, tile_.x0 - x, columns, header.fill, labels);
      }
    } else if (header.mirror != 0) {
      const auto row = int64_t{y} * image.width;
      reverse_pixels(image.data + 3 * (row + image.width - 1 - x), count, buffer);
      if (labeled) {
        const uint8_t* end = sample_.labels.data + row + image.width - tile_.x0;
        std::reverse_copy(end - columns, end, labels);
      }
    } else {
      pixels = image.data + 3 * (int64_t{y} * image.width + x);
      if (labeled) {
        std::memcpy(labels, sample_.labels.data + first_label, to_size(columns));
      }
    }
    if (labeled) {
      const AugmentStage& last = header.stage[header.stages - 1u];
      for (size_t i = 0; i < last.last; ++i) {
        apply_hole(header.op[i], y, tile_.x0, columns, labels);
      }
    }
    return pixels;
  }

  const SampleStage& sample_;
  const AugmentStage& stage_;
  PixelContext context_;
  Tile tile_;
  int last_op_;
};

/// Writes runs of pixels as the network's input.
template <typename T>
class Normalizer {
 public:
  /// `table`: 3 x 256 bytes through which pixels go first; may be null.
  Normalizer(const Normalization& normalization, const RepeatedAffine& affine, const uint8_t* table,
             const Tensor& x)
      : affine_(affine),
        x_(x),
        bgr_(normalization.bgr),
        looks_up_(table != nullptr || bgr_ || !x.dense()) {
    if (!looks_up_) return;
    for (int c = 0; c < 3; ++c) {
      const auto to = to_size(input_channel(c, bgr_));
      const scalar::Affine map{affine.scale[to], affine.shift[to]};
      for (int i = 0; i < 256; ++i) {
        const int byte = table != nullptr ? table[256 * c + i] : i;
        outputs_[to_size(c)][to_size(i)] = scalar::from_float<T>(map(static_cast<float>(byte)));
      }
    }
  }

  void operator()(int64_t pixel, int count, const uint8_t* rgb) const {
    T* x = at<T>(x_, pixel);
    if (looks_up_) {
      const int first = input_channel(0, bgr_), third = 2 - first;
      for (int i = 0; i < count; ++i, rgb += 3, x += x_.pixel_stride) {
        x[first] = outputs_[0][rgb[0]];
        x[1] = outputs_[1][rgb[1]];
        x[third] = outputs_[2][rgb[2]];
      }
      return;
    }
    int i = 0;
    for (; i + kNormalizedPixels <= count; i += kNormalizedPixels) {
      normalize_bytes(rgb + 3 * i, affine_, x + 3 * i, kNormalizedBytes);
    }
    normalize_bytes(rgb + 3 * i, affine_, x + 3 * i, 3 * (count - i));
  }

 private:
  const RepeatedAffine& affine_;
  const Tensor& x_;
  bool bgr_, looks_up_;
  std::array<std::array<T, 256>, 3> outputs_;  // by the byte image's channel
};

/// Calls body(tile) for the tiles of a strip.
template <typename Body>
void for_tiles(const Shape& s, int strip, const Body& body) {
  const int y0 = strip * kStripRows, y1 = std::min(s.h, y0 + kStripRows);
  for (int x0 = 0; x0 < s.w; x0 += kTileColumns) {
    body(Tile{y0, y1, x0, std::min(s.w, x0 + kTileColumns)});
  }
}

/// A call of augment().
class ProgramRun {
 public:
  ProgramRun(const Tensor& images, const Tensor& labels, const AugmentPrograms& programs,
             const Normalization& normalization, std::byte* scratch, const Tensor& x,
             const Tensor& out)
      : images_(images.as<uint8_t>()),
        labels_(labels.as<uint8_t>()),
        out_(out.as<uint8_t>()),
        shape_(images.shape),
        x_(x),
        programs_(programs),
        normalization_(normalization),
        affine_(normalization),
        pixels_(int64_t{shape_.h} * shape_.w),
        layout_(images.shape, programs.limits),
        scratch_(reinterpret_cast<uint8_t*>(scratch)) {}

  int stages() const {
    int most = 0;
    for (int n = 0; n < shape_.n; ++n) most = std::max(most, int{header(n).stages});
    return most;
  }

  void run_stage(int index) const {
    if (index > 0) make_equalize_tables(index);
    visit_cpu(x_.dtype, [&](auto type) { run_strips<decltype(type)>(index); });
  }

 private:
  const std::byte* program(int n) const {
    return programs_.data + to_size(n) * programs_.limits.bytes;
  }
  const AugmentHeader& header(int n) const {
    return *reinterpret_cast<const AugmentHeader*>(program(n));
  }
  /// What a stage leaves to the next one.
  uint8_t* stage_image(int n, int index) const { return scratch_ + layout_.image(index, n); }
  uint8_t* equalize_tables(int n) const { return scratch_ + layout_.tables(n); }

  void make_equalize_tables(int index) const {
    const int tiles = programs_.limits.equalize_tiles, tasks = shape_.n * tiles;
#pragma omp parallel for schedule(dynamic) if (shape_.elements() > kTaskElements)
    for (int task = 0; task < tasks; ++task) {
      const int n = task / tiles, tile = task % tiles;
      if (index >= header(n).stages) continue;
      const AugmentStage& stage = header(n).stage[to_size(index)];
      const PixelOp& op = header(n).op[stage.first];
      if (stage.first == stage.last || op.kind != PixelOp::Kind::equalize) continue;
      const int count = static_cast<int>(op.value[1] * op.value[2]);
      if (tile >= count) continue;
      equalize_table(op, stage_image(n, index - 1), shape_.h, shape_.w, tile,
                     equalize_tables(n) + 256 * to_size(tile));
    }
  }

  SampleStage sample(int n, int index) const {
    const uint8_t* image = index == 0 ? images_ + 3 * n * pixels_ : stage_image(n, index - 1);
    return {.header = header(n),
            .program = program(n),
            .index = index,
            .image = {image, shape_.h, shape_.w},
            .labels = {labels_ + n * pixels_, shape_.h, shape_.w},
            .labels_out = out_ + n * pixels_,
            .equalize_tables = equalize_tables(n)};
  }

  template <typename T>
  void run_strips(int index) const {
    const int strips = static_cast<int>(ceil_div(shape_.h, kStripRows));
    const int tasks = shape_.n * strips;
    // Samples differ in what they cost.
#pragma omp parallel for schedule(dynamic) if (shape_.elements() > kTaskElements)
    for (int task = 0; task < tasks; ++task) {
      const int n = task / strips;
      if (index < header(n).stages) run_strip<T>(n, index, task % strips);
    }
  }

  template <typename T>
  void run_strip(int n, int index, int strip) const {
    const SampleStage stage = sample(n, index);
    if (stage.last()) {
      const Normalizer<T> normalize(normalization_, affine_, stage.final_table(), x_);
      for_tiles(shape_, strip, [&](const Tile& tile) {
        TileRows(stage, tile).run([&](int y, const uint8_t* rgb) {
          normalize(n * pixels_ + int64_t{y} * shape_.w + tile.x0, tile.x1 - tile.x0, rgb);
        });
      });
    } else {
      uint8_t* to = stage_image(n, index);
      for_tiles(shape_, strip, [&](const Tile& tile) {
        TileRows(stage, tile).run([&](int y, const uint8_t* rgb) {
          std::memcpy(to + 3 * (int64_t{y} * shape_.w + tile.x0), rgb,
                      3 * to_size(tile.x1 - tile.x0));
        });
      });
    }
  }

  const uint8_t* images_;
  const uint8_t* labels_;
  uint8_t* out_;
  Shape shape_;
  const Tensor& x_;
  const AugmentPrograms& programs_;
  const Normalization& normalization_;
  RepeatedAffine affine_;
  int64_t pixels_;
  AugmentScratch layout_;
  uint8_t* scratch_;
};

}  // namespace

void augment(const Tensor& images, const Tensor& labels, const AugmentPrograms& programs,
             const Normalization& normalization, std::byte* scratch, const Tensor& x,
             const Tensor& out) {
  const Shape& s = images.shape;
  require(s == x.shape && s.c == 3, "augment: images and x are NxHxWx3");
  require(labels.shape == Shape{s.n, s.h, s.w, 1} && out.shape == labels.shape,
          "augment: labels and out are NxHxWx1");
  require(images.dense() && labels.dense() && out.dense(), "augment: bytes are dense");
  require(int64_t{3} * s.h * s.w < (int64_t{1} << 31),
          "augment: an image has fewer than 2^31 bytes");
  require(programs.data != nullptr, "augment: a program for every sample");
  const ProgramRun run(images, labels, programs, normalization, scratch, x, out);
  const int stages = run.stages();
  require(stages <= programs.limits.stages, "augment: programs keep to their limits");
  for (int index = 0; index < stages; ++index) run.run_stage(index);
}

}  // namespace macadam::cpu
