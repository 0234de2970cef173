#pragma once
// The pixel operations of an augmentation program on several pixels a thread, so that what the
// pixels of a block share is read once for all of a thread's: scalar/pixel_ops.h and clahe.h.

#include <cstdint>

#include "kernels/augment_program.h"
#include "kernels/cuda/warp_pixels.cuh"
#include "kernels/scalar/clahe.h"
#include "kernels/scalar/pixel_ops.h"

namespace macadam::cuda {

/// What the operations of a stage read besides pixels.
struct StageData {
  static constexpr int kTables = 4, kTableBytes = 3 * 256;

  const AugmentHeader* header;  // in shared memory
  const std::byte* program;     // in device memory
  const uint8_t* tables;        // the stage's first kTables tables, in shared memory
  const uint8_t* clahe_tables;  // the sample's
  int height, width;
};

__device__ __forceinline__ scalar::Rgb rgb_of(uint32_t pixel) {
  return {static_cast<uint8_t>(pixel), static_cast<uint8_t>(pixel >> 8),
          static_cast<uint8_t>(pixel >> 16)};
}

/// `pixel` with other colours; its label stays.
__device__ __forceinline__ uint32_t recolored(uint32_t pixel, scalar::Rgb rgb) {
  return (pixel & 0xff000000u) | static_cast<uint32_t>(rgb.r | rgb.g << 8 | rgb.b << 16);
}

/// values[k] without an array's address.
__device__ __forceinline__ int at_turn(const int (&values)[kBatch], int turn) {
  int value = values[0];
#pragma unroll
  for (int k = 1; k < kBatch; ++k) value = turn == k ? values[k] : value;
  return value;
}

/// pixel[k] = change(pixel[k], y, x), one after the other by one piece of code.
template <typename Change>
__device__ __forceinline__ void change_in_turn(const Coordinates& at, uint32_t (&pixel)[kBatch],
                                               const Change& change) {
#pragma unroll 1
  for (int turn = 0; turn < kBatch; ++turn) {
    const uint32_t changed = change(pixel[0], at_turn(at.y, turn), at_turn(at.x, turn));
#pragma unroll
    for (int k = 0; k + 1 < kBatch; ++k) pixel[k] = pixel[k + 1];
    pixel[kBatch - 1] = changed;
  }
}

/// The table begins at data[first], a multiple of 256.
__device__ __forceinline__ void look_up(const uint8_t* data, uint32_t first,
                                        uint32_t (&pixel)[kBatch]) {
#pragma unroll
  for (int k = 0; k < kBatch; ++k) {
    // An entry's index is the table's with the pixel's byte for the lowest one.
    const uint8_t r = data[pick_bytes(pixel[k], first, 0x7650)];
    const uint8_t g = data[pick_bytes(pixel[k], first, 0x7651) + 256];
    const uint8_t b = data[pick_bytes(pixel[k], first, 0x7652) + 512];
    pixel[k] = recolored(pixel[k], {r, g, b});
  }
}

__device__ __forceinline__ void add_noise(const PixelOp& op, int width, const Coordinates& at,
                                          uint32_t (&pixel)[kBatch]) {
  const float mean = op.value[0], sigma = op.value[1];
  const uint32_t key0 = op.key[0], key1 = op.key[1];
  const bool per_channel = op.flag != 0;
#pragma unroll
  for (int k = 0; k < kBatch; ++k) {
    const auto position = static_cast<uint32_t>(at.y[k] * width + at.x[k]);
    scalar::Normals z = scalar::draw_normals(position, key0, key1);
    if (!per_channel) z.g = z.b = z.r;
    const auto noisy = [&](uint32_t channel, float normal) {
      return scalar::add_noise(float_of_byte(pixel[k], channel),
                               scalar::fused(sigma, normal, mean));
    };
    pixel[k] = recolored(pixel[k], {noisy(0, z.r), noisy(1, z.g), noisy(2, z.b)});
  }
}

/// Whether a pixel lies in the hole that `op` makes.
__device__ __forceinline__ bool in_hole(const PixelOp& op, int y, int x) {
  const auto fy = static_cast<float>(y), fx = static_cast<float>(x);
  return fy >= op.value[0] && fx >= op.value[1] && fy < op.value[2] && fx < op.value[3];
}

/// One of the operations that few programs hold.
__device__ __forceinline__ uint32_t change_pixel(const PixelOp& op, const StageData& stage,
                                                 uint32_t pixel, int y, int x) {
  using Kind = PixelOp::Kind;
  const scalar::Rgb rgb = rgb_of(pixel);
  const std::array<float, 4>& value = op.value;
  switch (op.kind) {
    case Kind::hsv:
      return recolored(
          pixel, scalar::shift_hsv(rgb, static_cast<int>(value[0]), static_cast<int>(value[1]),
                                   static_cast<int>(value[2])));
    case Kind::saturation: return recolored(pixel, scalar::scale_saturation(rgb, value[0]));
    case Kind::equalize: {
      const scalar::ClaheTiles tiles = scalar::clahe_tiles(
          stage.height, stage.width, static_cast<int>(value[1]), static_cast<int>(value[2]));
      const int l =
          scalar::clahe_interpolate(stage.clahe_tables, tiles, y, x, scalar::lightness(rgb));
      return recolored(pixel, scalar::with_lightness(rgb, l));
    }
    case Kind::shadow: {
      const auto* data = reinterpret_cast<const int32_t*>(stage.program + op.data);
      if (!scalar::in_polygons(data, op.count, x, y)) return pixel;
      return recolored(pixel, scalar::halve_lightness(rgb));
    }
    default: return pixel;
  }
}

/// Operations [first, last) of the program; `table` of its tables in this stage came before.
__device__ __forceinline__ void apply_ops(const StageData& stage, int first, int last, int table,
                                          const Coordinates& at, uint32_t (&pixel)[kBatch]) {
  using Kind = PixelOp::Kind;
#pragma unroll 1
  for (int i = first; i < last; ++i) {
    const PixelOp& op = stage.header->op[i];
    if (op.kind == Kind::table) {
      if (table < StageData::kTables) {
        look_up(stage.tables, static_cast<uint32_t>(table) * StageData::kTableBytes, pixel);
      } else {
        look_up(reinterpret_cast<const uint8_t*>(stage.program) + op.data, 0, pixel);
      }
      ++table;
    } else if (op.kind == Kind::noise) {
      add_noise(op, stage.width, at, pixel);
    } else if (op.kind == Kind::hole) {
      const uint32_t fill = static_cast<uint32_t>(op.fill[0] | op.fill[1] << 8 | op.fill[2] << 16);
#pragma unroll
      for (int k = 0; k < kBatch; ++k) {
        if (in_hole(op, at.y[k], at.x[k])) pixel[k] = (pixel[k] & 0xff000000u) | fill;
      }
    } else {
      change_in_turn(at, pixel, [&](uint32_t each, int y, int x) {
        return change_pixel(op, stage, each, y, x);
      });
    }
  }
}

/// The labels within holes that are theirs too, of the whole program.
__device__ __forceinline__ void fill_label_holes(const AugmentHeader& header, const Coordinates& at,
                                                 uint32_t (&pixel)[kBatch]) {
  const int ops = header.stage[header.stages - 1].last;
#pragma unroll 1
  for (int i = 0; i < ops; ++i) {
    const PixelOp& op = header.op[i];
    if (op.kind != PixelOp::Kind::hole || op.flag == 0) continue;
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      if (in_hole(op, at.y[k], at.x[k])) {
        pixel[k] = (pixel[k] & 0xffffffu) | static_cast<uint32_t>(op.fill[3]) << 24;
      }
    }
  }
}

}  // namespace macadam::cuda
