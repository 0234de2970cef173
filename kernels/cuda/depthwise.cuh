#pragma once
// What the passes of the depthwise convolution share. A thread owns one vector of channels and a
// strip of neighbouring pixels of a row, so that every pixel it loads serves several taps
// from registers; a block is a rectangle of strips, whose rows meet in the L1 cache.

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "kernels/cuda/divisor.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vector.cuh"

namespace macadam::cuda {

/// Pixels of a strip: so many that their sums and a row of taps fit into 128 registers.
constexpr int strip_of(int channels_of_thread, int size, int stride) {
  return channels_of_thread == 8 && size == 5 && stride == 2 ? 2 : 4;
}

/// How one map is read to write another, K x K taps a pixel. For a strip of kPixels written pixels:
/// kColumns columns of the read map from first_column(), in rows row(h, kh) for kh = first_tap(h),
/// first_tap(h) + kTapStep, ...; column j meets pixel o of the strip with tap(j, o), if that is one
/// of the K. `shift`: the first strip of a row begins that many pixels before it.

/// The forward pass with stride S, and with S = 1, flipped taps and other padding its gradient.
template <int K, int S, int P>
struct ForwardWindow {
  static constexpr int kPixels = P, kTaps = K, kTapStep = 1;
  static constexpr int kColumns = (kPixels - 1) * S + K;

  int top, left;  // padding

  __device__ static constexpr int tap(int j, int o) { return j - o * S; }
  __host__ __device__ int shift() const { return 0; }
  __device__ int first_tap(int) const { return 0; }
  __device__ int row(int h, int kh) const { return h * S - top + kh; }
  __device__ int first_column(int w) const { return w * S - left; }
  /// Rows (or columns) that are read for `pixels` written ones.
  static int reach(int pixels) { return (pixels - 1) * S + K; }
};

/// The gradient of a forward pass with stride 2: pixel h is read by the rows oh with
/// 2 oh - top + kh = h, which are every other tap. Strips begin where w + left is even.
template <int K>
struct GatherWindow {
  static_assert(K % 2 == 1);
  static constexpr int kPixels = 4, kTaps = K, kTapStep = 2;
  static constexpr int kColumns = kPixels / 2 + K / 2;

  int top, left;  // padding of the forward pass

  __device__ static constexpr int tap(int j, int o) { return o - 2 * j + K - 1; }
  __host__ __device__ int shift() const { return left & 1; }
  __device__ int first_tap(int h) const { return (h + top) & 1; }
  __device__ int row(int h, int kh) const { return (h + top - kh) / 2; }
  __device__ int first_column(int w) const { return (w + left) / 2 - K / 2; }
  static int reach(int pixels) { return pixels / 2 + K / 2; }
};

/// Threads of a block along the channels: up to 128 bytes of a pixel, in equal parts.
struct ChannelTiles {
  int lanes, tiles;

  ChannelTiles(int channels, int per_thread) {
    const int most = per_thread > 1 ? 8 : 32;
    const int vectors = channels / per_thread;
    tiles = (vectors + most - 1) / most;
    lanes = (vectors + tiles - 1) / tiles;
    if (tiles > 1) lanes += lanes % 2;  // whole sectors of 32 bytes
  }
};

/// Pixel `column` of a row, or zeros outside it. Outside, the nearest pixel is loaded and dropped:
/// without a branch, all loads of a row are in flight together.
template <int V, typename T>
__device__ __forceinline__ void load_pixel(const T* row, int column, int width, int channels,
                                           float (&v)[V]) {
  using Pixel = Chunk<T, V>;
  using Words = Chunk<std::conditional_t<sizeof(Pixel) == 2, uint16_t, uint32_t>,
                      sizeof(Pixel) == 16 ? 4 : 1>;
  static_assert(sizeof(Words) == sizeof(Pixel));
  const int nearest = column < 0 ? 0 : column < width ? column : width - 1;
  Pixel pixel = *reinterpret_cast<const Pixel*>(row + nearest * channels);
  Words words;
  std::memcpy(&words, &pixel, sizeof(pixel));
#pragma unroll
  for (auto& word : words.lane) word = nearest == column ? word : 0;
  std::memcpy(&pixel, &words, sizeof(pixel));
#pragma unroll
  for (int i = 0; i < V; ++i) v[i] = widen(pixel.lane[i]);
}

}  // namespace macadam::cuda
