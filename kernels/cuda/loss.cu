// Losses. Two launches: sums over the batch, finished by their last block, and the gradient,
// each block of which finishes the terms from them. Counts of pixels are finished in launches
// between the two, and the values of a term of the hardest pixels are summed when these are known.
// Floor: size(logits) + 1 byte a pixel for the values; with the gradient twice that and
// size(logits) written.

#include <algorithm>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/loss_counts.h"
#include "kernels/cuda/loss_edges.h"
#include "kernels/cuda/loss_finish.cuh"
#include "kernels/cuda/loss_gradient.cuh"
#include "kernels/cuda/loss_sums.cuh"
#include "kernels/loss.h"

namespace macadam::cuda {

namespace {

/// The values alone, in one block.
__global__ void __launch_bounds__(kTileThreads)
    values_kernel(LossDesc desc, LossSums at, int classes, const float* class_weights,
                  const double* __restrict__ sums, const double* rank_losses, LossValues* values) {
  auto& terms = shared<Finished>();
  finish_terms(desc, at, classes, class_weights, sums, sums + at.labeled(), rank_losses, terms);
  __syncthreads();
  if (threadIdx.x == 0) write_values(desc, at, classes, sums, terms, values);
}

/// The sums of the batch from those of its images, which are in the order of rows.
__global__ void __launch_bounds__(kTileThreads)
    add_images_kernel(LossSums at, const double* __restrict__ image_sums, int images,
                      double* sums) {
  const int width = row_width(at);
  for (int row = static_cast<int>(threadIdx.x); row < width; row += kTileThreads) {
    double total = 0;
    for (int n = 0; n < images; ++n) {
      const double* const of_image = image_sums + static_cast<int64_t>(n) * width;
      const double counts = of_image[LossSums::kPixels] > 0 ? 1 : 0;
      total += row == at.images() ? counts : of_image[row];
    }
    sums[row < at.counts() ? row : row - at.counts() + at.shared()] = total;
  }
}

/// The values alone, of region terms from the sums of images, in one block.
__global__ void __launch_bounds__(kTileThreads)
    image_values_kernel(LossDesc desc, LossSums at, int classes, const float* class_weights,
                        const double* __restrict__ sums, const double* __restrict__ image_sums,
                        int images, const double* rank_losses, LossValues* values) {
  auto& terms = shared<Finished>();
  const int thread = static_cast<int>(threadIdx.x);
  float losses[kMaxLossTerms] = {};
  for (int n = 0; n < images; ++n) {
    finish_terms(desc, at, classes, class_weights, sums,
                 image_sums + static_cast<int64_t>(n) * row_width(at) + at.labeled(), rank_losses,
                 terms);
    if (thread >= classes) continue;
    const int end_of_regions = at.pixel_terms() + at.region_terms();
    for (int k = 0; k < kMaxLossTerms; ++k) {
      losses[k] = (k < end_of_regions ? losses[k] : 0.0f) + terms.loss[k][thread];
    }
  }
  for (int k = 0; k < kMaxLossTerms && thread < classes; ++k) terms.loss[k][thread] = losses[k];
  __syncthreads();
  if (thread == 0) write_values(desc, at, classes, sums, terms, values);
}
bool reads_score_sum(const LossDesc& desc) {
  bool reads = false;
  for (const LossTerm& used : desc.used()) {
    scalar::visit_pixel_term<float>(
        used, [&](const auto& term) { reads = reads || term.label_smoothing() != 0; });
  }
  return reads;
}

template <typename T, int kPixelTerms>
auto sums_kernel_for(const LossSums& at) {
  return at.has_class_sums() ? sums_kernel<T, kPixelTerms, ClassSums::sums>
                             : sums_kernel<T, kPixelTerms, ClassSums::none>;
}
template <typename T>
auto sums_kernel_of(const LossSums& at) {
  if (at.has_counts()) return sums_kernel<T, kMaxPixelTerms, ClassSums::counts>;
  if (!at.has_plain_terms()) return sums_kernel_for<T, kMaxPixelTerms>(at);
  if (at.pixel_terms() <= 1) return sums_kernel_for<T, 1>(at);
  if (at.pixel_terms() == 2) return sums_kernel_for<T, 2>(at);
  return sums_kernel_for<T, kMaxPixelTerms>(at);
}
template <typename T>
auto gradient_kernel_of(const LossSums& at) {
  if (at.has_errors()) return gradient_kernel<T, kMaxPixelTerms, true>;
  if (!at.has_plain_terms()) return gradient_kernel<T, kMaxPixelTerms, false>;
  if (at.pixel_terms() <= 1) return gradient_kernel<T, 1, false>;
  if (at.pixel_terms() == 2) return gradient_kernel<T, 2, false>;
  return gradient_kernel<T, kMaxPixelTerms, false>;
}

class CudaLossOps final : public LossOps {
 public:
  explicit CudaLossOps(Stream& stream) : stream_(stream) {}

