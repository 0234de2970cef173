// Batch normalisation. Floors, in passes over a tensor of x's size: train 3 (x for the statistics,
// x again, y), infer 2, backward 5 (x and dy for the sums, both again, dx), whatever the
// activation; with a residual addition norm_skip.cuh says which. Where the channels' pixels fit
// into registers (held_columns.cuh), what is read twice is read once: train 2, backward 3. Between
// two passes of one call a tensor smaller than the L2 cache need not be read again.

#include <type_traits>

#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/held_columns.cuh"
#include "kernels/cuda/norm_passes.cuh"
#include "kernels/cuda/norm_skip.cuh"
#include "kernels/norm.h"
#include "kernels/scalar/activation.h"
#include "kernels/scalar/normalize.h"

namespace macadam::cuda {

namespace {

using scalar::Affine;
using scalar::BatchNormGradient;

/// What backward() will need of statistics that are constants.
__global__ void __launch_bounds__(kThreads)
    save_running(const float* __restrict__ mean, const float* __restrict__ var, float eps,
                 float* __restrict__ saved_mean, float* __restrict__ saved_inv_std, int channels) {
  const int channel = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (channel >= channels) return;
  saved_mean[channel] = mean[channel];
  saved_inv_std[channel] = scalar::inverse_std(var[channel], eps);
}

/// One filter a block: its weights times the batch norm's scale, and the bias that goes with them.
__global__ void __launch_bounds__(kThreads)
    fold_kernel(RunningMaps maps, const float* __restrict__ weights, const float* __restrict__ bias,
                float* __restrict__ folded_weights, float* __restrict__ folded_bias,
                int64_t per_filter) {
  const auto filter = static_cast<int>(blockIdx.x);
  const Affine map = maps(filter);
  const int64_t begin = filter * per_filter;
  for (int64_t i = threadIdx.x; i < per_filter; i += kThreads) {
    folded_weights[begin + i] = weights[begin + i] * map.scale;
  }
  if (threadIdx.x == 0) folded_bias[filter] = map(bias != nullptr ? bias[filter] : 0.0f);
}

/// One element of product = second * first a thread, a filter a row of the grid.
__global__ void __launch_bounds__(kThreads)
    compose_kernel(const float* __restrict__ first, const float* __restrict__ first_bias,
                   const float* __restrict__ second, const float* __restrict__ second_bias,
                   float* __restrict__ product, float* __restrict__ product_bias, int middle,
                   int64_t columns) {
  const auto filter = static_cast<int64_t>(blockIdx.y);
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const float* const factors = second + filter * middle;
  if (column < columns) {
    float sum = 0.0f;
    for (int m = 0; m < middle; ++m) sum += factors[m] * first[m * columns + column];
    product[filter * columns + column] = sum;
  }
  if (column == 0) {
    double sum = second_bias[filter];
    for (int m = 0; m < middle; ++m) {
      sum += static_cast<double>(factors[m]) * static_cast<double>(first_bias[m]);
    }
    product_bias[filter] = static_cast<float>(sum);
  }
}

/// The chunks' partial sums, then a map a channel.
struct Workspace {
  void* sums;
  void* maps;

  Workspace(void* data, const Shape& shape)
      : sums(data), maps(static_cast<std::byte*>(data) + sums_bytes(shape)) {}

  /// More than gradient_chunks() need.
  static size_t sums_bytes(const Shape& shape) {
    return column_sums_bytes(sum_chunks(shape), shape.c, 2);
  }
  static size_t bytes(const Shape& shape) {
    return sums_bytes(shape) + static_cast<size_t>(shape.c) * sizeof(BatchNormGradient);
  }
};
static_assert(sizeof(BatchNormGradient) >= sizeof(Affine));

class CudaNormOps final : public NormOps {
 public:
  explicit CudaNormOps(Stream& stream)
      : stream_(stream),
        clusters_(
            runs_clusters(stream,
                          held_columns<kWidth<bf16>, GradientSums<bf16, scalar::Silu, NoMeans>,
                                       FinishGradient, InputGradient<bf16, scalar::Silu, NoMeans>>,
                          kHeldThreads)) {}

  size_t workspace_bytes(Shape shape) const override { return Workspace::bytes(shape); }

