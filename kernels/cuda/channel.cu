// What an image's channels need as a whole. Floors, in passes over a tensor of x's size: mean and
// mean_backward 1, scale and add_bias 2, scale_backward 3 (x, dy, dx), of which dx or
// dfactors alone are 2. An accumulating call reads dx once more.

#include "kernels/channel.h"
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/cuda_ops.h"

namespace macadam::cuda {

namespace {

/// The blocks that share out the pixels of one image in a sum: a function of the shape alone.
int image_chunks(const Shape& shape) {
  const int one_image = sum_chunks({1, shape.h, shape.w, shape.c});
  const int64_t channel_tiles = (shape.c + kTileChannels - 1) / kTileChannels;
  return static_cast<int>(
      std::clamp<int64_t>(kShareBlocks / (channel_tiles * shape.n), 1, one_image));
}

/// How the images of a call are cut. The columns are the pixels of one of them.
struct ImageLayout {
  ColumnLayout columns;
  unsigned images = 1;

  /// `chunks` = 0: those of a map. `factors`, where given, take part in the choice of vectors.
  ImageLayout(std::initializer_list<const Tensor*> tensors, int images_, int chunks,
              const Tensor* factors = nullptr)
      : columns(column_layout(tensors, 1)), images(static_cast<unsigned>(images_)) {
    if (factors != nullptr) columns = with_factors(columns, *factors);
    columns.pixels /= images_;
    columns.chunks =
        chunks > 0 ? chunks
                   : map_chunks(columns.pixels, columns.rows, columns.channel_tiles * images_);
  }

  dim3 grid() const {
    return dim3(static_cast<unsigned>(columns.chunks), static_cast<unsigned>(columns.channel_tiles),
                images);
  }
};

template <int V>
struct ImageSumsShared {
  float value[V][kThreads];
};

/// One pass over every image. A thread's work = pass.start<V>(image, first channel) has
/// fetch(pixel, held), which loads a pixel into Pass::Held<V>, and take(pixel, held, sum);
/// Pass::kTogether pixels are fetched at once. Where Pass::kSums, what it adds to `sum` is added
/// up, and store(image * channels + channel, sum) is called. rows: one a chunk, [image][channel].
/// The blocks of an image take turns at its pixels, so that together they sweep memory once.
template <int V, typename Pass, typename Store>
__global__ void __launch_bounds__(kThreads, kShareBlocksPerProcessor)
    image_pass(Pass pass, ColumnLayout layout, Store store, RowSums rows) {
  const ColumnPlace place(layout, V);
  const int image = static_cast<int>(blockIdx.z);
  float sum[V] = {};
  if (place.active) {
    using Held = typename Pass::template Held<V>;
    const auto work = pass.template start<V>(image, place.channel);
    const int64_t begin = image * layout.pixels;
    const int64_t first = begin + static_cast<int64_t>(blockIdx.x) * layout.rows + place.row;
    const int64_t step = static_cast<int64_t>(gridDim.x) * layout.rows;
    for_pixels<Pass::kTogether, Held>(
        first, begin + layout.pixels, step,
        [&](int64_t pixel, Held& held) { work.fetch(pixel, held); },
        [&](int64_t pixel, const Held& held) { work.take(pixel, held, sum); });
  }
  if constexpr (Pass::kSums) {
    auto& sums = shared<ImageSumsShared<V>>().value;
    const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int i = 0; i < V; ++i) sums[i][thread] = sum[i];
    for (int height = layout.rows; height > 1;) {
      const int half = (height + 1) / 2;
      __syncthreads();
      if (place.row + half < height) {
#pragma unroll
        for (int i = 0; i < V; ++i) sums[i][thread] += sums[i][thread + half * layout.tile];
      }
      height = half;
    }
    const int64_t begin = static_cast<int64_t>(image) * layout.channels;
    if (place.row == 0 && place.active) {
      float* out = rows.row(blockIdx.x) + begin + place.channel;
#pragma unroll
      for (int i = 0; i < V; ++i) out[i] = sums[i][thread];
    }
    const int first = static_cast<int>(blockIdx.y) * kTileChannels;
    const int left = layout.channels - first;
    rows.template finish<1>(
        blockIdx.x, blockIdx.z * gridDim.y + blockIdx.y,
        left < kTileChannels ? left : kTileChannels, [&](int i, int) { return begin + first + i; },
        [&](int i, const double(&total)[1]) { store(begin + first + i, total[0]); });
  }
}

template <typename T>
struct StoreScaled {
  T* data;
  double factor;

