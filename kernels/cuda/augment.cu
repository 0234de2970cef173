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

/// A thread's run of pixels, and where it is read from.
struct Run {
  int64_t pixel;   // the first one written
  int64_t source;  // the first one read: of the run's mirror image where `flip`
  int count;
  bool flip;
};

/// Runs of `per_run` pixels of N*H rows of W pixels.
class RunLayout {
 public:
  RunLayout(const Shape& shape, int per_run)
      : runs_(((shape.w + per_run - 1) / per_run)),
        height_(shape.h),
        width_(shape.w),
        per_run_(per_run) {
    const int64_t threads = static_cast<int64_t>(shape.n) * shape.h * runs_.value();
    require(threads < (int64_t{1} << 31), "a batch of images has fewer than 2^31 pixels");
    threads_ = static_cast<uint32_t>(threads);
  }

  uint32_t threads() const { return threads_; }

  __device__ bool run(const uint8_t* flips, Run& run) const {
    const uint32_t i = blockIdx.x * kThreads + threadIdx.x;
    if (i >= threads_) return false;
    const uint32_t row = runs_.quotient(i);
    const uint32_t image = height_.quotient(row);
    const int first = static_cast<int>(i - row * runs_.value()) * per_run_;
    run.count = width_ - first < per_run_ ? width_ - first : per_run_;
    run.flip = flips != nullptr && flips[image] != 0;
    run.pixel = static_cast<int64_t>(row) * width_ + first;
    run.source =
        run.flip ? static_cast<int64_t>(row) * width_ + (width_ - first - run.count) : run.pixel;
    return true;
  }

 private:
  Divisor runs_, height_;
  uint32_t threads_ = 0;
  int width_, per_run_;
};

/// Dense, aligned rows of images whose width is a multiple of kRun.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    images_kernel(const uint8_t* __restrict__ images, const uint8_t* __restrict__ flips, View<T> x,
                  Stores stores, ChannelMaps maps, RunLayout layout) {
  Run run;
  if (!layout.run(flips, run)) return;
  const RgbRun bytes = *reinterpret_cast<const RgbRun*>(images + run.source * 3);
  float out[3 * kRun];
#pragma unroll
  for (int pixel = 0; pixel < kRun; ++pixel) {
#pragma unroll
    for (int c = 0; c < 3; ++c) {
      const int mirrored = 3 * (kRun - 1 - pixel), plain = 3 * pixel;
      const uint8_t rgb = run.flip ? bytes.byte[mirrored + c] : bytes.byte[plain + c];
      const uint8_t bgr = run.flip ? bytes.byte[mirrored + 2 - c] : bytes.byte[plain + 2 - c];
      const uint8_t byte = maps.bgr ? bgr : rgb;
      out[3 * pixel + c] = maps.channel[c](static_cast<float>(byte));
    }
  }
  store_pixels(x, run.pixel, kRun, stores, out);
}

/// Any width, any slices; runs of one pixel.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    images_by_pixel_kernel(View<const uint8_t> images, const uint8_t* __restrict__ flips, View<T> x,
                           ChannelMaps maps, RunLayout layout) {
  Run run;
  if (!layout.run(flips, run)) return;
  const uint8_t* in = images.at(run.source, 0);
  T* out = x.at(run.pixel, 0);
#pragma unroll
  for (int c = 0; c < 3; ++c) {
    out[c] = narrow<T>(maps.channel[c](static_cast<float>(in[maps.bgr ? 2 - c : c])));
  }
}

__global__ void __launch_bounds__(kThreads)
    labels_kernel(const uint8_t* __restrict__ labels, const uint8_t* __restrict__ flips,
                  uint8_t* __restrict__ out, RunLayout layout) {
  Run run;
  if (!layout.run(flips, run)) return;
  const LabelRun in = *reinterpret_cast<const LabelRun*>(labels + run.source);
  LabelRun result;
#pragma unroll
  for (int i = 0; i < kRun; ++i) result.byte[i] = run.flip ? in.byte[kRun - 1 - i] : in.byte[i];
  *reinterpret_cast<LabelRun*>(out + run.pixel) = result;
}

__global__ void __launch_bounds__(kThreads)
    labels_by_pixel_kernel(View<const uint8_t> labels, const uint8_t* __restrict__ flips,
                           View<uint8_t> out, RunLayout layout) {
  Run run;
  if (!layout.run(flips, run)) return;
  *out.at(run.pixel, 0) = *labels.at(run.source, 0);
}

class CudaAugmentOps final : public AugmentOps {
 public:
  explicit CudaAugmentOps(Stream& stream) : stream_(stream) {}

  void prepare_images(const Tensor& images, const uint8_t* flips,
                      const Normalization& normalization, const Tensor& x) override {
    require(images.shape.c == 3 && images.shape == x.shape, "images and x have one RGB shape");
    const ChannelMaps maps = channel_maps(normalization);
    visit_float(x.dtype, [&](auto type) {
      using T = decltype(type);
      const Stores stores = stores_of<T>(x);
      if (runs_aligned(images, sizeof(LabelRun)) && stores != Stores::elements) {
        const RunLayout layout(x.shape, kRun);
        launch(stream_, images_kernel<T>, blocks_for(layout.threads()), kThreads, 0,
               images.as<uint8_t>(), flips, view<T>(x), stores, maps, layout);
      } else {
        const RunLayout layout(x.shape, 1);
        launch(stream_, images_by_pixel_kernel<T>, blocks_for(layout.threads()), kThreads, 0,
               view<const uint8_t>(images), flips, view<T>(x), maps, layout);
      }
    });
  }

  void prepare_labels(const Tensor& labels, const uint8_t* flips, const Tensor& out) override {
    require(labels.shape.c == 1 && labels.shape == out.shape, "labels and out have one shape");
    if (runs_aligned(labels, sizeof(LabelRun)) && runs_aligned(out, sizeof(LabelRun))) {
      const RunLayout layout(out.shape, kRun);
      launch(stream_, labels_kernel, blocks_for(layout.threads()), kThreads, 0,
             labels.as<uint8_t>(), flips, out.as<uint8_t>(), layout);
    } else {
      const RunLayout layout(out.shape, 1);
      launch(stream_, labels_by_pixel_kernel, blocks_for(layout.threads()), kThreads, 0,
             view<const uint8_t>(labels), flips, view<uint8_t>(out), layout);
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