  void train(const BatchNormDesc& desc, const Tensor& x, const Tensor& gamma, const Tensor& beta,
             const Tensor& running_mean, const Tensor& running_var, const Tensor& saved_mean,
             const Tensor& saved_inv_std, const Tensor& skip, const Tensor& y,
             void* workspace) override {
    check_train(desc, x, skip, y);
    if (desc.frozen) {
      launch(stream_, save_running, blocks_for(x.shape.c), kThreads, 0, running_mean.as<float>(),
             running_var.as<float>(), desc.eps, saved_mean.as<float>(), saved_inv_std.as<float>(),
             x.shape.c);
      const RunningMaps maps{gamma.as<float>(), beta.as<float>(), running_mean.as<float>(),
                             running_var.as<float>(), desc.eps};
      visit_float(x.dtype, [&](auto type) { normalize<decltype(type)>(desc, x, skip, y, maps); });
      return;
    }
    const Workspace space(workspace, x.shape);
    auto* maps = static_cast<Affine*>(space.maps);
    visit_float(x.dtype, [&](auto type) {
      using T = decltype(type);
      const auto in = view<const T>(x);
      const Moments<T> moments{in};
      const FinishMoments<T> finish{in.data,
                                    gamma.as<float>(),
                                    beta.as<float>(),
                                    running_mean.as<float>(),
                                    running_var.as<float>(),
                                    saved_mean.as<float>(),
                                    saved_inv_std.as<float>(),
                                    maps,
                                    static_cast<double>(x.shape.pixels()),
                                    desc.eps,
                                    desc.momentum};
      with_map<T>(
          desc, x, skip, y, StoredMaps{maps}, [&](const ColumnLayout& all, const auto& map) {
            sum_and_map(column_layout({&x}, sum_chunks(x.shape)), all, moments, finish, map, space);
          });
    });
  }

  void infer(const BatchNormDesc& desc, const Tensor& x, const Tensor& gamma, const Tensor& beta,
             const Tensor& running_mean, const Tensor& running_var, const Tensor& y) override {
    const RunningMaps maps{gamma.as<float>(), beta.as<float>(), running_mean.as<float>(),
                           running_var.as<float>(), desc.eps};
    require(!desc.adds, "batch norm: infer() adds nothing");
    visit_float(x.dtype, [&](auto type) { normalize<decltype(type)>(desc, x, {}, y, maps); });
  }

  void backward(const BatchNormDesc& desc, const Tensor& x, const Tensor& dy, const Tensor& dmeans,
                const Tensor& gamma, const Tensor& beta, const Tensor& saved_mean,
                const Tensor& saved_inv_std, const SkipGradient& skip, const Tensor& dx,
                const Tensor& dgamma, const Tensor& dbeta, void* workspace) override {
    check_backward(desc, x, dy, dmeans, skip, dx);
    const Workspace space(workspace, x.shape);
    auto* maps = static_cast<BatchNormGradient*>(space.maps);
    const SavedMaps saved{gamma.as<float>(), beta.as<float>(), saved_mean.as<float>(),
                          saved_inv_std.as<float>()};
    visit_float(x.dtype, [&](auto type) {
      using T = decltype(type);
      const auto in = view<const T>(x), gradient = view<const T>(dy);
      const FinishGradient finish{gamma.as<float>(),
                                  saved_mean.as<float>(),
                                  saved_inv_std.as<float>(),
                                  dgamma.as<float>(),
                                  dbeta.as<float>(),
                                  maps,
                                  static_cast<double>(x.shape.pixels()),
                                  desc.frozen};
      if (desc.adds) {
        if (desc.backward_reads_output()) {
          added_backward<T, true>(desc, x, dy, skip, dx, finish, space);
        } else {
          added_backward<T, false>(desc, x, dy, skip, dx, finish, space);
        }
        return;
      }
      scalar::visit_activation(desc.activation, [&](auto activation) {
        using F = decltype(activation);
        const auto run = [&](const auto& means, const auto& layout) {
          using Means = std::decay_t<decltype(means)>;
          const ColumnLayout sums = layout(column_layout({&x, &dy}, gradient_chunks(x.shape)));
          const GradientSums<T, F, Means> source{in, gradient, means, saved, activation};
          if (dx.data == nullptr) {
            launch_column_sums(stream_, sums, source, finish, space.sums);
            return;
          }
          const InputGradient<T, F, Means> map{in,    gradient, means,     view<T>(dx),
                                               saved, maps,     activation};
          sum_and_map(sums, layout(column_layout({&x, &dy, &dx})), source, finish, map, space);
        };
        if (dmeans.data == nullptr) {
          run(NoMeans{}, [](const ColumnLayout& layout) { return layout; });
        } else {
          run(MeanGradient<T>(dmeans, x.shape),
              [&](const ColumnLayout& layout) { return with_factors(layout, dmeans); });
        }
      });
    });
  }

  void fold(const BatchNormDesc& desc, const Tensor& weights, const Tensor& bias,
            const Tensor& gamma, const Tensor& beta, const Tensor& running_mean,
            const Tensor& running_var, const Tensor& folded_weights,
            const Tensor& folded_bias) override {
    require(weights.dense() && weights.shape == folded_weights.shape, "fold: weights match");
    const RunningMaps maps{gamma.as<float>(), beta.as<float>(), running_mean.as<float>(),
                           running_var.as<float>(), desc.eps};
    const auto filters = static_cast<unsigned>(weights.shape.n);
    launch(stream_, fold_kernel, filters, kThreads, 0, maps, weights.as<float>(),
           static_cast<const float*>(bias.data), folded_weights.as<float>(),
           folded_bias.as<float>(), weights.shape.elements() / weights.shape.n);
  }

