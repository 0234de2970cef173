// From decoded bytes to network input. Floors: images 3 bytes + 3 elements a pixel, labels 2 bytes
// a pixel.

#include "kernels/augment.h"
#include "kernels/cuda/augment_program.h"
#include "kernels/cuda/byte_normalization.cuh"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/divisor.cuh"
#include "kernels/cuda/vector.cuh"

namespace macadam::cuda {

namespace {

/// Where pixels of a batch are read from: from where they are written to, or in images that are
/// flipped from the mirrored place of their row.
class Source {
 public:
  explicit Source(const Shape& shape)
      : width_(shape.w), height_(shape.h), pixels_(static_cast<uint32_t>(shape.pixels())) {
    require(shape.pixels() < (int64_t{1} << 31), "a batch of images has fewer than 2^31 pixels");
  }

  __host__ __device__ uint32_t pixels() const { return pixels_; }

  /// Whether `pixel` lies in a flipped image (`flips` may be null); `mirror` is its place there.
  __device__ bool flipped(const uint8_t* flips, uint32_t pixel, uint32_t& mirror) const {
    mirror = pixel;
    if (flips == nullptr) return false;
    const uint32_t row = width_.quotient(pixel);
    if (flips[height_.quotient(row)] == 0) return false;
    mirror = 2 * row * width_.value() + width_.value() - 1 - pixel;
    return true;
  }

 private:
  Divisor width_, height_;
  uint32_t pixels_;
};

/// Dense x: a thread writes 16 bytes, which is elements of up to four pixels.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    images_kernel(View<const uint8_t> images, const uint8_t* __restrict__ flips, T* __restrict__ x,
                  ChannelMaps maps, Source source) {
  constexpr int V = kWidth<T>, kPixels = (V - 1) / 3 + 2;
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * V;
  const int64_t left = int64_t{3} * source.pixels() - first;
  if (left <= 0) return;
  const auto pixel = static_cast<uint32_t>(first / 3);
  const int phase = static_cast<int>(first - int64_t{3} * pixel);  // the first element's channel
  const uint8_t* in[kPixels];
#pragma unroll
  for (int i = 0; i < kPixels; ++i) {
    uint32_t from = 0;
    const uint32_t to = pixel + static_cast<uint32_t>(i);
    source.flipped(flips, to < source.pixels() ? to : pixel, from);
    in[i] = images.at(from, 0);
  }
  // The maps of the elements in their order, and the bytes of a pixel that these come from.
  scalar::Affine map[3];
  int byte[3];
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    const int channel = phase + i < 3 ? phase + i : phase + i - 3;
    map[i] = channel == 0 ? maps.channel[0] : channel == 1 ? maps.channel[1] : maps.channel[2];
    byte[i] = maps.bgr ? 2 - channel : channel;
  }
  float v[V];
#pragma unroll
  for (int i = 0; i < V; ++i) {
    const uint8_t* from = phase + i % 3 < 3 ? in[i / 3] : in[i / 3 + 1];
    v[i] = map[i % 3](static_cast<float>(from[byte[i % 3]]));
  }
  store<V>(x + first, left < V ? static_cast<int>(left) : V, v);
}

/// Pixels that a thread of the next kernel takes, a block's width apart: the loads of all are in
/// flight together.
constexpr int kPixelsOfThread = 4;

/// Any x. With `whole` a pixel is written at once, 16 bytes with zeros behind it; else one element
/// after the other.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    images_by_pixel_kernel(View<const uint8_t> images, const uint8_t* __restrict__ flips, View<T> x,
                           bool whole, ChannelMaps maps, Source source) {
  const uint32_t first = blockIdx.x * (kThreads * kPixelsOfThread) + threadIdx.x;
  uint8_t bytes[kPixelsOfThread][3];
#pragma unroll
  for (int i = 0; i < kPixelsOfThread; ++i) {
    const uint32_t pixel = first + static_cast<uint32_t>(i) * kThreads;
    if (pixel >= source.pixels()) break;
    uint32_t from = 0;
    source.flipped(flips, pixel, from);
    const uint8_t* in = images.at(from, 0);
#pragma unroll
    for (int c = 0; c < 3; ++c) bytes[i][c] = in[maps.bgr ? 2 - c : c];
  }
#pragma unroll
  for (int i = 0; i < kPixelsOfThread; ++i) {
    const uint32_t pixel = first + static_cast<uint32_t>(i) * kThreads;
    if (pixel >= source.pixels()) break;
    T* out = x.at(pixel, 0);
    float v[3];
#pragma unroll
    for (int c = 0; c < 3; ++c) v[c] = maps.channel[c](static_cast<float>(bytes[i][c]));
    if (whole) {
      store_pixel(out, v[0], v[1], v[2]);
    } else {
#pragma unroll
      for (int c = 0; c < 3; ++c) out[c] = narrow<T>(v[c]);
    }
  }
}

