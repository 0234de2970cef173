// Losses on the CPU.
//
// Pixels are handled in class-major blocks. Pixel terms and their gradient need the labels' counts
// and one pass over the logits, which is gradient()'s; region and rank terms and the hardest
// pixels need sums of the batch first: then there is a pass for these in sums(), and the gradient
// is a second one.

#include "kernels/loss.h"

#include <algorithm>
#include <array>
#include <memory>

#include "base/to_size.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/loss_block.h"
#include "kernels/cpu/loss_edges.h"
#include "kernels/cpu/loss_gradient.h"

namespace macadam::cpu {

namespace {

/// Which of a pass's results are wanted.
struct Pass {
  bool values = false;      // the sums of pixel terms
  bool class_sums = false;  // and what is counted
  bool gradient = false;    // into d_logits
};

/// Whether pixel terms are summed in sums(): where there is a pass, and it knows their weights.
bool values_come_first(const LossSums& at) { return at.has_class_sums() && !at.has_hard(); }

void count_labels(const uint8_t* labels, int64_t pixels, const LossDesc& desc, int classes,
                  float* counts) {
  // Neighbouring pixels mostly share a label: four tables keep increments from waiting.
  std::array<std::array<uint32_t, 256>, 4> tables{};
  for (int64_t p = 0; p < pixels; ++p) ++tables[to_size(p & 3)][labels[p]];
  for (int c = 0; c < classes; ++c) {
    const auto i = to_size(c);
    const uint32_t count = tables[0][i] + tables[1][i] + tables[2][i] + tables[3][i];
    counts[c] = c == desc.ignore ? 0.0f : static_cast<float>(count);
  }
}

/// Adds each pixel term's weighted values to its row of `sums`.
void add_values(const Problem& problem, const Block& block, ClassRow* sums) {
  const std::span<const LossTerm> terms = problem.pixel_terms();
  for (size_t k = 0; k < terms.size(); ++k) {
    float* const sum = sums[k];
    scalar::visit_pixel_term<float>(terms[k], [&](const auto& of) {
#pragma omp simd
      for (int p = 0; p < kBlockPixels; ++p) {
        const scalar::PixelScores<float> scores = block.scores(p, problem.classes);
        const float value = block.weight_in(of, problem, k, p, scores) * of.value(scores);
        sum[p] += block.label[p] == kUnlabeled ? 0.0f : block.weight[p] * value;
      }
    });
  }
}

/// A chunk's sums for region terms, in lanes that are added up at its end.
struct ProbabilitySums {
  static constexpr int kLanes = 16;
  using Lanes = float[kLanes];
  alignas(64) Lanes intersection[kMaxLossClasses];
  alignas(64) Lanes predicted[kMaxLossClasses];

  explicit ProbabilitySums(int classes) {
    std::fill_n(intersection[0], classes * kLanes, 0.0f);
    std::fill_n(predicted[0], classes * kLanes, 0.0f);
  }

