// Losses in double, pixel by pixel. The formulas of the terms are those of kernels/scalar: tests
// check these against others (tests/kernels/loss_terms_test.cpp).

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <set>

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
  return {largest + std::log(sum), logits[label], all, 0, static_cast<int>(logits.size())};
}

class ReferenceLossOps : public LossOps {
 public:
  size_t workspace_bytes(const LossDesc& desc, Shape logits) const override {
    return LossSums(desc, logits.c).bytes();
  }

  void sums(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
            const Tensor& class_weights, void* workspace) override {
    const Problem problem(desc, logits, labels, class_weights);
    const LossSums& at = problem.at;
    auto* const sums = static_cast<double*>(workspace);
    std::fill_n(sums, at.count(), 0.0);
    std::set<size_t> images;
    problem.for_each_valid([&](std::span<const double> z, size_t label) {
      const double weight = problem.weights[label];
      sums[LossSums::kWeights] += weight;
      sums[LossSums::kPixels] += 1;
      const Scores scores = scores_of(z, label);
      images.insert(problem.image_of(z));
      if (!at.has_class_sums()) return;
      sums[at.labeled() + static_cast<int>(label)] += 1;
      sums[at.intersection() + static_cast<int>(label)] += std::exp(z[label] - scores.log_sum_exp);
      for (size_t c = 0; c < z.size(); ++c) {
        sums[at.predicted() + static_cast<int>(c)] += std::exp(z[c] - scores.log_sum_exp);
      }
    });
    if (at.has_images()) sums[at.images()] = static_cast<double>(images.size());
  }

