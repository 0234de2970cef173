// Resizing. Floors: forward size(x) + size(y), bilinear_argmax size(x) + a byte a pixel,
// bilinear_add_softmax size(x) + twice the window's sums, backward size(dy) + size(dx), size(dx)
// more when it accumulates. (A backward thread reads every output that reads its pixel;
// neighbouring threads share those reads in the cache.)

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/pixel_tile.cuh"
#include "kernels/cuda/spatial.cuh"
#include "kernels/scalar/compare.h"
#include "kernels/scalar/confidence.h"
#include "kernels/scalar/resize.h"
#include "kernels/scalar/softmax.h"
#include "kernels/scalar/window.h"
#include "kernels/upsample.h"

namespace macadam::cuda {

namespace {

using scalar::LinearTap;
using scalar::Range;

/// Heights and widths of the two sides, `in` being x's.
struct Extents {
  int in_h, in_w, out_h, out_w;
  bool corners = false;  // of a bilinear resize

  MACADAM_HD scalar::LinearAxis rows() const { return {in_h, out_h, corners}; }
  MACADAM_HD scalar::LinearAxis columns() const { return {in_w, out_w, corners}; }
};

template <typename T, bool Aligned>
__global__ void __launch_bounds__(kThreads)
    nearest_kernel(SpatialLayout layout, View<const T> x, View<T> y, Extents size, Divisor by_rows,
                   Divisor by_columns) {
  constexpr int V = kWidth<T>;
  Place at;
  if (!layout.place(at)) return;
  const int h = scalar::nearest_source(at.h, size.in_h, by_rows);
  const int w = scalar::nearest_source(at.w, size.in_w, by_columns);
  const int64_t source = (static_cast<int64_t>(at.n) * size.in_h + h) * size.in_w + w;
  float v[V];
  load_channels<Aligned>(x.at(source, at.channel), at.count, v);
  store_channels<Aligned>(y.at(at.pixel, at.channel), at.count, v);
}

template <typename T, bool Aligned>
__global__ void __launch_bounds__(kThreads)
    nearest_backward_kernel(SpatialLayout layout, View<const T> dy, View<T> dx, Extents size,
                            bool accumulate) {
  constexpr int V = kWidth<T>;
  Place at;
  if (!layout.place(at)) return;
  const Range rows = scalar::nearest_readers(at.h, size.in_h, size.out_h);
  const Range columns = scalar::nearest_readers(at.w, size.in_w, size.out_w);
  float sum[V] = {};
  for (int h = rows.begin; h < rows.end; ++h) {
    const int64_t row = (static_cast<int64_t>(at.n) * size.out_h + h) * size.out_w;
#pragma unroll 2
    for (int w = columns.begin; w < columns.end; ++w) {
      float v[V];
      load_channels<Aligned>(dy.at(row + w, at.channel), at.count, v);
#pragma unroll
      for (int i = 0; i < V; ++i) sum[i] += v[i];
    }
  }
  store_channels<Aligned>(dx.at(at.pixel, at.channel), at.count, sum, accumulate);
}

template <typename X, typename Y, bool Aligned>
__global__ void __launch_bounds__(kThreads)
    bilinear_kernel(SpatialLayout layout, View<const X> x, View<Y> y, Extents size, Divisor by_rows,
                    Divisor by_columns) {
  constexpr int V = kWidth<X, Y>;
  Place at;
  if (!layout.place(at)) return;
  const LinearTap rows = scalar::linear_tap(at.h, size.rows(), by_rows);
  const LinearTap columns = scalar::linear_tap(at.w, size.columns(), by_columns);
  const int64_t image = static_cast<int64_t>(at.n) * size.in_h;
  const int64_t upper = (image + rows.first) * size.in_w;
  const int64_t lower = (image + rows.second) * size.in_w;
  float a0[V], a1[V], b0[V], b1[V];
  load_channels<Aligned>(x.at(upper + columns.first, at.channel), at.count, a0);
  load_channels<Aligned>(x.at(upper + columns.second, at.channel), at.count, a1);
  load_channels<Aligned>(x.at(lower + columns.first, at.channel), at.count, b0);
  load_channels<Aligned>(x.at(lower + columns.second, at.channel), at.count, b1);
#pragma unroll
  for (int i = 0; i < V; ++i) {
    a0[i] = scalar::bilinear(a0[i], a1[i], b0[i], b1[i], columns.weight, rows.weight);
  }
  store_channels<Aligned>(y.at(at.pixel, at.channel), at.count, a0);
}

template <typename Y, typename X, bool Aligned>
__global__ void __launch_bounds__(kThreads)
    bilinear_backward_kernel(SpatialLayout layout, View<const Y> dy, View<X> dx, Extents size,
                             bool accumulate) {
  constexpr int V = kWidth<X, Y>;
  Place at;
  if (!layout.place(at)) return;
  const Range rows = scalar::linear_readers(at.h, size.rows());
  const Range columns = scalar::linear_readers(at.w, size.columns());
  float sum[V] = {};
  for (int h = rows.begin; h < rows.end; ++h) {
    const float row_weight = scalar::linear_weight(h, at.h, size.rows());
    const int64_t row = (static_cast<int64_t>(at.n) * size.out_h + h) * size.out_w;
#pragma unroll(Aligned ? 2 : 1)
    for (int w = columns.begin; w < columns.end; ++w) {
      const float weight = row_weight * scalar::linear_weight(w, at.w, size.columns());
      float v[V];
      load_channels<Aligned>(dy.at(row + w, at.channel), at.count, v);
#pragma unroll
      for (int i = 0; i < V; ++i) sum[i] += weight * v[i];
    }
  }
  store_channels<Aligned>(dx.at(at.pixel, at.channel), at.count, sum, accumulate);
}

/// The four pixels of x that a resized pixel of image n is made of.
struct BilinearTaps {
  LinearTap rows, columns;
  int64_t upper, lower;  // the first pixels of their rows