  __device__ void operator()(int64_t column, double sum) const {
    data[column] = narrow<T>(static_cast<float>(sum * factor));
  }
};

/// Of passes without sums.
struct StoreNothing {};

template <typename Pass, typename Store = StoreNothing>
void launch_pass(Stream& stream, const ImageLayout& images, const Pass& pass,
                 const Store& store = {}, void* workspace = nullptr) {
  const ColumnLayout& layout = images.columns;
  const auto kernel = layout.vectorized ? image_pass<kWidth<typename Pass::Element>, Pass, Store>
                                        : image_pass<1, Pass, Store>;
  RowSums rows;
  if (Pass::kSums) {
    const auto count = static_cast<int>(images.images);
    rows = RowSums(stream, workspace, layout.chunks, int64_t{count} * layout.channels,
                   count * layout.channel_tiles);
  }
  launch(stream, kernel, images.grid(), kThreads, 0, pass, layout, store, rows);
}

/// Sums of x.
template <typename T>
struct Sum {
  using Element = T;
  static constexpr bool kSums = true;
  static constexpr int kTogether = 4;

  View<const T> x;

  template <int V>
  struct Held {
    Chunk<T, V> x;
  };

  template <int V>
  struct Work {
    View<const T> x;
    int channel;

    __device__ void fetch(int64_t pixel, Held<V>& held) const {
      held.x = chunk_at<V>(x.at(pixel, channel));
    }
    __device__ void take(int64_t, const Held<V>& held, float (&sum)[V]) const {
#pragma unroll
      for (int i = 0; i < V; ++i) sum[i] += widen(held.x.lane[i]);
    }
  };

  template <int V>
  __device__ Work<V> start(int, int channel) const {
    return {x, channel};
  }
};

/// y = value for every pixel, with value = values * factor.
template <typename T>
struct Spread {
  using Element = T;
  static constexpr bool kSums = false;
  static constexpr int kTogether = 4;

  View<const T> values;  // {N, 1, 1, C}
  View<T> y;
  float factor;
  bool accumulate;

  template <int V>
  struct Held {
    Chunk<T, V> before;
  };

  template <int V>
  struct Work {
    View<T> y;
    int channel;
    bool accumulate;
    float value[V];

    __device__ void fetch(int64_t pixel, Held<V>& held) const {
      if (accumulate) held.before = chunk_at<V>(y.at(pixel, channel));
    }
    __device__ void take(int64_t pixel, const Held<V>& held, float (&)[V]) const {
      float v[V];
#pragma unroll
      for (int i = 0; i < V; ++i) {
        v[i] = value[i] + (accumulate ? widen(held.before.lane[i]) : 0.0f);
      }
      store<V>(y.at(pixel, channel), V, v);
    }
  };

  template <int V>
  __device__ Work<V> start(int image, int channel) const {
    Work<V> work{y, channel, accumulate, {}};
    load<V>(values.at(image, channel), V, work.value);
#pragma unroll
    for (int i = 0; i < V; ++i) work.value[i] *= factor;
    return work;
  }
};

/// y = x * factors.
template <typename T>
struct Scale {
  using Element = T;
  static constexpr bool kSums = false;
  static constexpr int kTogether = 2;

  View<const T> x;
  View<const T> factors;  // {N, 1, 1, C}
  View<T> y;
  bool accumulate;

  template <int V>
  struct Held {
    Chunk<T, V> x, before;
  };

  template <int V>
  struct Work {
    View<const T> x;
    View<T> y;
    int channel;
    bool accumulate;
    float factor[V];