  void compose(const Tensor& first, const Tensor& first_bias, const Tensor& second,
               const Tensor& second_bias, const Tensor& product,
               const Tensor& product_bias) override {
    check_compose(first, first_bias, second, second_bias, product, product_bias);
    const int filters = second.shape.n, middle = second.shape.c;
    const int64_t columns = first.shape.elements() / middle;
    require(filters < (1 << 16), "compose: a row of blocks for each filter");
    launch(stream_, compose_kernel, dim3(blocks_for(columns), static_cast<unsigned>(filters)),
           kThreads, 0, first.as<float>(), first_bias.as<float>(), second.as<float>(),
           second_bias.as<float>(), product.as<float>(), product_bias.as<float>(), middle, columns);
  }

 private:
  /// f(layout, op) with the pass that writes y.
  template <typename T, typename Maps, typename F>
  static void with_map(const BatchNormDesc& desc, const Tensor& x, const Tensor& skip,
                       const Tensor& y, const Maps& maps, const F& f) {
    if (!desc.adds) {
      f(column_layout({&x, &y}),
        Normalize<T, Maps>{view<const T>(x), view<T>(y), maps, desc.activation});
      return;
    }
    f(column_layout({&x, &skip, &y}),
      NormalizeAndAdd<T, Maps>{view<const T>(x), view<const T>(skip), view<T>(y), maps,
                               SampleFactors(desc.drop_path, x.shape),
                               desc.activation == Activation::relu});
  }

  template <typename T, typename Maps>
  void normalize(const BatchNormDesc& desc, const Tensor& x, const Tensor& skip, const Tensor& y,
                 const Maps& maps) {
    with_map<T>(desc, x, skip, y, maps, [&](const ColumnLayout& layout, const auto& map) {
      launch_column_map(stream_, layout, map);
    });
  }

  /// Sums, and the map that needs them: one launch where the channels fit. `all` is the layout of
  /// the map, and is whole vectors if that of the sums is.
  template <typename Source, typename Finish, typename Map>
  void sum_and_map(const ColumnLayout& sums, const ColumnLayout& all, const Source& source,
                   const Finish& finish, const Map& map, const Workspace& space) {
    if (hold(sums, all, source, finish, map)) return;
    launch_column_sums(stream_, sums, source, finish, space.sums);
    launch_column_map(stream_, all, map);
  }

  /// The one launch, or false.
  template <typename Source, typename Finish, typename Map>
  bool hold(const ColumnLayout& sums, const ColumnLayout& all, const Source& source,
            const Finish& finish, const Map& map) {
    constexpr int kVector = kWidth<typename Source::Element>;
    const HeldLayout held = sums.vectorized ? held_layout(all, kVector, clusters_) : HeldLayout{};
    if (held.clusters > 0) launch_held(stream_, held, source, finish, map);
    return held.clusters > 0;
  }

  template <typename T, bool Relu>
  void added_backward(const BatchNormDesc& desc, const Tensor& x, const Tensor& dy,
                      const SkipGradient& skip, const Tensor& dx, const FinishGradient& finish,
                      const Workspace& space) {
    const SampleFactors factors(desc.drop_path, x.shape);
    const Tensor& y = Relu ? skip.y : dy;
    const bool written = skip.dskip.data != nullptr && (Relu || skip.dskip.data != dy.data);
    const Tensor& dskip = written ? skip.dskip : dy;
    const SumGradient<T, Relu> sum{view<const T>(dy), view<const T>(y)};
    const auto in = view<const T>(x);
    const ColumnLayout sums = column_layout({&x, &dy, &y, &dskip}, gradient_chunks(x.shape));
    const AddedGradientSums<T, Relu> source{
        in, sum, written ? view<T>(dskip) : View<T>{}, skip.accumulate, finish.mean, factors};
    if (dx.data == nullptr) {
      launch_column_sums(stream_, sums, source, finish, space.sums);
      return;
    }
    const auto out = view<T>(dx);
    // The gradient of the sum lies in dskip, or is dy, or is held, or is made again.
    const bool again = Relu && (skip.accumulate || !written);
    const Tensor& made = written && !skip.accumulate ? dskip : dy;
    const ColumnLayout all =
        again ? column_layout({&x, &dy, &y, &dx}) : column_layout({&x, &made, &dx});
    const AddedInputGradient<T, false> map{
        in, {view<const T>(made), view<const T>(made)}, out, finish.map, factors};
    if (!again) {
      sum_and_map(sums, all, source, finish, map, space);
    } else if (!hold(sums, all, source, finish, map)) {
      launch_column_sums(stream_, sums, source, finish, space.sums);
      launch_column_map(stream_, all,
                        AddedInputGradient<T, Relu>{in, sum, out, finish.map, factors});
    }
  }

  Stream& stream_;
  bool clusters_;
};

}  // namespace

std::unique_ptr<NormOps> make_norm_ops(Stream& stream) {
  return std::make_unique<CudaNormOps>(stream);
}

}  // namespace macadam::cuda
