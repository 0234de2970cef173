#pragma once
// What the kernels of a loss share: the pixels that they read, and their pixel terms.

#include <type_traits>

#include "kernels/cuda/pixel_tile.cuh"
#include "kernels/loss.h"
#include "kernels/scalar/softmax.h"

namespace macadam::cuda {

/// Blocks that take tile after tile: one loads, waits, computes, and waits again, so that it takes
/// many on a multiprocessor to keep memory busy.
constexpr int kBlocksPerProcessor = 12;
constexpr int kBlocks = 132 * kBlocksPerProcessor;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
constexpr int kBlocksThatFit = 1024 / kTileThreads;  // a multiprocessor of Turing or Volta
#else
constexpr int kBlocksThatFit = kBlocksPerProcessor;
#endif

/// What all kernels of a call read.
template <typename T>
struct Batch {
  View<const T> logits;
  View<const uint8_t> labels;
  const float* weights;  // or null
  TileLayout layout;
  bool contiguous;
  int ignore;
  bool score_sum;                  // whether a pixel term reads it
  const scalar::HardPixels* hard;  // or null
  const uint8_t* edges;            // a bit an edge term, a byte a pixel; or null

  /// The label of a pixel, -1 where it does not count.
  __device__ int label(int64_t pixel) const {
    const int label = *labels.at(pixel, 0);
    return label == ignore || label >= layout.channels ? -1 : label;
  }
  __device__ float weight(int label) const { return weights == nullptr ? 1.0f : weights[label]; }
  /// Of what pixel term number `k` wants to know.
  __device__ scalar::PixelPlace place(int k, int64_t pixel,
                                      const scalar::PixelScores<float>& scores) const {
    return {.hard = hard != nullptr && hard->keep(scalar::exp_below_zero(scores.log_probability())),
            .near_edge = edges != nullptr && (edges[pixel] >> k & 1) != 0};
  }
};

/// One pixel's logits, read from the tile.
template <typename T>
struct Scores {
  const T* row;

  __device__ float operator()(int c) const { return widen(row[c]); }
};

/// Whether a kernel for so many pixel terms has those that are not plain: the one for the most
/// has.
template <int kPixelTerms>
constexpr bool kAllTerms = kPixelTerms == kMaxPixelTerms;

/// Calls f(term) with the pixel term that `term` is.
template <int kPixelTerms, typename F>
__device__ void visit_term(const LossTerm& term, const F& f) {
  scalar::visit_pixel_term<float>(term, [&](const auto& of) {
    if constexpr (kAllTerms<kPixelTerms> || scalar::kIsPlain<std::decay_t<decltype(of)>>) f(of);
  });
}

/// What pixel terms see of a pixel with this label.
template <int kPixelTerms, typename T>
__device__ scalar::PixelScores<float> pixel_scores(const Batch<T>& batch, const LossDesc& desc,
                                                   const LossSums& at, const Scores<T>& scores,
                                                   int label, float log_sum_exp) {
  const int classes = batch.layout.channels;
  float sum = 0, class_sum = 0;
  if (batch.score_sum) {
    for (int c = 0; c < classes; ++c) sum += scores(c);
  }
  if (kAllTerms<kPixelTerms> && at.class_term() >= 0) {
    visit_term<kPixelTerms>(desc.terms[at.class_term()], [&](const auto& term) {
      for (int c = 0; c < classes; ++c) class_sum += term.class_value(scores(c), c == label);
    });
  }
  return {log_sum_exp, scores(label), sum, class_sum, classes};
}

}  // namespace macadam::cuda
