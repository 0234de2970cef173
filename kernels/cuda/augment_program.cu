// Carries out the programs of a batch: a launch for each of their stages, a block for each tile of
// a sample. Floor: 4 bytes read and 1 byte and 3 elements written a pixel, for the one stage that
// most programs have.

#include <type_traits>

#include "kernels/augment_scratch.h"
#include "kernels/cuda/augment_program.h"
#include "kernels/cuda/box_mean.cuh"
#include "kernels/cuda/byte_normalization.cuh"
#include "kernels/cuda/divisor.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/pixel_batch.cuh"
#include "kernels/cuda/warp_pixels.cuh"

namespace macadam::cuda {

namespace {

static_assert(std::is_trivially_copyable_v<AugmentHeader>);

/// What the launches of one call share.
struct Batch {
  const uint8_t* images;
  const uint8_t* labels;
  uint8_t* out;
  const std::byte* programs;
  size_t program_bytes;
  std::byte* scratch;
  AugmentScratch layout;  // of scratch
  int height, width;
  bool words;     // rows of images may be read by words
  bool out_runs;  // labels may be written by runs

  __device__ const std::byte* program(int sample) const {
    return programs + static_cast<size_t>(sample) * program_bytes;
  }
  __device__ uint8_t* stage_image(int stage, int sample) const {
    return reinterpret_cast<uint8_t*>(scratch + layout.image(stage, sample));
  }
  __device__ uint8_t* clahe_tables(int sample) const {
    return reinterpret_cast<uint8_t*>(scratch + layout.tables(sample));
  }
  __device__ SampleImage input(int stage, int sample) const {
    if (stage > 0) return {stage_image(stage - 1, sample), height, width, words};
    return {images + int64_t{3} * sample * height * width, height, width, words};
  }
};

/// A block's part of the work.
struct Tile {
  int sample, y, x;
};

struct TileLayout {
  int rows = 0;
  Divisor across;  // tiles in a row

  __device__ Tile tile() const {
    const uint32_t row = across.quotient(blockIdx.x);
    return {static_cast<int>(blockIdx.y), static_cast<int>(row) * rows,
            static_cast<int>(blockIdx.x - row * across.value()) * TileGeometry::kColumns};
  }
};

struct alignas(16) BlockData {
  static constexpr unsigned kHeaderWords = sizeof(AugmentHeader) / sizeof(uint64_t);
  // One for a thread, no loop.
  static_assert(kHeaderWords <= kThreads && sizeof(AugmentHeader) % sizeof(uint64_t) == 0);

  uint64_t header[kHeaderWords];
  uint32_t tables[StageData::kTables * StageData::kTableBytes / sizeof(uint32_t)];
};

__device__ __forceinline__ const AugmentHeader& header_of(const BlockData& data) {
  return *reinterpret_cast<const AugmentHeader*>(data.header);
}

/// Brings the header and the stage's first tables into shared memory. Ends with a barrier.
__device__ __forceinline__ void load_block_data(const std::byte* program, int stage_index,
                                                BlockData& data) {
  if (threadIdx.x < BlockData::kHeaderWords) {
    data.header[threadIdx.x] = reinterpret_cast<const uint64_t*>(program)[threadIdx.x];
  }
  __syncthreads();
  const AugmentHeader& header = header_of(data);
  const AugmentStage stage = header.stage[stage_index];
  const auto* words = reinterpret_cast<const uint32_t*>(program);
  constexpr unsigned kTableWords = StageData::kTableBytes / sizeof(uint32_t);
  static_assert(kTableWords <= kThreads);
  int table = 0;
  for (int i = stage.first; i < stage.last && table < StageData::kTables; ++i) {
    if (header.op[i].kind != PixelOp::Kind::table) continue;
    if (threadIdx.x < kTableWords) {
      data.tables[static_cast<unsigned>(table) * kTableWords + threadIdx.x] =
          words[header.op[i].data / sizeof(uint32_t) + threadIdx.x];
    }
    ++table;
  }
  __syncthreads();
}

__device__ __forceinline__ int count_tables(const AugmentHeader& header, int first, int last) {
  int count = 0;
#pragma unroll 1
  for (int i = first; i < last; ++i) count += header.op[i].kind == PixelOp::Kind::table ? 1 : 0;
  return count;
}

/// Fills a tile and its halo with pixels that have gone through the operations before the blur.
/// Beyond the image are the mirror images of its pixels.
__device__ __forceinline__ void fill_tile(const Batch& batch, const StageData& data,
                                          int stage_index, const Tile& tile,
                                          const TileGeometry& geometry, uint32_t* words) {
  const AugmentHeader& header = *data.header;
  const AugmentStage stage = header.stage[stage_index];
  const SampleImage image = batch.input(stage_index, tile.sample);
  const uint8_t* labels =
      stage_index == 0 ? batch.labels + int64_t{tile.sample} * batch.height * batch.width : nullptr;
  const bool warped = stage_index == 0 && header.maps > 0;
  const bool mirror = stage_index == 0 && header.mirror != 0;
  const int columns = geometry.columns_with_halo(), rows = geometry.rows_with_halo();
  // A thread's pixels lie below each other.
  const int strips = (rows + kBatch - 1) / kBatch, count = columns * strips;
  // Exact for quotients of what is below 2^12 by less than 2^7.
  const uint32_t inverse = (1u << 20) / static_cast<uint32_t>(columns) + 1;
  const int top = tile.y - geometry.radius, left = tile.x - geometry.radius;
  const bool interior = top >= 0 && left >= 0 && top + strips * kBatch <= batch.height &&
                        left + columns <= batch.width;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) {
    const auto strip = static_cast<int>(static_cast<uint32_t>(i) * inverse >> 20);
    const int column = i - strip * columns, first_row = strip * kBatch;
    uint32_t* place =
        words + first_row * geometry.pitch() + column + geometry.left() - geometry.radius;
    const int x = interior ? left + column : scalar::reflect_index(left + column, batch.width);
    Coordinates at;
    uint32_t pixel[kBatch];
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      const int y = top + first_row + k;
      at.y[k] = interior ? y : scalar::reflect_index(y, batch.height);
      at.x[k] = x;
    }
    if (warped) {
      fetch_warped(header, data.program, image, labels, at, pixel);
    } else {
      fetch_plain(image, labels, mirror, at, pixel);
    }
    if (stage_index == 0) fill_label_holes(header, at, pixel);
    apply_ops(data, stage.first, stage.blur_at, 0, at, pixel);
#pragma unroll
    for (int k = 0; k < kBatch; ++k) place[k * geometry.pitch()] = pixel[k];
  }
}

