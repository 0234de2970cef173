// From decoded bytes to network input. Floor: 3 bytes + 3 elements a pixel.

#include "kernels/augment.h"
#include "kernels/cuda/augment_program.h"
#include "kernels/cuda/byte_normalization.cuh"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/divisor.cuh"
#include "kernels/cuda/vector.cuh"

namespace macadam::cuda {

namespace {

/// Where pixels of a batch are read from: from where they are written to, or from the mirrored
/// place of their row.
class Source {
 public:
  Source(const Shape& shape, bool mirrored)
      : width_(shape.w), pixels_(static_cast<uint32_t>(shape.pixels())), mirrored_(mirrored) {
    require(shape.pixels() < (int64_t{1} << 31), "a batch of images has fewer than 2^31 pixels");
  }

  __host__ __device__ uint32_t pixels() const { return pixels_; }

  __device__ uint32_t of(uint32_t pixel) const {
    if (!mirrored_) return pixel;
    return 2 * width_.quotient(pixel) * width_.value() + width_.value() - 1 - pixel;
  }

 private:
  Divisor width_;
  uint32_t pixels_;
  bool mirrored_;
};

/// Dense x: a thread writes 16 bytes, which is elements of up to four pixels.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    images_kernel(View<const uint8_t> images, T* __restrict__ x, ChannelMaps maps, Source source) {
  constexpr int V = kWidth<T>, kPixels = (V - 1) / 3 + 2;
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * V;
  const int64_t left = int64_t{3} * source.pixels() - first;
  if (left <= 0) return;
  const auto pixel = static_cast<uint32_t>(first / 3);
  const int phase = static_cast<int>(first - int64_t{3} * pixel);  // the first element's channel
  const uint8_t* in[kPixels];
#pragma unroll
  for (int i = 0; i < kPixels; ++i) {
    const uint32_t to = pixel + static_cast<uint32_t>(i);
    in[i] = images.at(source.of(to < source.pixels() ? to : pixel), 0);
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
    images_by_pixel_kernel(View<const uint8_t> images, View<T> x, bool whole, ChannelMaps maps,
                           Source source) {
  const uint32_t first = blockIdx.x * (kThreads * kPixelsOfThread) + threadIdx.x;
  uint8_t bytes[kPixelsOfThread][3];
#pragma unroll
  for (int i = 0; i < kPixelsOfThread; ++i) {
    const uint32_t pixel = first + static_cast<uint32_t>(i) * kThreads;
    if (pixel >= source.pixels()) break;
    const uint8_t* in = images.at(source.of(pixel), 0);
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

class CudaAugmentOps final : public AugmentOps {
 public:
  explicit CudaAugmentOps(Stream& stream) : stream_(stream) {}

  void prepare_images(const Tensor& images, bool mirrored, const Normalization& normalization,
                      const Tensor& x) override {
    require(images.shape.c == 3 && images.shape == x.shape, "images and x have one RGB shape");
    const ChannelMaps maps = channel_maps(normalization);
    const Source source(x.shape, mirrored);
    visit_float(x.dtype, [&](auto type) {
      using T = decltype(type);
      if (x.dense() && starts_aligned(x, kWidth<T>)) {
        const int64_t chunks = (x.shape.elements() + kWidth<T> - 1) / kWidth<T>;
        launch(stream_, images_kernel<T>, blocks_for(chunks), kThreads, 0,
               view<const uint8_t>(images), x.as<T>(), maps, source);
      } else {
        launch(stream_, images_by_pixel_kernel<T>,
               blocks_for(source.pixels(), kThreads * kPixelsOfThread), kThreads, 0,
               view<const uint8_t>(images), view<T>(x), whole_vectors_with_spare({&x}, kWidth<T>),
               maps, source);
      }
    });
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