    __device__ void fetch(int64_t pixel, Held<V>& held) const {
      held.x = chunk_at<V>(x.at(pixel, channel));
      if (accumulate) held.before = chunk_at<V>(y.at(pixel, channel));
    }
    __device__ void take(int64_t pixel, const Held<V>& held, float (&)[V]) const {
      float v[V];
#pragma unroll
      for (int i = 0; i < V; ++i) {
        v[i] = widen(held.x.lane[i]) * factor[i];
        if (accumulate) v[i] += widen(held.before.lane[i]);
      }
      store<V>(y.at(pixel, channel), V, v);
    }
  };

  template <int V>
  __device__ Work<V> start(int image, int channel) const {
    Work<V> work{x, y, channel, accumulate, {}};
    load<V>(factors.at(image, channel), V, work.factor);
    return work;
  }
};

/// Sums of x * dy, and `kInput` dx = dy * factors on the way.
template <typename T, bool kInput>
struct ScaleGradient {
  using Element = T;
  static constexpr bool kSums = true;
  static constexpr int kTogether = 2;

  View<const T> x, dy;
  View<const T> factors;  // {N, 1, 1, C}
  View<T> dx;
  bool accumulate;

  template <int V>
  struct Held {
    Chunk<T, V> x, dy, before;
  };

  template <int V>
  struct Work {
    View<const T> x, dy;
    View<T> dx;
    int channel;
    bool accumulate;
    Chunk<T, V> factor;

    __device__ void fetch(int64_t pixel, Held<V>& held) const {
      held.x = chunk_at<V>(x.at(pixel, channel));
      held.dy = chunk_at<V>(dy.at(pixel, channel));
      if (kInput && accumulate) held.before = chunk_at<V>(dx.at(pixel, channel));
    }
    __device__ void take(int64_t pixel, const Held<V>& held, float (&sum)[V]) const {
      float v[V];
#pragma unroll
      for (int i = 0; i < V; ++i) {
        const float gradient = widen(held.dy.lane[i]);
        sum[i] += gradient * widen(held.x.lane[i]);
        v[i] = gradient * widen(factor.lane[i]);
        if (accumulate) v[i] += widen(held.before.lane[i]);
      }
      if (kInput) store<V>(dx.at(pixel, channel), V, v);
    }
  };

  template <int V>
  __device__ Work<V> start(int image, int channel) const {
    Work<V> work{x, dy, dx, channel, kInput && accumulate, {}};
    if (kInput) {
      work.factor = chunk_at<V>(factors.at(image, channel));
    }
    return work;
  }
};

/// y = x + bias.
template <typename T>
struct AddBias {
  using Element = T;
  static constexpr bool kSums = false;
  static constexpr int kTogether = 4;

  View<const T> x;
  const float* bias;
  View<T> y;

  template <int V>
  struct Held {
    Chunk<T, V> x;
  };

  template <int V>
  struct Work {
    View<const T> x;
    View<T> y;
    int channel;
    float bias[V];

    __device__ void fetch(int64_t pixel, Held<V>& held) const {
      held.x = chunk_at<V>(x.at(pixel, channel));
    }
    __device__ void take(int64_t pixel, const Held<V>& held, float (&)[V]) const {
      float v[V];
#pragma unroll
      for (int i = 0; i < V; ++i) v[i] = widen(held.x.lane[i]) + bias[i];
      store<V>(y.at(pixel, channel), V, v);
    }
  };

  template <int V>
  __device__ Work<V> start(int, int channel) const {
    Work<V> work{x, y, channel, {}};
#pragma unroll
    for (int i = 0; i < V; ++i) work.bias[i] = bias[channel + i];
    return work;
  }
};

/// One value an image and channel of x.
void require_factors(const Tensor& factors, const Tensor& x) {
  require(factors.shape == Shape{x.shape.n, 1, 1, x.shape.c} && factors.dtype == x.dtype,
          "channel ops: one factor an image and channel");
}

/// The same, to be written.
void require_results(const Tensor& results, const Tensor& x) {
  require_factors(results, x);
  require(results.dense(), "channel ops: dense means and gradients of factors");
}

class CudaChannelOps final : public ChannelOps {
 public:
  explicit CudaChannelOps(Stream& stream) : stream_(stream) {}