  void add(const Block& block, int classes) {
    for (int c = 0; c < classes; ++c) {
      const float* e = block.rows[c];
      alignas(64) Lanes hits{}, all{};
      for (int first = 0; first < kBlockPixels; first += kLanes) {
#pragma omp simd
        for (int l = 0; l < kLanes; ++l) {
          const float probability = e[first + l] * block.inverse[first + l];
          hits[l] += block.label[first + l] == c ? probability : 0.0f;
          all[l] += probability;
        }
      }
#pragma omp simd
      for (int l = 0; l < kLanes; ++l) {
        intersection[c][l] += hits[l];
        predicted[c][l] += all[l];
      }
    }
  }
};

/// Counts the errors of bins above 0. Those of unlabelled pixels are 0.
void count_errors(const Block& block, int classes, uint32_t* counts) {
  for (int c = 0; c < classes; ++c) {
    const float* e = block.rows[c];
    alignas(64) int bins[kBlockPixels];
#pragma omp simd
    for (int p = 0; p < kBlockPixels; ++p) {
      bins[p] = scalar::error_bin(e[p] * block.inverse[p], block.label[p] == c);
    }
    for (int p = 0; p < kBlockPixels; ++p) {
      if (bins[p] > 0) ++counts[scalar::error_place(c, bins[p], block.label[p] == c)];
    }
  }
}

/// Counts the labelled pixels by hardness, but for bin 0, and those below the threshold.
void count_hard(const Block& block, int classes, float threshold, uint32_t* counts) {
  alignas(64) float probability[kBlockPixels];
#pragma omp simd
  for (int p = 0; p < kBlockPixels; ++p) {
    probability[p] = scalar::exp_inline(block.scores(p, classes).log_probability());
  }
  for (int p = 0; p < kBlockPixels; ++p) {
    const int label = block.label[p];
    if (label == kUnlabeled) continue;
    const int bin = scalar::hardness_bin(1 - probability[p]);
    if (bin > 0) ++counts[scalar::hardness_place(label, bin)];
    if (!(probability[p] >= threshold)) {
      ++counts[scalar::hardness_place(label, scalar::kHardnessBins)];
    }
  }
}

template <typename Lanes>
float sum_of(const Lanes& lanes) {
  float sum = 0;
  for (const float value : lanes) sum += value;
  return sum;
}

/// One chunk of a pass over the logits, whose pixels are counted in `table`.
template <typename T>
void run_chunk(const Problem& problem, Pass pass, const Partials& partials, int64_t k,
               uint32_t* table) {
  const LossSums& layout = problem.layout;
  const bool score_sum = pass.values && reads_score_sum(problem.pixel_terms());
  Block block;
  alignas(64) ClassRow values[kMaxLossTerms] = {};
  ProbabilitySums sums(pass.class_sums ? problem.classes : 0);
  block.part = k / problem.chunks_of_part();
  const int64_t end = problem.end_of(k);
  for (int64_t first = problem.begin_of(k); first < end; first += kBlockPixels) {
    const auto pixels = static_cast<int>(std::min<int64_t>(kBlockPixels, end - first));
    to_class_major(at<const T>(problem.logits, first), problem.logits.pixel_stride, pixels,
                   problem.classes, block.rows);
    load_labels(problem, first, pixels, block);
    if (layout.has_edges()) load_edges(problem, first, pixels, block);
    if (layout.class_term() >= 0) read_classes(problem, pass.gradient, block);
    softmax(problem, score_sum, block);
    if (pass.values) add_values(problem, block, values);
    if (pass.class_sums) sums.add(block, problem.classes);
    if (table != nullptr && layout.has_errors()) count_errors(block, problem.classes, table);
    if (table != nullptr && layout.has_hard()) {
      count_hard(block, problem.classes, problem.desc.terms[layout.hard_term()].parameters[0],
                 table + layout.error_counts());
    }
    if (pass.gradient) {
      gradient(problem, block);
      from_class_major(block.rows, pixels, problem.classes, at<T>(problem.d_logits, first),
                       problem.d_logits.pixel_stride);
    }
  }
  for (size_t t = 0; pass.values && t < problem.pixel_terms().size(); ++t) {
    partials.pixel_terms(k)[t] = sum_of(values[t]);
  }
  for (int c = 0; pass.class_sums && c < problem.classes; ++c) {
    partials.intersection(k)[c] = sum_of(sums.intersection[c]);
    partials.predicted(k)[c] = sum_of(sums.predicted[c]);
  }
}

/// The chunks' values of one kind and class, added in order.
template <typename Value>
double sum_chunks(int64_t chunks, const Value& value) {
  double sum = 0;
  for (int64_t k = 0; k < chunks; ++k) sum += value(k);
  return sum;
}

/// The same of the chunks of one part.
template <typename Value>
double sum_of_part(const Problem& problem, int64_t part, const Value& value) {
  const int64_t first = part * problem.chunks_of_part();
  return sum_chunks(problem.chunks_of_part(), [&](int64_t k) { return value(first + k); });
}

/// One pass over the logits, and its sums to their places. Where pixels are counted, the chunks of
/// a table follow each other.
template <typename T>
void run_pass(const Problem& problem, Pass pass, const Partials& partials) {
  const LossSums& layout = problem.layout;
  const CountTables& tables = problem.tables;
  const bool counts = layout.has_counts() && pass.class_sums;
  const int64_t chunks = problem.chunks();
  const int64_t chunks_a_table = counts ? ceil_div(chunks, problem.count_tables()) : 1;
  parallel_chunks(chunks, chunks_a_table, [&](int64_t t, int64_t begin, int64_t end) {
    uint32_t* const table = counts ? tables.table(t) : nullptr;
    if (counts) std::fill_n(table, tables.size, 0u);
    for (int64_t k = begin; k < end; ++k) run_chunk<T>(problem, pass, partials, k, table);
  });
  for (int t = 0; pass.values && t < layout.pixel_terms(); ++t) {
    problem.sums[layout.pixel_term(t)] =
        sum_chunks(chunks, [&](int64_t k) { return partials.pixel_terms(k)[t]; });
  }
  for (int c = 0; pass.class_sums && c < problem.classes; ++c) {
    problem.sums[layout.intersection() + c] =
        sum_chunks(chunks, [&](int64_t k) { return partials.intersection(k)[c]; });
    problem.sums[layout.predicted() + c] =
        sum_chunks(chunks, [&](int64_t k) { return partials.predicted(k)[c]; });
  }
  if (!counts) return;
  const int64_t used = ceil_div(chunks, chunks_a_table);
  parallel_items(tables.size, used, [&](int64_t i) {
    problem.sums[layout.counts() + i] =
        sum_chunks(used, [&](int64_t k) { return tables.table(k)[i]; });
  });
}

/// The labels' sums.
void count(const Problem& problem, const Partials& partials) {
  parallel_chunks(problem.chunks(), 1, [&](int64_t k, int64_t, int64_t) {
    const int64_t begin = problem.begin_of(k);
    count_labels(problem.labels + begin, problem.end_of(k) - begin, problem.desc, problem.classes,
                 partials.labeled(k));
  });
  double valid = 0, weight_sum = 0;
  for (int c = 0; c < problem.classes; ++c) {
    const double labeled =
        sum_chunks(problem.chunks(), [&](int64_t k) { return partials.labeled(k)[c]; });
    if (problem.layout.has_class_sums()) problem.sums[problem.layout.labeled() + c] = labeled;
    valid += labeled;
    weight_sum += labeled * problem.weights[to_size(c)];
  }
  problem.sums[LossSums::kWeights] = weight_sum;
  problem.sums[LossSums::kPixels] = valid;
  if (!problem.layout.has_images()) return;
  double images = 0;
  for (int64_t part = 0; part < problem.parts(); ++part) {
    double labeled = 0;
    for (int c = 0; c < problem.classes; ++c) {
      labeled += sum_of_part(problem, part, [&](int64_t k) { return partials.labeled(k)[c]; });
    }
    images += labeled > 0 ? 1 : 0;
  }
  problem.sums[problem.layout.images()] = images;
}

/// The sums of the weights of the terms that have their own near edges.
void weigh_edges(const Problem& problem, const Partials& partials) {
  for (int k = 0; k < problem.layout.pixel_terms(); ++k) {
    if (!problem.layout.is_edge_term(k)) continue;
    // Of each class the pixels there, and of all.
    parallel_chunks(problem.chunks(), 1, [&](int64_t i, int64_t, int64_t) {
      float* const near = partials.intersection(i);
      std::fill_n(near, problem.classes, 0.0f);
      const int64_t end = problem.end_of(i);
      for (int64_t p = problem.begin_of(i); p < end; ++p) {
        const int label = problem.labels[p];
        const bool counts = label < problem.classes && label != problem.desc.ignore;
        if (counts && (problem.edges[p] >> k & 1) != 0) near[label] += 1;
      }
    });
    double weights = 0;
    scalar::visit_pixel_term<float>(problem.desc.terms[k], [&](const auto& of) {
      const double elsewhere = of.weight({}), near_edge = of.weight({.near_edge = true});
      for (int c = 0; c < problem.classes; ++c) {
        const double near =
            sum_chunks(problem.chunks(), [&](int64_t i) { return partials.intersection(i)[c]; });
        const double all =
            sum_chunks(problem.chunks(), [&](int64_t i) { return partials.labeled(i)[c]; });
        weights += problem.weights[to_size(c)] * (near * near_edge + (all - near) * elsewhere);
      }
    });
    problem.sums[problem.layout.weights(k)] = weights;
  }
}

/// The sums of the classes in a part.
using ClassSums = std::array<scalar::RegionSums, kMaxLossClasses>;

ClassSums class_sums_of(const Problem& problem, const Partials& partials, int64_t part) {
  const LossSums& at = problem.layout;
  ClassSums sums;
  for (int c = 0; c < problem.classes; ++c) {
    if (!at.has_images()) {
      sums[to_size(c)] = {problem.sums[at.intersection() + c], problem.sums[at.predicted() + c],
                          problem.sums[at.labeled() + c]};
      continue;
    }
    sums[to_size(c)] = {
        sum_of_part(problem, part, [&](int64_t k) { return partials.intersection(k)[c]; }),
        sum_of_part(problem, part, [&](int64_t k) { return partials.predicted(k)[c]; }),
        sum_of_part(problem, part, [&](int64_t k) { return partials.labeled(k)[c]; })};
  }
  return sums;
}

/// What a part adds to the value of a region term; adds its gradient by the probabilities.
double finish_region_term(const LossTerm& term, const Problem& problem, const ClassSums& sums,
                          int64_t part) {
  const LossSums& at = problem.layout;
  const AbsentClass absent = problem.desc.absent;
  const auto labeled = [&](int c) { return sums[to_size(c)].labeled; };
  double valid = 0;
  for (int c = 0; c < problem.classes; ++c) valid += labeled(c);
  if (valid <= 0) return 0;
  const auto class_weight = [&](int c) {
    return problem.desc.weigh_regions ? problem.weights[to_size(c)] : 1.0f;
  };
  double mean_over = 0;
  for (int c = 0; c < problem.classes; ++c) {
    mean_over += is_in_mean(absent, labeled(c)) ? class_weight(c) : 0.0f;
  }
  if (mean_over <= 0) return 0;
  if (at.has_images()) mean_over *= problem.sums[at.images()];
  const float scale = term.weight / static_cast<float>(mean_over) * problem.gradient_scale();
  double loss = 0;
  scalar::visit_region_term(term, [&](const auto& of) {
    for (int c = 0; c < problem.classes; ++c) {
      if (!has_loss(absent, labeled(c))) continue;
      const scalar::RegionLoss result = of(sums[to_size(c)]);
      const float weight = class_weight(c);
      loss += static_cast<double>(weight * static_cast<float>(result.loss));
      problem.hit(part)[c] += scale * weight * static_cast<float>(result.hit);
      problem.miss(part)[c] += scale * weight * static_cast<float>(result.miss);
    }
  });
  return loss / mean_over;
}

/// The value of a rank term; adds its gradient by the probabilities to `problem`.
double finish_rank_term(const LossTerm& term, const Problem& problem) {
  const LossSums& at = problem.layout;
  const double* const labeled = problem.sums + at.labeled();
  const auto present = static_cast<float>(
      std::count_if(labeled, labeled + problem.classes, [](double n) { return n > 0; }));
  const float scale = term.weight / present * problem.gradient_scale();
  std::array<double, kMaxLossClasses> losses{};
  scalar::visit_rank_term(term, [&](const auto& of) {
    parallel_items(problem.classes, scalar::kErrorBins, [&](int64_t i) {
      const auto c = static_cast<int>(i);
      if (labeled[c] <= 0) return;
      const scalar::ClassErrors errors{
          problem.sums + at.errors() + scalar::error_place(c, 0, false), labeled[c],
          problem.sums[LossSums::kPixels]};
      float* const slopes = problem.tables.slopes;
      // NaN is in no bin, but in the sum.
      losses[to_size(c)] = 0 * problem.sums[at.predicted() + c] +
                           scalar::walk_down(of, errors, {}, scalar::kErrorSteps, 0,
                                             [&](int bin, const scalar::RankSlopes& by_error) {
                                               slopes[scalar::error_place(c, bin, true)] -=
                                                   scale * static_cast<float>(by_error.label);
                                               slopes[scalar::error_place(c, bin, false)] +=
                                                   scale * static_cast<float>(by_error.other);
                                             });
    });
  });
  double loss = 0;
  for (const double one : losses) loss += one;
  return loss / static_cast<double>(present);
}

/// Which pixels the hardest are, and the sum of their weights.
void find_hardest(Problem& problem) {
  const LossSums& at = problem.layout;
  const float* const parameters = problem.desc.terms[at.hard_term()].parameters;
  const double* const counts = problem.sums + at.hardness();
  const auto of_all = [&](int bin) {
    double sum = 0;
    for (int c = 0; c < problem.classes; ++c) sum += counts[scalar::hardness_place(c, bin)];
    return sum;
  };
  const int first = scalar::first_hard_bin(
      of_all(scalar::kHardnessBins),
      scalar::least_kept(parameters[1], problem.sums[LossSums::kPixels]), of_all);
  problem.hard = {parameters[0], first};
  double weights = first == 0 ? problem.sums[LossSums::kWeights] : 0;
  // Behind the last bin there are the pixels below the threshold: all there are, where no bin is.
  const int end = first == scalar::kHardnessBins ? scalar::kHardnessCounts : scalar::kHardnessBins;
  for (int bin = first; first > 0 && bin < end; ++bin) {
    for (int c = 0; c < problem.classes; ++c) {
      weights += counts[scalar::hardness_place(c, bin)] * problem.weights[to_size(c)];
    }
  }
  problem.sums[at.weights(at.hard_term())] = weights;
}

template <typename T>
void finish(Problem& problem, const Partials& partials, LossValues* values) {
  const LossSums& at = problem.layout;
  const double valid = problem.sums[LossSums::kPixels];
  LossValues result;
  result.valid_pixels = static_cast<float>(valid);
  double total = 0;
  const std::span<const LossTerm> pixel_terms = problem.pixel_terms();
  const std::span<const LossTerm> region_terms = problem.region_terms();
  std::fill_n(problem.by_probability, problem.parts() * 2 * problem.classes, 0.0f);
  std::array<double, kMaxLossTerms> region_values{};
  for (int64_t part = 0; part < problem.parts() && !region_terms.empty(); ++part) {
    const ClassSums sums = class_sums_of(problem, partials, part);
    for (size_t k = 0; k < region_terms.size(); ++k) {
      region_values[k] += finish_region_term(region_terms[k], problem, sums, part);
    }
  }
  for (size_t k = 0; k < region_terms.size(); ++k) {
    total += static_cast<double>(region_terms[k].weight) * region_values[k];
    result.terms[pixel_terms.size() + k] = static_cast<float>(region_values[k]);
  }
  std::fill_n(problem.tables.slopes, problem.tables.errors, 0.0f);
  const std::span<const LossTerm> rank_terms = problem.rank_terms();
  for (size_t k = 0; k < rank_terms.size() && valid > 0; ++k) {
    const double value = finish_rank_term(rank_terms[k], problem);
    total += static_cast<double>(rank_terms[k].weight) * value;
    result.terms[pixel_terms.size() + region_terms.size() + k] = static_cast<float>(value);
  }
  if (at.has_hard()) find_hardest(problem);
  const auto weight_sum = [&](size_t k) { return problem.sums[at.weights(static_cast<int>(k))]; };
  for (size_t k = 0; k < pixel_terms.size(); ++k) {
    if (weight_sum(k) <= 0) continue;
    problem.scales[k] =
        static_cast<float>(static_cast<double>(pixel_terms[k].weight) / weight_sum(k)) *
        problem.gradient_scale();
  }
  const Pass pass{.values = !values_come_first(at), .gradient = problem.d_logits.data != nullptr};
  if (pass.values || pass.gradient) run_pass<T>(problem, pass, partials);
  for (size_t k = 0; k < pixel_terms.size(); ++k) {
    if (weight_sum(k) <= 0) continue;
    const double value = problem.sums[at.pixel_term(static_cast<int>(k))] / weight_sum(k);
    total += static_cast<double>(pixel_terms[k].weight) * value;
    result.terms[k] = static_cast<float>(value);
  }
  result.total = static_cast<float>(total);
  *values = result;
}

class CpuLossOps final : public LossOps {
 public:
  size_t workspace_bytes(const LossDesc& desc, Shape logits) const override {
    const LossSums layout(desc, logits.c);
    const int64_t parts = parts_of(layout, logits);
    const int64_t chunks = parts * ceil_div(logits.pixels() / parts, kChunkPixels);
    return layout.bytes() + to_size(parts * 2 * logits.c) * sizeof(float) +
           CountTables::bytes(layout, std::min(chunks, kMaxCountTables)) +
           to_size(chunks) * Partials::floats(logits.c) * sizeof(float) +
           (layout.has_edges() ? to_size(logits.pixels()) * kEdgeBytes : 0);
  }