/// Writes a run of `count` pixels as bytes.
__device__ __forceinline__ void store_bytes(const uint32_t (&pixel)[kRun], int count, uint8_t* to,
                                            bool aligned) {
  if (aligned) {
    auto* words = reinterpret_cast<uint32_t*>(to);
    words[0] = pick_bytes(pixel[0], pixel[1], 0x4210);
    words[1] = pick_bytes(pixel[1], pixel[2], 0x5421);
    words[2] = pick_bytes(pixel[2], pixel[3], 0x6542);
    return;
  }
  for (int i = 0; i < count; ++i) {
#pragma unroll
    for (int c = 0; c < 3; ++c) to[3 * i + c] = static_cast<uint8_t>(pixel[i] >> (8 * c));
  }
}

/// Writes a run of `count` pixels normalised.
template <typename T>
__device__ __forceinline__ void store_normalized(const uint32_t (&pixel)[kRun], int count,
                                                 const ChannelMaps& maps, const View<T>& x,
                                                 int64_t first, Stores stores) {
  float elements[3 * kRun];
#pragma unroll
  for (int c = 0; c < 3; ++c) {
    const auto byte = static_cast<uint32_t>(maps.bgr ? 2 - c : c);
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      elements[3 * i + c] = maps.channel[c](float_of_byte(pixel[i], byte));
    }
  }
  store_pixels(x, first, count, stores, elements);
}

__device__ __forceinline__ void store_labels(const uint32_t (&pixel)[kRun], int count, uint8_t* to,
                                             bool runs) {
  if (runs) {
    *reinterpret_cast<uint32_t*>(to) = pick_bytes(pick_bytes(pixel[0], pixel[1], 0x0073),
                                                  pick_bytes(pixel[2], pixel[3], 0x7300), 0x7610);
    return;
  }
  for (int i = 0; i < count; ++i) to[i] = static_cast<uint8_t>(pixel[i] >> 24);
}

/// Blocks that share a multiprocessor at least. On Turing shared memory holds fewer anyway.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
constexpr int kStageBlocks = 2;
#else
constexpr int kStageBlocks = 3;
#endif