  size_t workspace_bytes(const LossDesc& desc, Shape logits) const override {
    const LossSums at(desc, logits.c);
    return at.bytes() + RankTables::bytes(at, logits.c) + sizeof(scalar::HardPixels) +
           Parts::image_sums_bytes(at, logits.n) + RowSums::bytes(kBlocks, row_width(at)) +
           (at.has_edges() ? to_size(logits.pixels()) * kEdgeBytes : 0);
  }

  void sums(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
            const Tensor& class_weights, void* workspace) override {
    check_loss(desc, logits, labels);
    const LossSums at(desc, logits.shape.c);
    const Parts parts(at, logits.shape, workspace);
    if (at.has_counts()) {
      zero_bytes(stream_, parts.sums + at.counts(),
                 to_size(at.shared() - at.counts()) * sizeof(double));
    }
    if (at.has_edges()) find_edges(stream_, desc, at, logits.shape.c, labels, parts.edges);
    if (!at.has_images()) {
      launch_sums(desc, at, {logits, labels, class_weights, parts.edges}, parts, parts.target(at));
      return;
    }
    for (int n = 0; n < logits.shape.n; ++n) {
      launch_sums(desc, at, image_of({logits, labels, class_weights, parts.edges}, n), parts,
                  parts.target_of_image(at, n));
    }
    launch(stream_, add_images_kernel, 1, kTileThreads, 0, at, parts.image_sums, logits.shape.n,
           parts.sums);
  }

  void gradient(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
                const Tensor& class_weights, const Tensor& d_logits, LossValues* values,
                void* workspace) override {
    check_loss(desc, logits, labels);
    require(d_logits.data == nullptr || d_logits.shape == logits.shape,
            "the gradient has the logits' shape");
    const int classes = logits.shape.c;
    const LossSums at(desc, classes);
    const Parts parts(at, logits.shape, workspace);
    const Inputs inputs{logits, labels, class_weights, parts.edges};
    if (at.has_errors()) finish_ranks(stream_, desc, at, classes, parts.sums, parts.ranks);
    if (at.has_hard()) {
      find_hardest(stream_, desc, at, classes, pointer_to(class_weights), parts.sums, parts.hard);
      SumsTarget values_alone = parts.target(at);
      values_alone.first_row = at.counts();
      launch_sums(desc, at, inputs, parts, values_alone);
    }
    if (at.has_images()) {
      launch(stream_, image_values_kernel, 1, kTileThreads, 0, desc, at, classes,
             pointer_to(class_weights), parts.sums, parts.image_sums, logits.shape.n,
             parts.ranks.losses, values);
      for (int n = 0; n < logits.shape.n && d_logits.data != nullptr; ++n) {
        launch_gradient(desc, at, image_of(inputs, n), parts,
                        parts.target_of_image(at, n).sums + at.labeled(), image_of(d_logits, n),
                        nullptr);
      }
    } else if (d_logits.data == nullptr) {
      launch(stream_, values_kernel, 1, kTileThreads, 0, desc, at, classes,
             pointer_to(class_weights), parts.sums, parts.ranks.losses, values);
    } else {
      launch_gradient(desc, at, inputs, parts, parts.sums + at.labeled(), d_logits, values);
    }
  }

 private:
  /// Of the workspace.
  struct Parts {
    double* sums;
    RankTables ranks;
    scalar::HardPixels* hard;
    double* image_sums;  // rows of sums, one an image
    void* rows;
    uint8_t* edges;