/// A thread takes V pixels of one row, which is V bytes at once.
template <int V>
__global__ void __launch_bounds__(kThreads)
    labels_kernel(View<const uint8_t> labels, const uint8_t* __restrict__ flips, View<uint8_t> out,
                  Source source) {
  const uint32_t pixel = (blockIdx.x * kThreads + threadIdx.x) * V;
  if (pixel >= source.pixels()) return;
  uint32_t mirror = 0;
  const bool flip = source.flipped(flips, pixel, mirror);
  using Bytes = Chunk<uint8_t, V>;
  const uint32_t from = flip ? mirror - (V - 1) : pixel;
  Bytes in = *reinterpret_cast<const Bytes*>(labels.at(from, 0));
  if (flip) {
#pragma unroll
    for (int i = 0; i < V / 2; ++i) {
      const uint8_t other = in.lane[i];
      in.lane[i] = in.lane[V - 1 - i];
      in.lane[V - 1 - i] = other;
    }
  }
  *reinterpret_cast<Bytes*>(out.at(pixel, 0)) = in;
}

/// Whether the rows of a dense tensor of bytes are whole aligned chunks of so many.
bool rows_of_chunks(const Tensor& tensor, int bytes) {
  return tensor.dense() && tensor.shape.w % bytes == 0 && starts_aligned(tensor, bytes);
}

class CudaAugmentOps final : public AugmentOps {
 public:
  explicit CudaAugmentOps(Stream& stream) : stream_(stream) {}

  void prepare_images(const Tensor& images, const uint8_t* flips,
                      const Normalization& normalization, const Tensor& x) override {
    require(images.shape.c == 3 && images.shape == x.shape, "images and x have one RGB shape");
    const ChannelMaps maps = channel_maps(normalization);
    const Source source(x.shape);
    visit_float(x.dtype, [&](auto type) {
      using T = decltype(type);
      if (x.dense() && starts_aligned(x, kWidth<T>)) {
        const int64_t chunks = (x.shape.elements() + kWidth<T> - 1) / kWidth<T>;
        launch(stream_, images_kernel<T>, blocks_for(chunks), kThreads, 0,
               view<const uint8_t>(images), flips, x.as<T>(), maps, source);
      } else {
        launch(stream_, images_by_pixel_kernel<T>,
               blocks_for(source.pixels(), kThreads * kPixelsOfThread), kThreads, 0,
               view<const uint8_t>(images), flips, view<T>(x),
               whole_vectors_with_spare({&x}, kWidth<T>), maps, source);
      }
    });
  }

  void prepare_labels(const Tensor& labels, const uint8_t* flips, const Tensor& out) override {
    require(labels.shape.c == 1 && labels.shape == out.shape, "labels and out have one shape");
    const Source source(out.shape);
    const auto run = [&](auto kernel, int per_thread) {
      launch(stream_, kernel, blocks_for(source.pixels(), kThreads * per_thread), kThreads, 0,
             view<const uint8_t>(labels), flips, view<uint8_t>(out), source);
    };
    const auto in_chunks = [&](int bytes) {
      return rows_of_chunks(labels, bytes) && rows_of_chunks(out, bytes);
    };
    if (in_chunks(16)) {
      run(labels_kernel<16>, 16);
    } else if (in_chunks(4)) {
      run(labels_kernel<4>, 4);
    } else {
      run(labels_kernel<1>, 1);
    }
  }

  void augment(const Tensor& images, const Tensor& labels, const AugmentPrograms& programs,
               const Normalization& normalization, std::byte* scratch, const Tensor& x,
               const Tensor& out) override {
    augment_programs(stream_, images, labels, programs, normalization, scratch, x, out);
  }

 private:
  Stream& stream_;
};

}  // namespace

std::unique_ptr<AugmentOps> make_augment_ops(Stream& stream) {
  return std::make_unique<CudaAugmentOps>(stream);
}

}  // namespace macadam::cuda