  void sums(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
            const Tensor& class_weights, void* workspace) override {
    const Problem problem = make_problem(desc, logits, labels, class_weights, {}, workspace);
    const Partials partials = partials_of(problem);
    count(problem, partials);
    if (problem.layout.has_edges()) {
      uint8_t* const plane = plane_of(partials, problem.chunks());
      const int64_t pixels = problem.pixels();
      find_edges(desc, problem.layout, logits.shape, problem.labels, problem.classes, plane,
                 {plane + pixels, plane + 2 * pixels});
      weigh_edges(problem, partials);
    }
    if (!problem.layout.has_class_sums()) return;
    const Pass pass{.values = values_come_first(problem.layout), .class_sums = true};
    visit_cpu(logits.dtype, [&](auto type) { run_pass<decltype(type)>(problem, pass, partials); });
  }

  void gradient(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
                const Tensor& class_weights, const Tensor& d_logits, LossValues* values,
                void* workspace) override {
    require(d_logits.data == nullptr ||
                (d_logits.shape == logits.shape && d_logits.dtype == logits.dtype),
            "loss: the gradient has the shape and dtype of the logits");
    Problem problem = make_problem(desc, logits, labels, class_weights, d_logits, workspace);
    const Partials partials = partials_of(problem);
    visit_cpu(logits.dtype, [&](auto type) { finish<decltype(type)>(problem, partials, values); });
  }

