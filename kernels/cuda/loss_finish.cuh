#pragma once
// A loss from its sums: what each term comes to, and what the gradient needs.

#include "kernels/cuda/pixel_tile.cuh"
#include "kernels/loss.h"

namespace macadam::cuda {

/// What the gradient needs of the sums, times gradient_scale.
struct Finished {
  float scale[kMaxLossTerms];                         // of pixel terms: weight / sum of weights
  float hit[kMaxLossClasses], miss[kMaxLossClasses];  // of all region terms
  float loss[kMaxLossTerms][kMaxLossClasses];  // of region and rank terms, its share of the mean
};

/// The terms from the sums over the batch; of region terms what one image adds, where these have
/// sums of their own. region_sums: from LossSums::labeled() on. Call with all threads of a block,
/// and wait.
__device__ inline void finish_terms(const LossDesc& desc, const LossSums& at, int classes,
                                    const float* class_weights, const double* __restrict__ sums,
                                    const double* __restrict__ region_sums,
                                    const double* rank_losses, Finished& to) {
  const int thread = static_cast<int>(threadIdx.x);
  const float gradient_scale = desc.gradient_scale == nullptr ? 1.0f : *desc.gradient_scale;
  if (at.has_class_sums() && thread < classes) {
    const double* const labeled = sums + at.labeled();
    const auto class_weight = [&](int c) {
      return desc.weigh_regions && class_weights != nullptr ? class_weights[c] : 1.0f;
    };
    float over = 0;   // weights of the mean of region terms
    int present = 0;  // classes of that of rank terms
    bool valid = false;
    for (int c = 0; c < classes; ++c) {
      over += is_in_mean(desc.absent, region_sums[c]) ? class_weight(c) : 0.0f;
      present += labeled[c] > 0 ? 1 : 0;
      valid = valid || region_sums[c] > 0;
    }
    if (at.has_images()) over *= static_cast<float>(sums[at.images()]);
    const bool counts = valid && has_loss(desc.absent, region_sums[thread]);
    const float share_of_mean = over > 0 ? class_weight(thread) / over : 0.0f;
    float hit = 0, miss = 0;
#pragma unroll
    for (int k = 0; k < kMaxLossTerms; ++k) {
      float loss = 0;
      if (counts) {
        scalar::visit_region_term(desc.terms[k], [&](const auto& term) {
          const scalar::RegionLoss result =
              term({region_sums[classes + thread], region_sums[2 * classes + thread],
                    region_sums[thread]});
          const float share = share_of_mean * desc.terms[k].weight;
          loss = static_cast<float>(result.loss) * share_of_mean;
          hit += static_cast<float>(result.hit) * share;
          miss += static_cast<float>(result.miss) * share;
        });
      }
      if (rank_losses != nullptr && labeled[thread] > 0) {
        scalar::visit_rank_term(desc.terms[k], [&](const auto&) {
          loss =
              static_cast<float>(rank_losses[k * classes + thread]) / static_cast<float>(present);
        });
      }
      to.loss[k][thread] = loss;
    }
    to.hit[thread] = hit * gradient_scale;
    to.miss[thread] = miss * gradient_scale;
  }
  if (thread == 0) {
#pragma unroll
    for (int k = 0; k < kMaxLossTerms; ++k) {
      const auto weight = static_cast<double>(desc.terms[k].weight);
      const double weight_sum = sums[at.weights(k)];
      to.scale[k] =
          weight_sum > 0 ? static_cast<float>(weight / weight_sum) * gradient_scale : 0.0f;
    }
  }
}

/// The values from finished terms, by one thread.
__device__ inline void write_values(const LossDesc& desc, const LossSums& at, int classes,
                                    const double* __restrict__ sums, const Finished& from,
                                    LossValues* values) {
  LossValues result;
#pragma unroll
  for (int k = 0; k < kMaxLossTerms; ++k) {
    if (k < at.pixel_terms()) {
      const double weight_sum = sums[at.weights(k)];
      if (weight_sum > 0) result.terms[k] = static_cast<float>(sums[at.pixel_term(k)] / weight_sum);
    } else if (desc.terms[k].weight != 0) {
      for (int c = 0; c < classes; ++c) result.terms[k] += from.loss[k][c];
    }
    result.total += desc.terms[k].weight * result.terms[k];
  }
  result.valid_pixels = static_cast<float>(sums[LossSums::kPixels]);
  *values = result;
}

}  // namespace macadam::cuda
