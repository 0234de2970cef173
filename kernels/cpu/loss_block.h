#pragma once
// What the passes of a loss on the CPU are made of: a call's parts of the workspace, and a block
// of pixels, class-major, from scores to exponentials. Functions are static, so that those called
// once become part of their caller's loops, and softmax is kept out of these: the op was 8 % slower
// with inline functions.

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "base/to_size.h"
#include "kernels/cpu/class_major.h"
#include "kernels/cpu/parallel.h"
#include "kernels/loss.h"

namespace macadam::cpu {

constexpr int kUnlabeled = -1;

/// Pixels of one partial sum.
constexpr int64_t kChunkPixels = 64 * kBlockPixels;

/// Sums of one chunk; those of a kind follow each other, those of all chunks in the workspace.
struct Partials {
  float* data;
  int channels;

  static size_t floats(int channels) { return 3 * to_size(channels) + kMaxLossTerms; }

  float* chunk(int64_t k) const { return data + k * static_cast<int64_t>(floats(channels)); }
  float* labeled(int64_t k) const { return chunk(k); }  // at most kChunkPixels: exact in fp32
  float* intersection(int64_t k) const { return chunk(k) + channels; }
  float* predicted(int64_t k) const { return chunk(k) + 2 * channels; }
  float* pixel_terms(int64_t k) const { return chunk(k) + 3 * channels; }
};

/// Tables that pixels are counted in, each by one thread at a time: as many as there are
/// chunks, and not more than that.
constexpr int64_t kMaxCountTables = 32;

/// What counts and rank terms have in the workspace; empty without them.
struct CountTables {
  float* slopes = nullptr;       // of `total`, by a probability, at scalar::error_place
  uint32_t* counts = nullptr;    // tables in the order of LossSums
  int64_t errors = 0, size = 0;  // places of the slopes, and of a table

  CountTables(const LossSums& layout, void* memory)
      : slopes(static_cast<float*>(memory)),
        counts(reinterpret_cast<uint32_t*>(slopes + layout.error_counts())),
        errors(layout.error_counts()),
        size(layout.shared() - layout.counts()) {}

  static size_t bytes(const LossSums& layout, int64_t tables) {
    return to_size(layout.error_counts()) * sizeof(float) +
           to_size((layout.shared() - layout.counts()) * tables) * sizeof(uint32_t);
  }
  uint32_t* table(int64_t k) const { return counts + k * size; }
};

/// Parts of a batch that have sums of their own: images, or the whole.
inline int64_t parts_of(const LossSums& layout, Shape logits) {
  return layout.has_images() ? logits.n : 1;
}

/// What the blocks of a call share.
struct Problem {
  LossDesc desc;
  LossSums layout;
  const Tensor& logits;
  Tensor d_logits;
  const uint8_t* labels;
  int classes;
  double* sums;
  CountTables tables;
  alignas(64) std::array<float, kMaxLossClasses> weights;
  // Set before a pass for the gradient: what a pixel's slope of each pixel term is multiplied by.
  std::array<float, kMaxLossTerms> scales{};
  // The same: the gradient of `total` by a pixel's probability of each class, where it is the label
  // and, behind all classes, where it is not; of each part.
  float* by_probability = nullptr;
  scalar::HardPixels hard{};       // set before a pass for values
  const uint8_t* edges = nullptr;  // a bit an edge term, a byte a pixel; null without such a term

  std::span<const LossTerm> pixel_terms() const {
    return {desc.terms, to_size(layout.pixel_terms())};
  }
  std::span<const LossTerm> region_terms() const {
    return desc.used().subspan(pixel_terms().size(), to_size(layout.region_terms()));
  }
  std::span<const LossTerm> rank_terms() const {
    return desc.used().subspan(pixel_terms().size() + region_terms().size());
  }
  float gradient_scale() const {
    return desc.gradient_scale == nullptr ? 1.0f : *desc.gradient_scale;
  }
  int64_t pixels() const { return logits.shape.pixels(); }
  /// Chunks lie in one part each.
  int64_t parts() const { return parts_of(layout, logits.shape); }
  int64_t chunks_of_part() const { return ceil_div(pixels() / parts(), kChunkPixels); }
  int64_t chunks() const { return parts() * chunks_of_part(); }
  int64_t begin_of(int64_t chunk) const {
    return chunk / chunks_of_part() * (pixels() / parts()) +
           chunk % chunks_of_part() * kChunkPixels;
  }
  int64_t end_of(int64_t chunk) const {
    const int64_t end_of_part = (chunk / chunks_of_part() + 1) * (pixels() / parts());
    return std::min(begin_of(chunk) + kChunkPixels, end_of_part);
  }
  float* hit(int64_t part) const { return by_probability + part * 2 * classes; }
  float* miss(int64_t part) const { return hit(part) + classes; }
  int64_t count_tables() const { return std::min(chunks(), kMaxCountTables); }
  ///
};

/// One block of pixels, class-major.
struct Block {
  // Scores, then exp(score - max), then gradients. From the exponentials on, everything of an
  // ignored pixel is 0, whatever its scores.
  alignas(64) ClassRow rows[kMaxLossClasses];
  alignas(64) int label[kBlockPixels];
  alignas(64) ClassRow weight;   // of the pixel's label
  alignas(64) ClassRow inverse;  // 1 / sum of exponentials
  alignas(64) ClassRow max, sum, label_score, score_sum;
  int64_t part = 0;  // where they lie
  // Only where terms read them: what the labels' edges are, and the sum of a term of classes.
  alignas(64) int edges[kBlockPixels];
  alignas(64) ClassRow class_sum;
  // With a term of classes in a pass for the gradient, its derivative by each score.
  alignas(64) ClassRow by_score[kMaxLossClasses];