 private:
  // Behind the sums there are the gradients by the probabilities, the tables, the chunks' sums, and
  // the plane of edges.
  static Partials partials_of(const Problem& problem) {
    return {reinterpret_cast<float*>(problem.tables.table(problem.count_tables())),
            problem.classes};
  }
  static uint8_t* plane_of(const Partials& partials, int64_t chunks) {
    return reinterpret_cast<uint8_t*>(partials.chunk(chunks));
  }

  static Problem make_problem(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
                              const Tensor& class_weights, const Tensor& d_logits,
                              void* workspace) {
    const int classes = logits.shape.c;
    check_loss(desc, logits, labels);
    require(labels.dense(), "loss: labels are dense");
    const LossSums layout(desc, classes);
    auto* const sums = static_cast<double*>(workspace);
    auto* const by_probability = reinterpret_cast<float*>(sums + layout.count());
    Problem problem{.desc = desc,
                    .layout = layout,
                    .logits = logits,
                    .d_logits = d_logits,
                    .labels = labels.as<uint8_t>(),
                    .classes = classes,
                    .sums = sums,
                    .tables = CountTables(
                        layout, by_probability + parts_of(layout, logits.shape) * 2 * classes),
                    .weights = {}};
    if (class_weights.data != nullptr) {
      std::copy_n(class_weights.as<float>(), classes, problem.weights.begin());
    } else {
      problem.weights.fill(1.0f);
    }
    problem.by_probability = by_probability;
    if (layout.has_edges()) problem.edges = plane_of(partials_of(problem), problem.chunks());
    return problem;
  }
};

}  // namespace

std::unique_ptr<LossOps> make_loss_ops() { return std::make_unique<CpuLossOps>(); }

}  // namespace macadam::cpu
