// Losses in double, pixel by pixel. The formulas of the terms are those of kernels/scalar: tests
// check these against others (tests/kernels/loss_terms_test.cpp).

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/to_size.h"
#include "kernels/reference/array.h"
#include "kernels/reference/reference_ops.h"

namespace macadam::reference {
namespace {

using Scores = scalar::PixelScores<double>;

Scores scores_of(std::span<const double> logits, size_t label) {
  double largest = -std::numeric_limits<double>::infinity(), all = 0, sum = 0;
  for (const double z : logits) largest = std::max(largest, z), all += z;
  for (const double z : logits) sum += std::exp(z - largest);
  return {largest + std::log(sum), logits[label], all, static_cast<int>(logits.size())};
}

class ReferenceLossOps : public LossOps {
 public:
  size_t workspace_bytes(Shape logits) const override { return LossSums::bytes(logits.c); }

  void sums(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
            const Tensor& class_weights, void* workspace) override {
    const Problem problem(desc, logits, labels, class_weights);
    const LossSums& at = problem.at;
    auto* const sums = static_cast<double*>(workspace);
    std::fill_n(sums, at.count(), 0.0);
    problem.for_each_valid([&](std::span<const double> z, size_t label) {
      const double weight = problem.weights[label];
      sums[LossSums::kWeights] += weight;
      sums[LossSums::kPixels] += 1;
      const Scores scores = scores_of(z, label);
      for (int k = 0; k < at.pixel_terms(); ++k) {
        scalar::visit_pixel_term<double>(desc.terms[k], [&](const auto& term) {
          sums[at.pixel_term(k)] += weight * term.value(scores);
        });
      }
      if (!at.has_regions()) return;
      sums[at.labeled() + static_cast<int>(label)] += 1;
      sums[at.intersection() + static_cast<int>(label)] += std::exp(z[label] - scores.log_sum_exp);
      for (size_t c = 0; c < z.size(); ++c) {
        sums[at.predicted() + static_cast<int>(c)] += std::exp(z[c] - scores.log_sum_exp);
      }
    });
  }

  void gradient(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
                const Tensor& class_weights, const Tensor& d_logits, LossValues* values,
                void* workspace) override {
    const Problem problem(desc, logits, labels, class_weights);
    const LossSums& at = problem.at;
    const auto* const sums = static_cast<const double*>(workspace);
    const double weight_sum = sums[LossSums::kWeights], valid = sums[LossSums::kPixels];
    const auto classes = to_size(logits.shape.c);
    LossValues result;
    double total = 0;
    std::vector<double> hit(classes), miss(classes);  // of `total` by a probability
    const std::span<const LossTerm> terms = desc.used();
    for (size_t k = 0; k < terms.size() && valid > 0; ++k) {
      double value = 0;
      if (is_pixel_term(terms[k])) {
        if (weight_sum > 0) value = sums[at.pixel_term(static_cast<int>(k))] / weight_sum;
      } else {
        value = mean_over_classes(problem, terms[k], sums, hit, miss);
      }
      result.terms[k] = static_cast<float>(value);
      total += double{terms[k].weight} * value;
    }
    result.total = static_cast<float>(total);
    result.valid_pixels = static_cast<float>(valid);
    *values = result;
    if (!d_logits.data) return;

    const double scale = desc.gradient_scale ? double{*desc.gradient_scale} : 1.0;
    Array gradient(logits.shape);
    problem.for_each_valid([&](std::span<const double> z, size_t label) {
      const Scores scores = scores_of(z, label);
      std::vector<double> p(classes);
      double dot = 0;
      for (size_t c = 0; c < classes; ++c) {
        p[c] = std::exp(z[c] - scores.log_sum_exp);
        dot += p[c] * (c == label ? hit : miss)[c];
      }
      double* const d = &gradient.values()[to_size(z.data() - problem.z.values().data())];
      for (size_t c = 0; c < classes; ++c) d[c] = p[c] * ((c == label ? hit : miss)[c] - dot);
      for (int k = 0; k < at.pixel_terms() && weight_sum > 0; ++k) {
        scalar::visit_pixel_term<double>(terms[to_size(k)], [&](const auto& term) {
          const double slope = double{desc.terms[k].weight} * problem.weights[label] / weight_sum *
                               term.slope(scores);
          for (size_t c = 0; c < classes; ++c) {
            d[c] += slope * scalar::label_gradient(p[c], c == label, term.label_smoothing(),
                                                   logits.shape.c);
          }
        });
      }
      for (size_t c = 0; c < classes; ++c) d[c] *= scale;
    });
    gradient.write(d_logits);
  }

 private:
  struct Problem {
    Problem(const LossDesc& loss, const Tensor& logits, const Tensor& labels,
            const Tensor& class_weights)
        : desc(loss),
          at(loss, logits.shape.c),
          z(logits),
          label(labels),
          classes(to_size(logits.shape.c)),
          weights(classes, 1.0) {
      check_loss(loss, logits, labels);
      if (!class_weights.data) return;
      const Array given(class_weights);
      weights.assign(given.values().begin(), given.values().end());
    }

    /// f(logits, label) for every pixel that counts.
    template <typename F>
    void for_each_valid(F&& f) const {
      for (size_t pixel = 0; pixel < label.values().size(); ++pixel) {
        const double l = label.values()[pixel];
        if (l == desc.ignore || l >= static_cast<double>(classes)) continue;
        f(z.values().subspan(pixel * classes, classes), static_cast<size_t>(l));
      }
    }

    const LossDesc& desc;
    LossSums at;
    Array z, label;
    size_t classes;
    std::vector<double> weights;
  };

  /// The value of a region term; adds its weighted gradient by the probabilities to hit and miss.
  static double mean_over_classes(const Problem& problem, const LossTerm& term, const double* sums,
                                  std::vector<double>& hit, std::vector<double>& miss) {
    const AbsentClass absent = problem.desc.absent;
    const auto labeled = [&](size_t c) { return sums[problem.at.labeled() + static_cast<int>(c)]; };
    double over = 0, sum = 0;
    for (size_t c = 0; c < problem.classes; ++c) over += is_in_mean(absent, labeled(c)) ? 1 : 0;
    scalar::visit_region_term(term, [&](const auto& of) {
      for (size_t c = 0; c < problem.classes; ++c) {
        if (!has_loss(absent, labeled(c))) continue;
        const auto i = static_cast<int>(c);
        const scalar::RegionLoss loss =
            of({sums[problem.at.intersection() + i], sums[problem.at.predicted() + i], labeled(c)});
        sum += loss.loss;
        hit[c] += double{term.weight} * loss.hit / over;
        miss[c] += double{term.weight} * loss.miss / over;
      }
    });
    return sum / over;
  }
};

}  // namespace

std::unique_ptr<LossOps> make_loss_ops() { return std::make_unique<ReferenceLossOps>(); }

}  // namespace macadam::reference
