#pragma once
// The gradient of a loss on the CPU, of one block.

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "kernels/cpu/loss_block.h"

namespace macadam::cpu {

/// What the gradient's loop over classes needs of a block.
struct Slopes {
  alignas(64) ClassRow dot;  // sum_k q_k p_k, q the gradient of region terms by the probabilities
  alignas(64) ClassRow rows[kMaxPixelTerms];  // of pixel terms, with their scale and weight
  std::array<float, kMaxPixelTerms> smoothing{};
};

/// The gradient of region and rank terms by the probability of class `c`.
template <bool kRanks>
class ProbabilityGradient {
 public:
  ProbabilityGradient(const Problem& problem, int64_t part, int c)
      : class_(c),
        hit_(problem.hit(part)[c]),
        miss_(problem.miss(part)[c]),
        slopes_(problem.tables.slopes) {}

  float operator()(float probability, bool is_label) const {
    const float region = is_label ? hit_ : miss_;
    if (!kRanks) return region;
    const int bin = scalar::error_bin(probability, is_label);
    return region + slopes_[scalar::error_place(class_, bin, is_label)];
  }

 private:
  int class_;
  float hit_, miss_;
  const float* slopes_;
};

template <bool kRanks>
static void add_to_dot(const Problem& problem, const Block& block, ClassRow& dot) {
  for (int c = 0; c < problem.classes; ++c) {
    const float* e = block.rows[c];
    const ProbabilityGradient<kRanks> gradient(problem, block.part, c);
#pragma omp simd
    for (int p = 0; p < kBlockPixels; ++p) {
      const float probability = e[p] * block.inverse[p];
      dot[p] += gradient(probability, block.label[p] == c) * probability;
    }
  }
}

/// Exponentials to the gradient by the scores. Back through the softmax, q_c is p_c * (q_c - dot).
template <int kPixelTerms, bool kRanks>
static void apply(const Problem& problem, const Slopes& slopes, Block& block) {
  for (int c = 0; c < problem.classes; ++c) {
    float* e = block.rows[c];
    const ProbabilityGradient<kRanks> by_probability(problem, block.part, c);
#pragma omp simd
    for (int p = 0; p < kBlockPixels; ++p) {
      const bool is_label = block.label[p] == c;
      const float probability = e[p] * block.inverse[p];
      float sum = 0;
      for (size_t k = 0; k < kPixelTerms; ++k) {
        sum += slopes.rows[k][p] *
               scalar::label_gradient(probability, is_label, slopes.smoothing[k], problem.classes);
      }
      e[p] = sum + probability * (by_probability(probability, is_label) - slopes.dot[p]);
    }
  }
}

template <bool kRanks>
static void apply_terms(const Problem& problem, const Slopes& slopes, Block& block) {
  switch (problem.layout.pixel_terms()) {
    case 0: return apply<0, kRanks>(problem, slopes, block);
    case 1: return apply<1, kRanks>(problem, slopes, block);
    case 2: return apply<2, kRanks>(problem, slopes, block);
    case 3: return apply<3, kRanks>(problem, slopes, block);
    default: return apply<kMaxPixelTerms, kRanks>(problem, slopes, block);
  }
}

/// Adds the gradient of the term of classes.
static void add_by_score(const Problem& problem, const ClassRow& slopes, Block& block) {
  for (int c = 0; c < problem.classes; ++c) {
#pragma omp simd
    for (int p = 0; p < kBlockPixels; ++p) {
      block.rows[c][p] += slopes[p] == 0 ? 0.0f : slopes[p] * block.by_score[c][p];
    }
  }
}

/// Exponentials to the gradient of `total` by the scores.
static void gradient(const Problem& problem, Block& block) {
  const int classes = problem.classes;
  Slopes slopes;
  std::fill_n(slopes.dot, kBlockPixels, 0.0f);
  const bool ranks = problem.layout.has_errors();
  if (ranks) {
    add_to_dot<true>(problem, block, slopes.dot);
  } else if (problem.layout.has_class_sums()) {
    add_to_dot<false>(problem, block, slopes.dot);
  }
  const std::span<const LossTerm> terms = problem.pixel_terms();
  for (size_t k = 0; k < terms.size(); ++k) {
    const float scale = problem.scales[k];
    scalar::visit_pixel_term<float>(terms[k], [&](const auto& of) {
      slopes.smoothing[k] = of.label_smoothing();
#pragma omp simd
      for (int p = 0; p < kBlockPixels; ++p) {
        const scalar::PixelScores<float> scores = block.scores(p, classes);
        const float slope =
            scale * block.weight[p] * block.weight_in(of, problem, k, p, scores) * of.slope(scores);
        slopes.rows[k][p] = block.label[p] == kUnlabeled ? 0.0f : slope;
      }
    });
  }
  // The slopes of a term of classes are of what came before the exponentials.
  alignas(64) ClassRow of_classes{};
  const int class_term = problem.layout.class_term();
  if (class_term >= 0) std::swap(of_classes, slopes.rows[class_term]);
  ranks ? apply_terms<true>(problem, slopes, block) : apply_terms<false>(problem, slopes, block);
  if (class_term >= 0) add_by_score(problem, of_classes, block);
}

}  // namespace macadam::cpu