/// Stage `stage_index` of all programs that have it.
template <typename T>
__global__ void __launch_bounds__(kThreads, kStageBlocks)
    stage_kernel(Batch batch, int stage_index, TileLayout layout, View<T> x, ChannelMaps maps,
                 Stores stores) {
  static_assert(kRun == kBatch);
  const Tile tile = layout.tile();
  const std::byte* program = batch.program(tile.sample);
  if (reinterpret_cast<const AugmentHeader*>(program)->stages <= stage_index) return;
  BlockData& block = shared<BlockData>();
  load_block_data(program, stage_index, block);
  const AugmentHeader& header = header_of(block);
  const AugmentStage stage = header.stage[stage_index];
  const StageData data{&header,
                       program,
                       reinterpret_cast<const uint8_t*>(block.tables),
                       batch.clahe_tables(tile.sample),
                       batch.height,
                       batch.width};
  const int rows_left = batch.height - tile.y;
  const TileGeometry geometry{layout.rows < rows_left ? layout.rows : rows_left, stage.blur / 2};
  auto* words = dynamic_shared<uint32_t>();
  fill_tile(batch, data, stage_index, tile, geometry, words);
  __syncthreads();
  if (geometry.radius > 0) {
    uint32_t* red_blue = words + geometry.words();
    const int sums = geometry.rows_with_halo() * TileGeometry::kColumns;
    box_mean(geometry, {red_blue, reinterpret_cast<uint16_t*>(red_blue + sums)}, words);
  }
  const int tables = count_tables(header, stage.first, stage.blur_at);
  const bool last_stage = stage_index == header.stages - 1;
  constexpr unsigned kRuns = TileGeometry::kColumns / kRun;
  const unsigned runs = static_cast<unsigned>(geometry.rows) * kRuns;
  for (unsigned i = threadIdx.x; i < runs; i += kThreads) {
    const auto row = static_cast<int>(i / kRuns), column = static_cast<int>(i % kRuns * kRun);
    const int y = tile.y + row, first = tile.x + column;
    if (first >= batch.width) continue;
    const int count = batch.width - first < kRun ? batch.width - first : kRun;
    const FourWords four = *reinterpret_cast<const FourWords*>(words + geometry.at(row, column));
    Coordinates at;
    uint32_t pixel[kRun];
#pragma unroll
    for (int k = 0; k < kRun; ++k) {
      pixel[k] = four.word[k];
      at.y[k] = y;
      at.x[k] = first + k;
    }
    apply_ops(data, stage.blur_at, stage.last, tables, at, pixel);
    const int in_sample = y * batch.width + first;
    const int64_t place = int64_t{tile.sample} * batch.height * batch.width + in_sample;
    if (stage_index == 0) store_labels(pixel, count, batch.out + place, batch.out_runs);
    if (last_stage) {
      store_normalized(pixel, count, maps, x, place, stores);
    } else {
      store_bytes(pixel, count, batch.stage_image(stage_index, tile.sample) + 3 * in_sample,
                  batch.width % kRun == 0);
    }
  }
}

struct ClaheSums {
  static constexpr int kWarps = kThreads / 32;

  int histogram[kWarps][256];  // of what each warp counted
  int sums[2][256];
};

/// The sum of values[0..i] where thread i brings its value. The block's threads are 256.
__device__ __forceinline__ int running_sum(int value, ClaheSums& data) {
  const auto i = static_cast<int>(threadIdx.x);
  int side = 0;
  data.sums[side][i] = value;
  __syncthreads();
  for (int step = 1; step < 256; step *= 2, side = 1 - side) {
    data.sums[1 - side][i] = data.sums[side][i] + (i >= step ? data.sums[side][i - step] : 0);
    __syncthreads();
  }
  return data.sums[side][i];
}

/// Tables of the samples whose stage begins with CLAHE, a block for each tile: scalar::clahe_table,
/// a thread for each value.
__global__ void __launch_bounds__(kThreads) clahe_kernel(Batch batch, int stage_index) {
  static_assert(kThreads == 256);
  const auto sample = static_cast<int>(blockIdx.y), tile = static_cast<int>(blockIdx.x);
  const auto& header = *reinterpret_cast<const AugmentHeader*>(batch.program(sample));
  if (header.stages <= stage_index) return;
  const AugmentStage stage = header.stage[stage_index];
  if (stage.first == stage.last) return;
  const PixelOp& op = header.op[stage.first];
  if (op.kind != PixelOp::Kind::equalize) return;
  const scalar::ClaheTiles tiles = scalar::clahe_tiles(
      batch.height, batch.width, static_cast<int>(op.value[1]), static_cast<int>(op.value[2]));
  if (tile >= tiles.tiles_y * tiles.tiles_x) return;

  ClaheSums& data = shared<ClaheSums>();
  const auto value = static_cast<int>(threadIdx.x);
  for (int w = 0; w < ClaheSums::kWarps; ++w) data.histogram[w][value] = 0;
  __syncthreads();
  const SampleImage image = batch.input(stage_index, sample);
  const int first_y = tile / tiles.tiles_x * tiles.tile_height;
  const int first_x = tile % tiles.tiles_x * tiles.tile_width;
  const int pixels = tiles.tile_height * tiles.tile_width;
  for (int i = value; i < pixels; i += kThreads) {
    const int row = i / tiles.tile_width;
    const int y = scalar::reflect_index(first_y + row, batch.height);
    const int x = scalar::reflect_index(first_x + i - row * tiles.tile_width, batch.width);
    const int l = scalar::lightness(rgb_of(image.at(y, x)));
    atomicAdd(&data.histogram[value / 32][l], 1);
  }
  __syncthreads();
  int occurrences = 0;
  for (int w = 0; w < ClaheSums::kWarps; ++w) occurrences += data.histogram[w][value];
  const int clip = scalar::clahe_clip(pixels, op.value[0]);
  const int over = clip > 0 && occurrences > clip ? occurrences - clip : 0;
  running_sum(over, data);
  const int excess = data.sums[0][255];
  __syncthreads();
  const int kept = occurrences - over + scalar::clahe_share(value, excess);
  const int up_to = running_sum(kept, data);
  batch.clahe_tables(sample)[256 * tile + value] = scalar::clahe_entry(up_to, pixels);
}