  __device__ BilinearTaps(int n, int h, int w, const Extents& size, const Divisor& by_rows,
                          const Divisor& by_columns)
      : rows(scalar::linear_tap(h, size.rows(), by_rows)),
        columns(scalar::linear_tap(w, size.columns(), by_columns)),
        upper((static_cast<int64_t>(n) * size.in_h + rows.first) * size.in_w),
        lower((static_cast<int64_t>(n) * size.in_h + rows.second) * size.in_w) {}

  /// Calls visit(channel, the resized score).
  template <bool Aligned, typename T, typename Visit>
  __device__ __forceinline__ void for_each_score(const View<const T>& x, int channels,
                                                 const Visit& visit) const {
    constexpr int V = kWidth<T>;
    for (int channel = 0; channel < channels; channel += V) {
      const int left = channels - channel, count = left < V ? left : V;
      float a0[V], a1[V], b0[V], b1[V];
      load_channels<Aligned>(x.at(upper + columns.first, channel), count, a0);
      load_channels<Aligned>(x.at(upper + columns.second, channel), count, a1);
      load_channels<Aligned>(x.at(lower + columns.first, channel), count, b0);
      load_channels<Aligned>(x.at(lower + columns.second, channel), count, b1);
#pragma unroll
      for (int i = 0; i < V; ++i) {
        if (i >= count) break;
        visit(channel + i,
              scalar::bilinear(a0[i], a1[i], b0[i], b1[i], columns.weight, rows.weight));
      }
    }
  }
};

/// A thread a pixel; the four pixels that it reads are mostly in the cache.
template <typename T, bool Aligned, bool Confident>
__global__ void __launch_bounds__(kThreads)
    bilinear_argmax_kernel(SpatialLayout layout, View<const T> x, int channels, uint8_t* classes,
                           uint8_t* confidence, Extents size, Divisor by_rows, Divisor by_columns) {
  Place at;
  if (!layout.place(at)) return;
  const BilinearTaps taps(at.n, at.h, at.w, size, by_rows, by_columns);
  int best = 0;
  float best_score = -INFINITY, sum = 0.0f;  // of exp(score - best_score)
  taps.for_each_score<Aligned>(x, channels, [&](int channel, float score) {
    const bool wins = channel == 0 || scalar::score_wins(score, best_score);
    if constexpr (Confident) {
      sum = wins ? sum * scalar::exp_share(best_score, score) + scalar::exp_share(score, score)
                 : sum + scalar::exp_share(score, best_score);
    }
    best = wins ? channel : best;
    best_score = wins ? score : best_score;
  });
  classes[at.pixel] = static_cast<uint8_t>(best);
  if constexpr (Confident) confidence[at.pixel] = scalar::confidence_byte(sum);
}

/// What of a window lies in the photo, in tiles of a row's pixels.
struct WindowTiles {
  int rows, columns;   // of the window that lie in the photo
  int tile;            // pixels of a tile
  int64_t first;       // the window's first pixel in the photo
  int64_t row_pixels;  // of the photo
  Divisor by_tiles;    // tiles of a row
  Divisor by_channels;
};

/// A block a tile: a thread makes the probabilities of a pixel in shared memory, then neighbouring
/// threads add neighbouring elements.
template <typename T, bool Aligned>
__global__ void __launch_bounds__(kTileThreads)
    bilinear_add_softmax_kernel(WindowTiles tiles, View<const T> x, int channels, int row_floats,
                                float* sums, Extents size, bool mirrored, bool fades,
                                Divisor by_rows, Divisor by_columns) {
  auto* tile = dynamic_shared<float>();
  const int h = static_cast<int>(tiles.by_tiles.quotient(blockIdx.x));
  const int begin =
      static_cast<int>(blockIdx.x - static_cast<unsigned>(h) * tiles.by_tiles.value()) * tiles.tile;
  const int left = tiles.columns - begin, count = left < tiles.tile ? left : tiles.tile;
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < count) {
    const int w = begin + thread;
    const BilinearTaps taps(0, h, mirrored ? size.out_w - 1 - w : w, size, by_rows, by_columns);
    float* row = tile + thread * row_floats;
    taps.for_each_score<Aligned>(x, channels, [&](int channel, float z) { row[channel] = z; });
    const auto score = [&](int c) { return row[c]; };
    const scalar::SoftmaxStats stats =
        scalar::softmax_stats(score, channels, [&](int c, float e) { row[c] = e; });
    const float weight =
        fades ? scalar::edge_weight(h, size.out_h) * scalar::edge_weight(w, size.out_w) : 1.0f;
    const float factor = weight / stats.sum;
    for (int c = 0; c < channels; ++c) row[c] *= factor;
  }
  __syncthreads();
  float* target = sums + (tiles.first + h * tiles.row_pixels + begin) * channels;
  for (int i = thread; i < count * channels; i += kTileThreads) {
    const int pixel = tiles.by_channels(i);
    target[i] += tile[pixel * row_floats + i - pixel * channels];
  }
}

/// Checks a resize of x to y, and gives its extents.
Extents extents_of(const Shape& x, const Shape& y, bool corners = false) {
  require(x.n == y.n && x.c == y.c, "a resize keeps images and channels");
  require(x.h <= 32767 && x.w <= 32767 && y.h <= 32767 && y.w <= 32767,
          "a resize is at most 32767 pixels high and wide");
  return {x.h, x.w, y.h, y.w, corners};
}

WindowTiles window_tiles(const WindowPlace& place, const Shape& photo, int tile) {
  WindowTiles tiles;
  tiles.rows = std::min(place.height, photo.h - place.top);
  tiles.columns = std::min(place.width, photo.w - place.left);
  tiles.tile = tile;
  tiles.first = int64_t{place.top} * photo.w + place.left;
  tiles.row_pixels = photo.w;
  tiles.by_tiles = Divisor(std::max(1, (tiles.columns + tile - 1) / tile));
  tiles.by_channels = Divisor(photo.c);
  return tiles;
}

class CudaUpsampleOps final : public UpsampleOps {
 public:
  explicit CudaUpsampleOps(Stream& stream) : stream_(stream) {}

