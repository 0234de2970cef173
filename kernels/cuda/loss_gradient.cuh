#pragma once
// A loss's gradient.

#include "kernels/cuda/loss_counts.h"
#include "kernels/cuda/loss_finish.cuh"
#include "kernels/cuda/loss_pixels.cuh"

namespace macadam::cuda {

/// A thread turns its pixel's logits into their gradient, in place in the tile.
template <typename T, int kPixelTerms, bool kRanks>
__global__ void __launch_bounds__(kTileThreads, kBlocksThatFit)
    gradient_kernel(Batch<T> batch, LossDesc desc, LossSums at, const double* __restrict__ sums,
                    const double* __restrict__ region_sums, RankTables ranks, View<T> d_logits,
                    bool contiguous_out, LossValues* values) {
  auto& terms = shared<Finished>();
  T* tile = dynamic_shared<T>();
  const TileLayout& layout = batch.layout;
  const int thread = static_cast<int>(threadIdx.x);
  const int classes = layout.channels;
  finish_terms(desc, at, classes, batch.weights, sums, region_sums, ranks.losses, terms);
  if (blockIdx.x == 0 && values != nullptr) {
    __syncthreads();
    if (thread == 0) write_values(desc, at, classes, sums, terms, values);
  }
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * layout.tile; first < layout.pixels;
       first += static_cast<int64_t>(gridDim.x) * layout.tile) {
    const int64_t left = layout.pixels - first;
    const int count = left < layout.tile ? static_cast<int>(left) : layout.tile;
    load_tile(batch.logits, batch.contiguous, layout, first, count, tile);
    __syncthreads();
    if (thread < count) {
      T* row = tile + thread * layout.row;
      const int label = batch.label(first + thread);
      if (label < 0) {
        for (int c = 0; c < classes; ++c) row[c] = narrow<T>(0.0f);
      } else {
        const Scores<T> scores{row};
        // Back through softmax, a derivative q_c by p_c becomes p_c * (q_c - sum_k p_k q_k).
        float dot = 0;
        const scalar::SoftmaxStats stats =
            scalar::softmax_stats(scores, classes, [&](int c, float e) {
              if (at.has_class_sums()) dot += e * (c == label ? terms.hit[c] : terms.miss[c]);
            });
        const float lse = stats.log_sum_exp();
        dot /= stats.sum;
        const auto by_rank = [&](int c, float p) {
          const bool is_label = c == label;
          return ranks.slopes[scalar::error_place(c, scalar::error_bin(p, is_label), is_label)];
        };
        if constexpr (kRanks) {
          for (int c = 0; c < classes; ++c) {
            const float p = scalar::exp_below_zero(scores(c) - lse);
            dot += p * by_rank(c, p);
          }
        }
        const scalar::PixelScores<float> pixel{lse, scores(label), 0.0f, 0.0f, classes};
        float of_classes = 0;  // slope of the term of classes
        float slope[kPixelTerms] = {}, smoothing[kPixelTerms] = {};
#pragma unroll
        for (int k = 0; k < kPixelTerms; ++k) {
          if (k >= at.pixel_terms()) break;
          visit_term<kPixelTerms>(desc.terms[k], [&](const auto& term) {
            const float weight =
                batch.weight(label) * term.weight(batch.place(k, first + thread, pixel));
            const float scale = terms.scale[k] * weight * term.slope(pixel);
            (term.kOfClasses ? of_classes : slope[k]) = scale;
            smoothing[k] = term.label_smoothing();
          });
        }
        for (int c = 0; c < classes; ++c) {
          const float p = scalar::exp_below_zero(scores(c) - lse);
          float d = 0;
#pragma unroll
          for (int k = 0; k < kPixelTerms; ++k) {
            d += slope[k] * scalar::label_gradient(p, c == label, smoothing[k], classes);
          }
          if (kAllTerms<kPixelTerms> && at.class_term() >= 0) {
            visit_term<kPixelTerms>(desc.terms[at.class_term()], [&](const auto& term) {
              d += of_classes / static_cast<float>(classes) *
                   term.class_slope(scores(c), c == label);
            });
          }
          if (at.has_class_sums()) {
            float by_probability = c == label ? terms.hit[c] : terms.miss[c];
            if constexpr (kRanks) by_probability += by_rank(c, p);
            d += p * (by_probability - dot);
          }
          row[c] = narrow<T>(d);
        }
      }
    }
    __syncthreads();
    store_tile(d_logits, contiguous_out, layout, first, count, tile);
    __syncthreads();
  }
}

}  // namespace macadam::cuda