  scalar::PixelScores<float> scores(int pixel, int classes) const {
    return {max[pixel] + scalar::log_inline(sum[pixel]), label_score[pixel], score_sum[pixel],
            class_sum[pixel], classes};
  }
  /// Of a pixel in pixel term number `k`, besides that of its label.
  template <typename Term>
  float weight_in(const Term& of, const Problem& problem, size_t k, int pixel,
                  const scalar::PixelScores<float>& scores) const {
    // A loop that looks at no more than it needs stays a vector's.
    if constexpr (Term::kWeighting == scalar::PixelWeighting::hardest) {
      return of.weight({.hard = problem.hard.keep(scalar::exp_inline(scores.log_probability()))});
    }
    if constexpr (Term::kWeighting == scalar::PixelWeighting::edges) {
      return of.weight({.near_edge = (edges[pixel] >> k & 1) != 0});
    }
    return 1;
  }
};

static void load_labels(const Problem& problem, int64_t first, int pixels, Block& block) {
  const int classes = problem.classes, ignore = problem.desc.ignore;
  for (int p = 0; p < kBlockPixels; ++p) {
    const int label = p < pixels ? problem.labels[first + p] : kUnlabeled;
    const bool valid = label >= 0 && label < classes && label != ignore;
    block.label[p] = valid ? label : kUnlabeled;
    block.weight[p] = valid ? problem.weights[to_size(label)] : 0.0f;
  }
}

static void load_edges(const Problem& problem, int64_t first, int pixels, Block& block) {
  for (int p = 0; p < kBlockPixels; ++p) {
    block.edges[p] = p < pixels ? problem.edges[first + p] : 0;
  }
}

/// What a term of classes makes of the scores, before they become exponentials.
static void read_classes(const Problem& problem, bool gradient, Block& block) {
  std::fill_n(block.class_sum, kBlockPixels, 0.0f);
  const LossTerm& term = problem.desc.terms[problem.layout.class_term()];
  scalar::visit_pixel_term<float>(term, [&](const auto& of) {
    const float share = 1.0f / static_cast<float>(problem.classes);
    for (int c = 0; c < problem.classes; ++c) {
      const float* z = block.rows[c];
#pragma omp simd
      for (int p = 0; p < kBlockPixels; ++p) {
        block.class_sum[p] += of.class_value(z[p], block.label[p] == c);
      }
      if (!gradient) continue;
#pragma omp simd
      for (int p = 0; p < kBlockPixels; ++p) {
        block.by_score[c][p] = share * of.class_slope(z[p], block.label[p] == c);
      }
    }
  });
}

/// Whether a term reads the sum of a pixel's scores.
static bool reads_score_sum(std::span<const LossTerm> terms) {
  bool reads = false;
  for (const LossTerm& term : terms) {
    scalar::visit_pixel_term<float>(
        term, [&](const auto& of) { reads = reads || of.label_smoothing() != 0; });
  }
  return reads;
}

/// Scores to exponentials; fills what a pixel term sees.
[[gnu::noinline]] static void softmax(const Problem& problem, bool score_sum, Block& block) {
  const int classes = problem.classes;
  std::copy_n(block.rows[0], kBlockPixels, block.max);
  std::fill_n(block.label_score, kBlockPixels, 0.0f);
  std::fill_n(block.score_sum, kBlockPixels, 0.0f);
  std::fill_n(block.sum, kBlockPixels, 0.0f);
  float* const max = block.max;
  float* const sum = block.sum;
  for (int c = 0; c < classes; ++c) {
    const float* z = block.rows[c];
#pragma omp simd
    for (int p = 0; p < kBlockPixels; ++p) {
      max[p] = z[p] > max[p] ? z[p] : max[p];
      block.label_score[p] = block.label[p] == c ? z[p] : block.label_score[p];
    }
  }
  if (score_sum) {
    for (int c = 0; c < classes; ++c) {
      const float* z = block.rows[c];
#pragma omp simd
      for (int p = 0; p < kBlockPixels; ++p) block.score_sum[p] += z[p];
    }
  }
  for (int c = 0; c < classes; ++c) {
    float* z = block.rows[c];
#pragma omp simd
    for (int p = 0; p < kBlockPixels; ++p) {
      const float exponential = scalar::exp_inline(z[p] - max[p]);
      z[p] = block.label[p] == kUnlabeled ? 0.0f : exponential;
      sum[p] += exponential;
    }
  }
#pragma omp simd
  for (int p = 0; p < kBlockPixels; ++p) {
    block.inverse[p] = block.label[p] == kUnlabeled ? 0.0f : 1.0f / sum[p];
  }
}

}  // namespace macadam::cpu