  void nearest(const Tensor& x, const Tensor& y) override {
    const Extents size = extents_of(x.shape, y.shape);
    visit_float(x.dtype, [&](auto type) {
      using T = decltype(type);
      const bool aligned = whole_vectors_with_spare({&x, &y}, kWidth<T>);
      run(aligned ? nearest_kernel<T, true> : nearest_kernel<T, false>, y.shape, kWidth<T>,
          view<const T>(x), view<T>(y), size, Divisor(size.out_h), Divisor(size.out_w));
    });
  }

  void nearest_backward(const Tensor& dy, const Tensor& dx, bool accumulate) override {
    const Extents size = extents_of(dx.shape, dy.shape);
    visit_float(dx.dtype, [&](auto type) {
      using T = decltype(type);
      const bool aligned = whole_vectors_with_spare({&dy, &dx}, kWidth<T>);
      run(aligned ? nearest_backward_kernel<T, true> : nearest_backward_kernel<T, false>, dx.shape,
          kWidth<T>, view<const T>(dy), view<T>(dx), size, accumulate);
    });
  }

  void bilinear(const Tensor& x, const Tensor& y, bool corners) override {
    const Extents size = extents_of(x.shape, y.shape, corners);
    visit_float(x.dtype, [&](auto from) {
      visit_float(y.dtype, [&](auto to) {
        using X = decltype(from);
        using Y = decltype(to);
        const bool aligned = whole_vectors_with_spare({&x, &y}, kWidth<X, Y>);
        run(aligned ? bilinear_kernel<X, Y, true> : bilinear_kernel<X, Y, false>, y.shape,
            kWidth<X, Y>, view<const X>(x), view<Y>(y), size, Divisor(size.rows().unit()),
            Divisor(size.columns().unit()));
      });
    });
  }