  void gradient(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
                const Tensor& class_weights, const Tensor& d_logits, LossValues* values,
                void* workspace) override {
    const Problem problem(desc, logits, labels, class_weights);
    const LossSums& at = problem.at;
    const auto* const sums = static_cast<const double*>(workspace);
    const double valid = sums[LossSums::kPixels];
    const auto classes = to_size(logits.shape.c);
    LossValues result;
    double total = 0;
    // Of `total` by a probability, a class each, of every image or of the whole batch.
    const size_t parts = at.has_images() ? to_size(logits.shape.n) : 1;
    std::vector<double> hit(parts * classes), miss(parts * classes);
    Array by_rank(logits.shape);  // the same of rank terms, of each
    const std::span<const LossTerm> terms = desc.used();
    const PixelTermSums pixel_sums = sums_of_pixel_terms(problem);
    for (size_t k = 0; k < terms.size() && valid > 0; ++k) {
      double value = 0;
      if (is_pixel_term(terms[k])) {
        const double weights = pixel_sums.weights[k];
        if (weights > 0) value = pixel_sums.values[k] / weights;
      } else if (is_region_term(terms[k])) {
        for (size_t part = 0; part < parts; ++part) {
          const size_t first = part * classes;
          value += mean_over_classes(problem, terms[k], sums, part, std::span(hit).subspan(first),
                                     std::span(miss).subspan(first));
        }
      } else {
        value = mean_of_ranked(problem, terms[k], by_rank.values());
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
      std::vector<double> p(classes), q(classes);  // q: of `total` by p
      const size_t first = at.has_images() ? problem.image_of(z) * classes : 0;
      double dot = 0;
      const size_t at_pixel = to_size(z.data() - problem.z.values().data());
      for (size_t c = 0; c < classes; ++c) {
        p[c] = std::exp(z[c] - scores.log_sum_exp);
        q[c] = (c == label ? hit : miss)[first + c] + by_rank.values()[at_pixel + c];
        dot += p[c] * q[c];
      }
      double* const d = &gradient.values()[at_pixel];
      for (size_t c = 0; c < classes; ++c) d[c] = p[c] * (q[c] - dot);
      for (size_t k = 0; k < to_size(at.pixel_terms()); ++k) {
        if (pixel_sums.weights[k] <= 0) continue;
        scalar::visit_pixel_term<double>(terms[k], [&](const auto& term) {
          const double weight =
              problem.weights[label] *
              term.weight(pixel_sums.place(problem, k, problem.pixel_of(z), scores));
          const double slope =
              double{terms[k].weight} * weight / pixel_sums.weights[k] * term.slope(scores);
          if (term.kOfClasses) {
            for (size_t c = 0; c < classes; ++c) {
              d[c] += slope / logits.shape.c * term.class_slope(z[c], c == label);
            }
            return;
          }
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
        if (!counts(l)) continue;
        f(z.values().subspan(pixel * classes, classes), static_cast<size_t>(l));
      }
    }

    bool counts(double l) const { return l != desc.ignore && l < static_cast<double>(classes); }
    size_t image_of(std::span<const double> of) const {
      return pixel_of(of) / to_size(label.shape().h * label.shape().w);
    }
    /// The place among pixels of its scores.
    size_t pixel_of(std::span<const double> of) const {
      return to_size(of.data() - z.values().data()) / classes;
    }

    const LossDesc& desc;
    LossSums at;
    Array z, label;
    size_t classes;
    std::vector<double> weights;
  };

  /// Of the whole batch, by the number of the term.
  struct PixelTermSums {
    std::array<double, kMaxLossTerms> values{}, weights{};
    scalar::HardPixels hard;

    scalar::PixelPlace place(const Problem& problem, size_t k, size_t at_pixel,
                             const Scores& scores) const {
      return {.hard = hard.keep(static_cast<float>(std::exp(scores.log_probability()))),
              .near_edge = problem.at.is_edge_term(static_cast<int>(k)) &&
                           near_edge(problem, at_pixel, edge_width(problem.desc.terms[k]))};
    }
  };

  /// Whether labels differ in the window of pixels up to `width` away.
  static bool near_edge(const Problem& problem, size_t at_pixel, int width) {
    const Shape& shape = problem.label.shape();
    const auto pixel = static_cast<int>(at_pixel);
    const int x = pixel % shape.w, y = pixel / shape.w % shape.h, n = pixel / (shape.w * shape.h);
    std::set<double> labels;
    for (int j = std::max(0, y - width); j <= std::min(shape.h - 1, y + width); ++j) {
      for (int i = std::max(0, x - width); i <= std::min(shape.w - 1, x + width); ++i) {
        const double label = problem.label(n, j, i, 0);
        if (problem.counts(label)) labels.insert(label);
      }
    }
    return labels.size() > 1;
  }

  /// The sum of a term of classes over these.
  template <typename Term>
  static double class_sum(const Term& term, std::span<const double> z, size_t label) {
    double sum = 0;
    for (size_t c = 0; c < z.size(); ++c) sum += term.class_value(z[c], c == label);
    return sum;
  }

  static PixelTermSums sums_of_pixel_terms(const Problem& problem) {
    PixelTermSums sums;
    if (problem.at.has_hard()) sums.hard = hardest(problem);
    problem.for_each_valid([&](std::span<const double> z, size_t label) {
      Scores scores = scores_of(z, label);
      for (size_t k = 0; k < to_size(problem.at.pixel_terms()); ++k) {
        scalar::visit_pixel_term<double>(problem.desc.terms[k], [&](const auto& term) {
          if (term.kOfClasses) scores.class_sum = class_sum(term, z, label);
          const double weight = problem.weights[label] *
                                term.weight(sums.place(problem, k, problem.pixel_of(z), scores));
          sums.weights[k] += weight;
          if (weight != 0) sums.values[k] += weight * term.value(scores);
        });
      }
    });
    return sums;
  }

  /// The probabilities of all labels are sorted.
  static scalar::HardPixels hardest(const Problem& problem) {
    const float* const parameters = problem.desc.terms[problem.at.hard_term()].parameters;
    scalar::HardPixels hard{.threshold = parameters[0]};
    std::vector<float> sorted;
    problem.for_each_valid([&](std::span<const double> z, size_t label) {
      sorted.push_back(static_cast<float>(std::exp(scores_of(z, label).log_probability())));
    });
    std::ranges::sort(sorted);
    const auto below = std::ranges::lower_bound(sorted, hard.threshold) - sorted.begin();
    const double least = scalar::least_kept(parameters[1], static_cast<double>(sorted.size()));
    if (static_cast<double>(below) < least) {
      hard.first_bin = scalar::hardness_bin(1 - sorted[static_cast<size_t>(least) - 1]);
    }
    return hard;
  }

  /// The value of a region term; adds its weighted gradient by the probabilities to hit and miss.
  /// With images, its share of one.
  static double mean_over_classes(const Problem& problem, const LossTerm& term,
                                  const double* batch_sums, size_t part, std::span<double> hit,
                                  std::span<double> miss) {
    const AbsentClass absent = problem.desc.absent;
    const bool images = problem.at.has_images();
    const std::vector<scalar::RegionSums> sums =
        images ? sums_of_image(problem, part) : sums_of_batch(problem, batch_sums);
    const double parts = images ? batch_sums[problem.at.images()] : 1;
    double valid = 0;
    for (const scalar::RegionSums& one : sums) valid += one.labeled;
    if (valid == 0) return 0;
    const auto labeled = [&](size_t c) { return sums[c].labeled; };
    double over = 0, sum = 0;
    const auto weight = [&](size_t c) {
      return problem.desc.weigh_regions ? problem.weights[c] : 1;
    };
    for (size_t c = 0; c < problem.classes; ++c) {
      over += is_in_mean(absent, labeled(c)) ? weight(c) : 0;
    }
    if (over <= 0) return 0;
    scalar::visit_region_term(term, [&](const auto& of) {
      for (size_t c = 0; c < problem.classes; ++c) {
        if (!has_loss(absent, labeled(c))) continue;
        const scalar::RegionLoss loss = of(sums[c]);
        sum += weight(c) * loss.loss;
        hit[c] += double{term.weight} * weight(c) * loss.hit / over / parts;
        miss[c] += double{term.weight} * weight(c) * loss.miss / over / parts;
      }
    });
    return sum / over / parts;
  }

  static std::vector<scalar::RegionSums> sums_of_batch(const Problem& problem, const double* sums) {
    std::vector<scalar::RegionSums> all;
    all.reserve(problem.classes);
    for (int c = 0; c < static_cast<int>(problem.classes); ++c) {
      all.push_back({sums[problem.at.intersection() + c], sums[problem.at.predicted() + c],
                     sums[problem.at.labeled() + c]});
    }
    return all;
  }
  static std::vector<scalar::RegionSums> sums_of_image(const Problem& problem, size_t image) {
    std::vector<scalar::RegionSums> all(problem.classes, scalar::RegionSums{});
    problem.for_each_valid([&](std::span<const double> z, size_t label) {
      if (problem.image_of(z) != image) return;
      const Scores scores = scores_of(z, label);
      all[label].labeled += 1;
      all[label].intersection += std::exp(z[label] - scores.log_sum_exp);
      for (size_t c = 0; c < z.size(); ++c) all[c].predicted += std::exp(z[c] - scores.log_sum_exp);
    });
    return all;
  }

  /// The value of a rank term, whose errors are sorted; adds its weighted gradient by the
  /// probabilities to `gradient`.
  static double mean_of_ranked(const Problem& problem, const LossTerm& term,
                               std::span<double> gradient) {
    struct Ranked {
      double value;
      bool is_label;
      size_t at;  // in the logits
    };
    double sum = 0, present = 0;
    std::vector<Ranked> slopes;
    for (size_t c = 0; c < problem.classes; ++c) {
      std::vector<Ranked> errors;
      double labeled = 0;
      problem.for_each_valid([&](std::span<const double> z, size_t label) {
        const double p = std::exp(z[c] - scores_of(z, label).log_sum_exp);
        errors.push_back({c == label ? 1 - p : p, c == label,
                          to_size(z.data() - problem.z.values().data()) + c});
        labeled += c == label ? 1 : 0;
      });
      if (labeled == 0) continue;
      present += 1;
      std::ranges::stable_sort(errors, std::ranges::greater(), &Ranked::value);
      scalar::visit_rank_term(term, [&](const auto& of) {
        scalar::ErrorCounts above;
        for (const Ranked& error : errors) {
          const scalar::ErrorCounts here{error.is_label ? 1.0 : 0.0, error.is_label ? 0.0 : 1.0};
          const scalar::RankSlopes both = of(labeled, above, here);
          const double slope = error.is_label ? both.label : both.other;
          sum += slope * error.value;
          slopes.push_back({slope, error.is_label, error.at});
          above.label += here.label;
          above.other += here.other;
        }
      });
    }
    for (const Ranked& slope : slopes) {
      const double weighted = double{term.weight} / present * slope.value;
      gradient[slope.at] += slope.is_label ? -weighted : weighted;
    }
    return present > 0 ? sum / present : 0;
  }
};

}  // namespace

std::unique_ptr<LossOps> make_loss_ops() { return std::make_unique<ReferenceLossOps>(); }

}  // namespace macadam::reference