    Parts(const LossSums& at, Shape logits, void* workspace)
        : sums(static_cast<double*>(workspace)), ranks(at, logits.c, sums + at.count()) {
      std::byte* const behind_ranks =
          reinterpret_cast<std::byte*>(sums + at.count()) + RankTables::bytes(at, logits.c);
      hard = reinterpret_cast<scalar::HardPixels*>(behind_ranks);
      image_sums = reinterpret_cast<double*>(hard + 1);
      std::byte* const behind_images =
          reinterpret_cast<std::byte*>(image_sums) + image_sums_bytes(at, logits.n);
      rows = behind_images;
      edges = reinterpret_cast<uint8_t*>(behind_images + RowSums::bytes(kBlocks, row_width(at)));
    }
    static size_t image_sums_bytes(const LossSums& at, int images) {
      return at.has_images() ? to_size(int64_t{images} * row_width(at)) * sizeof(double) : 0;
    }

    SumsTarget target(const LossSums& at) const {
      return {sums + at.counts(), sums, sums + at.shared()};
    }
    SumsTarget target_of_image(const LossSums& at, int n) const {
      double* const of_image = image_sums + int64_t{n} * row_width(at);
      return {sums + at.counts(), of_image, of_image + at.counts()};
    }
  };

  /// What a call reads.
  struct Inputs {
    Tensor logits, labels, class_weights;
    const uint8_t* edges;
  };

  static Tensor image_of(const Tensor& batch, int n) {
    Tensor image = batch;
    image.shape.n = 1;
    image.data =
        static_cast<std::byte*>(batch.data) +
        n * image.shape.pixels() * batch.pixel_stride * static_cast<int64_t>(size_of(batch.dtype));
    return image;
  }
  static Inputs image_of(const Inputs& batch, int n) {
    const Tensor logits = image_of(batch.logits, n);
    return {logits, image_of(batch.labels, n), batch.class_weights,
            batch.edges + n * logits.shape.pixels()};
  }

  /// All sums, or, of those of pixel terms alone, when it is known which pixels the hardest are.
  void launch_sums(const LossDesc& desc, const LossSums& at, const Inputs& inputs,
                   const Parts& parts, const SumsTarget& to) {
    const DType dtype = inputs.logits.dtype;
    const TileLayout layout = tile_layout(inputs.logits);
    const unsigned blocks = blocks_of(layout);
    const RowSums rows(stream_, parts.rows, static_cast<int>(blocks), row_width(at));
    const bool values_alone = to.first_row > 0;
    visit_float(dtype, [&](auto type) {
      using T = decltype(type);
      launch(stream_,
             values_alone ? sums_kernel<T, kMaxPixelTerms, ClassSums::none> : sums_kernel_of<T>(at),
             blocks, kTileThreads, tile_bytes(layout, dtype),
             batch_of<T>(desc, at, inputs, layout, values_alone ? parts.hard : nullptr), desc, at,
             rows, to);
    });
  }

  void launch_gradient(const LossDesc& desc, const LossSums& at, const Inputs& inputs,
                       const Parts& parts, const double* region_sums, const Tensor& d_logits,
                       LossValues* values) {
    const DType dtype = inputs.logits.dtype;
    const TileLayout layout = tile_layout(inputs.logits);
    visit_float(dtype, [&](auto type) {
      using T = decltype(type);
      launch(stream_, gradient_kernel_of<T>(at), blocks_of(layout), kTileThreads,
             tile_bytes(layout, dtype),
             batch_of<T>(desc, at, inputs, layout, at.has_hard() ? parts.hard : nullptr), desc, at,
             parts.sums, region_sums, parts.ranks, view<T>(d_logits),
             contiguous_tiles(d_logits, layout), values);
    });
  }

  static unsigned blocks_of(const TileLayout& layout) {
    return std::min(blocks_for(layout.pixels, layout.tile), static_cast<unsigned>(kBlocks));
  }

  static const float* pointer_to(const Tensor& class_weights) {
    return class_weights.data ? class_weights.as<float>() : nullptr;
  }

  template <typename T>
  static Batch<T> batch_of(const LossDesc& desc, const LossSums& at, const Inputs& inputs,
                           const TileLayout& layout, const scalar::HardPixels* hard) {
    return {view<const T>(inputs.logits),
            view<const uint8_t>(inputs.labels),
            pointer_to(inputs.class_weights),
            layout,
            contiguous_tiles(inputs.logits, layout),
            desc.ignore,
            reads_score_sum(desc),
            hard,
            at.has_edges() ? inputs.edges : nullptr};
  }

  Stream& stream_;
};

}  // namespace

std::unique_ptr<LossOps> make_loss_ops(Stream& stream) {
  return std::make_unique<CudaLossOps>(stream);
}

}  // namespace macadam::cuda