/// Shared memory for tiles of `rows` rows with the halo of the largest blur.
size_t tile_bytes(int rows, int blur) {
  const TileGeometry geometry{rows, blur / 2};
  const auto sums = static_cast<size_t>(geometry.rows_with_halo()) * TileGeometry::kColumns;
  const size_t sum_bytes = blur > 1 ? sums * (sizeof(uint32_t) + sizeof(uint16_t)) : 0;
  return static_cast<size_t>(geometry.words()) * sizeof(uint32_t) + sum_bytes;
}

}  // namespace

void augment_programs(Stream& stream, const Tensor& images, const Tensor& labels,
                      const AugmentPrograms& programs, const Normalization& normalization,
                      std::byte* scratch, const Tensor& x, const Tensor& out) {
  const Shape& s = images.shape;
  const Shape one_channel{s.n, s.h, s.w, 1};
  require(s.c == 3 && x.shape == s && images.dense(),
          "augment: dense RGB images, x of their shape");
  require(labels.shape == one_channel && out.shape == one_channel && labels.dense() && out.dense(),
          "augment: a dense label a pixel");
  require(int64_t{3} * s.h * s.w < (int64_t{1} << 31) && s.n < (1 << 16),
          "augment: images of fewer than 2^31 bytes, fewer than 2^16 of them");
  require(programs.data != nullptr, "augment: a program for every sample");
  const AugmentLimits& limits = programs.limits;
  const Batch batch{
      .images = images.as<uint8_t>(),
      .labels = labels.as<uint8_t>(),
      .out = out.as<uint8_t>(),
      .programs = programs.data,
      .program_bytes = limits.bytes,
      .scratch = scratch,
      .layout = AugmentScratch(s, limits),
      .height = s.h,
      .width = s.w,
      .words = reinterpret_cast<uintptr_t>(images.data) % 4 == 0 && s.w % 4 == 0,
      .out_runs = runs_aligned(out, sizeof(LabelRun)),
  };
  // As many rows as leave memory for three blocks on a multiprocessor of an A100 or H100, for which
  // there are registers: what a block does once is spread over many pixels, and the halo is a small
  // part of them.
  constexpr size_t kMostTileBytes = 40 * 1024;
  TileLayout layout{.rows = 64,
                    .across = Divisor((s.w + TileGeometry::kColumns - 1) / TileGeometry::kColumns)};
  while (tile_bytes(layout.rows, limits.blur) > kMostTileBytes) layout.rows -= 16;
  const size_t bytes = tile_bytes(layout.rows, limits.blur);
  const auto down = static_cast<uint32_t>((s.h + layout.rows - 1) / layout.rows);
  const dim3 grid(layout.across.value() * down, static_cast<unsigned>(s.n));
  const ChannelMaps maps = channel_maps(normalization);
  visit_float(x.dtype, [&](auto type) {
    using T = decltype(type);
    const Stores stores = stores_of<T>(x);
    for (int stage = 0; stage < limits.stages; ++stage) {
      if (stage > 0 && limits.equalize_tiles > 0) {
        launch(stream, clahe_kernel,
               dim3(static_cast<unsigned>(limits.equalize_tiles), static_cast<unsigned>(s.n)),
               kThreads, 0, batch, stage);
      }
      launch(stream, stage_kernel<T>, grid, kThreads, bytes, batch, stage, layout, view<T>(x), maps,
             stores);
    }
  });
}

}  // namespace macadam::cuda