  size_t workspace_bytes(Shape shape) const override {
    return RowSums::bytes(image_chunks(shape), int64_t{shape.n} * shape.c);
  }

  void mean(const Tensor& x, const Tensor& y, void* workspace) override {
    require_results(y, x);
    const ImageLayout layout({&x}, x.shape.n, image_chunks(x.shape));
    visit_float(x.dtype, [&](auto type) {
      using T = decltype(type);
      const StoreScaled<T> store{y.as<T>(), 1.0 / static_cast<double>(layout.columns.pixels)};
      launch_pass(stream_, layout, Sum<T>{view<const T>(x)}, store, workspace);
    });
  }

  void mean_backward(const Tensor& dy, const Tensor& dx, bool accumulate) override {
    require_factors(dy, dx);
    const ImageLayout layout({&dx}, dx.shape.n, 0, &dy);
    visit_float(dx.dtype, [&](auto type) {
      using T = decltype(type);
      const float factor = 1.0f / static_cast<float>(layout.columns.pixels);
      launch_pass(stream_, layout, Spread<T>{view<const T>(dy), view<T>(dx), factor, accumulate});
    });
  }

  void scale(const Tensor& x, const Tensor& factors, const Tensor& y) override {
    scale_into(x, factors, y, false);
  }

  void scale_backward(const Tensor& x, const Tensor& factors, const Tensor& dy, const Tensor& dx,
                      bool accumulate, const Tensor& dfactors, void* workspace) override {
    if (dfactors.data == nullptr) {
      if (dx.data != nullptr) scale_into(dy, factors, dx, accumulate);
      return;
    }
    require_results(dfactors, dy);
    const bool input = dx.data != nullptr;
    if (input) require_factors(factors, dy);
    const int chunks = image_chunks(dy.shape);
    const ImageLayout layout = input ? ImageLayout({&dy, &x, &dx}, dy.shape.n, chunks, &factors)
                                     : ImageLayout({&dy, &x}, dy.shape.n, chunks);
    visit_float(dy.dtype, [&](auto type) {
      using T = decltype(type);
      const auto in = view<const T>(x), gradient = view<const T>(dy);
      const StoreScaled<T> store{dfactors.as<T>(), 1.0};
      if (input) {
        launch_pass(
            stream_, layout,
            ScaleGradient<T, true>{in, gradient, view<const T>(factors), view<T>(dx), accumulate},
            store, workspace);
      } else {
        launch_pass(stream_, layout, ScaleGradient<T, false>{in, gradient, {}, {}, false}, store,
                    workspace);
      }
    });
  }

  void add_bias(const Tensor& x, const Tensor& bias, const Tensor& y) override {
    require(bias.shape == Shape{1, 1, 1, x.shape.c}, "channel ops: one bias a channel");
    const ImageLayout all({&x, &y}, 1, 0);
    visit_float(x.dtype, [&](auto type) {
      using T = decltype(type);
      launch_pass(stream_, all, AddBias<T>{view<const T>(x), bias.as<float>(), view<T>(y)});
    });
  }

 private:
  void scale_into(const Tensor& x, const Tensor& factors, const Tensor& y, bool accumulate) {
    require_factors(factors, x);
    const ImageLayout layout({&x, &y}, x.shape.n, 0, &factors);
    visit_float(x.dtype, [&](auto type) {
      using T = decltype(type);
      launch_pass(stream_, layout,
                  Scale<T>{view<const T>(x), view<const T>(factors), view<T>(y), accumulate});
    });
  }

  Stream& stream_;
};

}  // namespace

std::unique_ptr<ChannelOps> make_channel_ops(Stream& stream) {
  return std::make_unique<CudaChannelOps>(stream);
}

}  // namespace macadam::cuda