  void bilinear_argmax(const Tensor& x, const Tensor& classes, const Tensor& confidence) override {
    require(classes.shape.c == 1 && classes.dense(), "bilinear argmax: one class a pixel, dense");
    require(x.shape.c <= kMaxClasses, "bilinear argmax: at most 255 classes");
    uint8_t* const sure = confidence.data == nullptr ? nullptr : confidence.as<uint8_t>();
    require(sure == nullptr || (confidence.shape == classes.shape && confidence.dense()),
            "confidence is as the classes");
    const Shape scores{classes.shape.n, classes.shape.h, classes.shape.w, x.shape.c};
    const Extents size = extents_of(x.shape, scores);
    visit_float(x.dtype, [&](auto type) {
      using T = decltype(type);
      const bool aligned = whole_vectors_with_spare({&x}, kWidth<T>);
      const auto plain = aligned ? bilinear_argmax_kernel<T, true, false>
                                 : bilinear_argmax_kernel<T, false, false>;
      const auto confident =
          aligned ? bilinear_argmax_kernel<T, true, true> : bilinear_argmax_kernel<T, false, true>;
      run(sure == nullptr ? plain : confident, classes.shape, 1, view<const T>(x), x.shape.c,
          classes.as<uint8_t>(), sure, size, Divisor(size.rows().unit()),
          Divisor(size.columns().unit()));
    });
  }

  void bilinear_add_softmax(const Tensor& x, const WindowPlace& place,
                            const Tensor& sums) override {
    require(x.shape.n == 1 && sums.shape.n == 1 && sums.dense(), "one window, dense sums");
    require(x.shape.c <= kMaxClasses, "bilinear softmax: at most 255 classes");
    require(place.top >= 0 && place.left >= 0, "a window begins in the photo");
    const Extents size = extents_of(x.shape, {1, place.height, place.width, sums.shape.c});
    const TileLayout layout = tile_layout(sums);
    const WindowTiles tiles = window_tiles(place, sums.shape, layout.tile);
    if (tiles.rows <= 0 || tiles.columns <= 0) return;
    visit_float(x.dtype, [&](auto type) {
      using T = decltype(type);
      const bool aligned = whole_vectors_with_spare({&x}, kWidth<T>);
      launch(stream_,
             aligned ? bilinear_add_softmax_kernel<T, true> : bilinear_add_softmax_kernel<T, false>,
             blocks_for(int64_t{tiles.rows} * tiles.by_tiles.value(), 1), kTileThreads,
             tile_bytes(layout, DType::f32), tiles, view<const T>(x), x.shape.c, layout.row,
             sums.as<float>(), size, place.mirrored, place.fades, Divisor(size.rows().unit()),
             Divisor(size.columns().unit()));
    });
  }

  void bilinear_backward(const Tensor& dy, const Tensor& dx, bool corners,
                         bool accumulate) override {
    const Extents size = extents_of(dx.shape, dy.shape, corners);
    visit_float(dy.dtype, [&](auto from) {
      visit_float(dx.dtype, [&](auto to) {
        using Y = decltype(from);
        using X = decltype(to);
        const bool aligned = whole_vectors_with_spare({&dy, &dx}, kWidth<X, Y>);
        run(aligned ? bilinear_backward_kernel<Y, X, true> : bilinear_backward_kernel<Y, X, false>,
            dx.shape, kWidth<X, Y>, view<const Y>(dy), view<X>(dx), size, accumulate);
      });
    });
  }

 private:
  /// Runs a kernel with a thread for each `width` channels of the pixels of `shape`.
  template <typename Kernel, typename... Arguments>
  void run(Kernel kernel, const Shape& shape, int width, const Arguments&... arguments) {
    const SpatialLayout layout(shape, width);
    launch(stream_, kernel, blocks_for(layout.threads()), kThreads, 0, layout, arguments...);
  }

  Stream& stream_;
};

}  // namespace

std::unique_ptr<UpsampleOps> make_upsample_ops(Stream& stream) {
  return std::make_unique<CudaUpsampleOps>(stream);
}

}  // namespace macadam::cuda
