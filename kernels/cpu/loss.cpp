// Losses on the CPU.
//
// Pixels are handled in class-major blocks. Pixel terms and their gradient need the labels' counts
// and one pass over the logits, which is gradient()'s; region terms need their sums first: then the
// pass for all sums is that of sums(), and the gradient is a second one.

#include "kernels/loss.h"

#include <algorithm>
#include <array>
#include <memory>

#include "base/to_size.h"
#include "kernels/cpu/class_major.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"

namespace macadam::cpu {

namespace {

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

/// What the blocks of a call share.
struct Problem {
  LossDesc desc;
  LossSums layout;
  const Tensor& logits;
  Tensor d_logits;
  const uint8_t* labels;
  int classes;
  double* sums;
  alignas(64) std::array<float, kMaxLossClasses> weights;
  // Set before a pass for the gradient: what a pixel's slope of each pixel term is multiplied by,
  // and the gradient of `total` by a pixel's probability, where the label is another class and
  // where it is this one.
  std::array<float, kMaxLossTerms> scales{};
  std::array<float, kMaxLossClasses> hit{}, miss{};

  std::span<const LossTerm> pixel_terms() const {
    return {desc.terms, to_size(layout.pixel_terms())};
  }
  std::span<const LossTerm> region_terms() const {
    return desc.used().subspan(pixel_terms().size());
  }
  float gradient_scale() const {
    return desc.gradient_scale == nullptr ? 1.0f : *desc.gradient_scale;
  }
  int64_t pixels() const { return logits.shape.pixels(); }
  int64_t chunks() const { return ceil_div(pixels(), kChunkPixels); }
};

/// Which of a pass's results are wanted.
struct Pass {
  bool sums;      // of all terms
  bool gradient;  // into d_logits
};

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

/// One block of pixels, class-major.
struct Block {
  // Scores, then exp(score - max), then gradients. From the exponentials on, everything of an
  // ignored pixel is 0, whatever its scores.
  alignas(64) ClassRow rows[kMaxLossClasses];
  alignas(64) int label[kBlockPixels];
  alignas(64) ClassRow weight;   // of the pixel's label
  alignas(64) ClassRow inverse;  // 1 / sum of exponentials
  alignas(64) ClassRow max, sum, label_score, score_sum;

  scalar::PixelScores<float> scores(int pixel, int classes) const {
    return {max[pixel] + scalar::log_inline(sum[pixel]), label_score[pixel], score_sum[pixel],
            classes};
  }
};

void load_labels(const Problem& problem, int64_t first, int pixels, Block& block) {
  const int classes = problem.classes, ignore = problem.desc.ignore;
  for (int p = 0; p < kBlockPixels; ++p) {
    const int label = p < pixels ? problem.labels[first + p] : kUnlabeled;
    const bool valid = label >= 0 && label < classes && label != ignore;
    block.label[p] = valid ? label : kUnlabeled;
    block.weight[p] = valid ? problem.weights[to_size(label)] : 0.0f;
  }
}

/// Whether a term reads the sum of a pixel's scores.
bool reads_score_sum(std::span<const LossTerm> terms) {
  bool reads = false;
  for (const LossTerm& term : terms) {
    scalar::visit_pixel_term<float>(
        term, [&](const auto& of) { reads = reads || of.label_smoothing() != 0; });
  }
  return reads;
}

/// Scores to exponentials; fills what a pixel term sees.
void softmax(const Problem& problem, bool score_sum, Block& block) {
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

/// Adds each pixel term's weighted values to its row of `sums`.
void add_values(const Problem& problem, const Block& block, ClassRow* sums) {
  for (const LossTerm& term : problem.pixel_terms()) {
    float* const sum = *sums++;
    scalar::visit_pixel_term<float>(term, [&](const auto& of) {
#pragma omp simd
      for (int p = 0; p < kBlockPixels; ++p) {
        const float value = of.value(block.scores(p, problem.classes));
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

template <typename Lanes>
float sum_of(const Lanes& lanes) {
  float sum = 0;
  for (const float value : lanes) sum += value;
  return sum;
}

/// What the gradient's loop over classes needs of a block.
struct Slopes {
  alignas(64) ClassRow dot;  // sum_k q_k p_k, q the gradient of region terms by the probabilities
  alignas(64) ClassRow rows[kMaxPixelTerms];  // of pixel terms, with their scale and weight
  std::array<float, kMaxPixelTerms> smoothing{};
};

/// Exponentials to the gradient by the scores. Back through the softmax, q_c is p_c * (q_c - dot).
template <int kPixelTerms>
void apply(const Problem& problem, const Slopes& slopes, Block& block) {
  for (int c = 0; c < problem.classes; ++c) {
    float* e = block.rows[c];
    const float hit = problem.hit[to_size(c)];
    const float miss = problem.miss[to_size(c)];
#pragma omp simd
    for (int p = 0; p < kBlockPixels; ++p) {
      const bool is_label = block.label[p] == c;
      const float probability = e[p] * block.inverse[p];
      float sum = 0;
      for (size_t k = 0; k < kPixelTerms; ++k) {
        sum += slopes.rows[k][p] *
               scalar::label_gradient(probability, is_label, slopes.smoothing[k], problem.classes);
      }
      e[p] = sum + probability * ((is_label ? hit : miss) - slopes.dot[p]);
    }
  }
}

/// Exponentials to the gradient of `total` by the scores.
void gradient(const Problem& problem, Block& block) {
  const int classes = problem.classes;
  Slopes slopes;
  std::fill_n(slopes.dot, kBlockPixels, 0.0f);
  if (problem.layout.has_regions()) {
    for (int c = 0; c < classes; ++c) {
      const float* e = block.rows[c];
      const float hit = problem.hit[to_size(c)];
      const float miss = problem.miss[to_size(c)];
#pragma omp simd
      for (int p = 0; p < kBlockPixels; ++p) {
        slopes.dot[p] += (block.label[p] == c ? hit : miss) * (e[p] * block.inverse[p]);
      }
    }
  }
  const std::span<const LossTerm> terms = problem.pixel_terms();
  for (size_t k = 0; k < kMaxPixelTerms; ++k) {
    if (k >= terms.size()) {
      std::fill_n(slopes.rows[k], kBlockPixels, 0.0f);
      continue;
    }
    const float scale = problem.scales[k];
    scalar::visit_pixel_term<float>(terms[k], [&](const auto& of) {
      slopes.smoothing[k] = of.label_smoothing();
#pragma omp simd
      for (int p = 0; p < kBlockPixels; ++p) {
        const float slope = scale * block.weight[p] * of.slope(block.scores(p, classes));
        slopes.rows[k][p] = block.label[p] == kUnlabeled ? 0.0f : slope;
      }
    });
  }
  switch (terms.size()) {
    case 0: return apply<0>(problem, slopes, block);
    case 1: return apply<1>(problem, slopes, block);
    default: return apply<kMaxPixelTerms>(problem, slopes, block);
  }
}

/// One pass over the logits.
template <typename T>
void run_pass(const Problem& problem, Pass pass, const Partials& partials) {
  const auto pixel_terms = to_size(problem.layout.pixel_terms());
  const bool regions = problem.layout.has_regions() && pass.sums;
  const bool score_sum = pass.sums && reads_score_sum(problem.pixel_terms());
  parallel_chunks(problem.pixels(), kChunkPixels, [&](int64_t k, int64_t begin, int64_t end) {
    Block block;
    alignas(64) ClassRow values[kMaxLossTerms] = {};
    ProbabilitySums sums(regions ? problem.classes : 0);
    for (int64_t first = begin; first < end; first += kBlockPixels) {
      const auto pixels = static_cast<int>(std::min<int64_t>(kBlockPixels, end - first));
      to_class_major(at<const T>(problem.logits, first), problem.logits.pixel_stride, pixels,
                     problem.classes, block.rows);
      load_labels(problem, first, pixels, block);
      softmax(problem, score_sum, block);
      if (pass.sums) add_values(problem, block, values);
      if (regions) sums.add(block, problem.classes);
      if (pass.gradient) {
        gradient(problem, block);
        from_class_major(block.rows, pixels, problem.classes, at<T>(problem.d_logits, first),
                         problem.d_logits.pixel_stride);
      }
    }
    if (!pass.sums) return;
    for (size_t t = 0; t < pixel_terms; ++t) partials.pixel_terms(k)[t] = sum_of(values[t]);
    for (int c = 0; regions && c < problem.classes; ++c) {
      partials.intersection(k)[c] = sum_of(sums.intersection[c]);
      partials.predicted(k)[c] = sum_of(sums.predicted[c]);
    }
  });
}

/// The chunks' values of one kind and class, added in order.
template <typename Value>
double sum_chunks(int64_t chunks, const Value& value) {
  double sum = 0;
  for (int64_t k = 0; k < chunks; ++k) sum += value(k);
  return sum;
}

/// A pass that takes the sums of all terms, and puts them in their places.
template <typename T>
void sum_up(const Problem& problem, bool gradient, const Partials& partials) {
  run_pass<T>(problem, {.sums = true, .gradient = gradient}, partials);
  const int64_t chunks = problem.chunks();
  const LossSums& at = problem.layout;
  for (int t = 0; t < at.pixel_terms(); ++t) {
    problem.sums[at.pixel_term(t)] =
        sum_chunks(chunks, [&](int64_t k) { return partials.pixel_terms(k)[t]; });
  }
  for (int c = 0; at.has_regions() && c < problem.classes; ++c) {
    problem.sums[at.intersection() + c] =
        sum_chunks(chunks, [&](int64_t k) { return partials.intersection(k)[c]; });
    problem.sums[at.predicted() + c] =
        sum_chunks(chunks, [&](int64_t k) { return partials.predicted(k)[c]; });
  }
}

/// The labels' sums.
void count(const Problem& problem, const Partials& partials) {
  parallel_chunks(problem.pixels(), kChunkPixels, [&](int64_t k, int64_t begin, int64_t end) {
    count_labels(problem.labels + begin, end - begin, problem.desc, problem.classes,
                 partials.labeled(k));
  });
  double valid = 0, weight_sum = 0;
  for (int c = 0; c < problem.classes; ++c) {
    const double labeled =
        sum_chunks(problem.chunks(), [&](int64_t k) { return partials.labeled(k)[c]; });
    if (problem.layout.has_regions()) problem.sums[problem.layout.labeled() + c] = labeled;
    valid += labeled;
    weight_sum += labeled * problem.weights[to_size(c)];
  }
  problem.sums[LossSums::kWeights] = weight_sum;
  problem.sums[LossSums::kPixels] = valid;
}

/// The value of a region term; adds its gradient by the probabilities to `problem`.
double finish_region_term(const LossTerm& term, Problem& problem) {
  const LossSums& at = problem.layout;
  const AbsentClass absent = problem.desc.absent;
  const double* const labeled = problem.sums + at.labeled();
  int mean_over = 0;
  for (int c = 0; c < problem.classes; ++c) mean_over += is_in_mean(absent, labeled[c]) ? 1 : 0;
  const float scale = term.weight / static_cast<float>(mean_over) * problem.gradient_scale();
  double loss = 0;
  scalar::visit_region_term(term, [&](const auto& of) {
    for (int c = 0; c < problem.classes; ++c) {
      if (!has_loss(absent, labeled[c])) continue;
      const auto i = to_size(c);
      const scalar::RegionLoss result =
          of({problem.sums[at.intersection() + c], problem.sums[at.predicted() + c], labeled[c]});
      loss += static_cast<double>(static_cast<float>(result.loss));
      problem.hit[i] += scale * static_cast<float>(result.hit);
      problem.miss[i] += scale * static_cast<float>(result.miss);
    }
  });
  return loss / mean_over;
}

template <typename T>
void finish(Problem& problem, const Partials& partials, LossValues* values) {
  const LossSums& at = problem.layout;
  const double weight_sum = problem.sums[LossSums::kWeights];
  const double valid = problem.sums[LossSums::kPixels];
  LossValues result;
  result.valid_pixels = static_cast<float>(valid);
  double total = 0;
  const std::span<const LossTerm> pixel_terms = problem.pixel_terms();
  const std::span<const LossTerm> region_terms = problem.region_terms();
  for (size_t k = 0; k < region_terms.size() && valid > 0; ++k) {
    const double value = finish_region_term(region_terms[k], problem);
    total += static_cast<double>(region_terms[k].weight) * value;
    result.terms[pixel_terms.size() + k] = static_cast<float>(value);
  }
  for (size_t k = 0; k < pixel_terms.size() && weight_sum > 0; ++k) {
    problem.scales[k] =
        static_cast<float>(static_cast<double>(pixel_terms[k].weight) / weight_sum) *
        problem.gradient_scale();
  }
  const bool wants_gradient = problem.d_logits.data != nullptr;
  if (!at.has_regions()) {
    sum_up<T>(problem, wants_gradient, partials);
  } else if (wants_gradient) {
    run_pass<T>(problem, {.sums = false, .gradient = true}, partials);
  }
  for (size_t k = 0; k < pixel_terms.size() && weight_sum > 0; ++k) {
    const double value = problem.sums[at.pixel_term(static_cast<int>(k))] / weight_sum;
    total += static_cast<double>(pixel_terms[k].weight) * value;
    result.terms[k] = static_cast<float>(value);
  }
  result.total = static_cast<float>(total);
  *values = result;
}

class CpuLossOps final : public LossOps {
 public:
  size_t workspace_bytes(Shape logits) const override {
    const auto chunks = to_size(ceil_div(logits.pixels(), kChunkPixels));
    return LossSums::bytes(logits.c) + chunks * Partials::floats(logits.c) * sizeof(float);
  }

  void sums(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
            const Tensor& class_weights, void* workspace) override {
    const Problem problem = make_problem(desc, logits, labels, class_weights, {}, workspace);
    const Partials partials = partials_in(workspace, problem.classes);
    count(problem, partials);
    if (!problem.layout.has_regions()) return;
    visit_cpu(logits.dtype, [&](auto type) { sum_up<decltype(type)>(problem, false, partials); });
  }

  void gradient(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
                const Tensor& class_weights, const Tensor& d_logits, LossValues* values,
                void* workspace) override {
    require(d_logits.data == nullptr ||
                (d_logits.shape == logits.shape && d_logits.dtype == logits.dtype),
            "loss: the gradient has the shape and dtype of the logits");
    Problem problem = make_problem(desc, logits, labels, class_weights, d_logits, workspace);
    const Partials partials = partials_in(workspace, problem.classes);
    visit_cpu(logits.dtype, [&](auto type) { finish<decltype(type)>(problem, partials, values); });
  }

 private:
  static Partials partials_in(void* workspace, int classes) {
    std::byte* const behind_sums = static_cast<std::byte*>(workspace) + LossSums::bytes(classes);
    return {reinterpret_cast<float*>(behind_sums), classes};
  }

  static Problem make_problem(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
                              const Tensor& class_weights, const Tensor& d_logits,
                              void* workspace) {
    const int classes = logits.shape.c;
    check_loss(desc, logits, labels);
    require(labels.dense(), "loss: labels are dense");
    Problem problem{.desc = desc,
                    .layout = LossSums(desc, classes),
                    .logits = logits,
                    .d_logits = d_logits,
                    .labels = labels.as<uint8_t>(),
                    .classes = classes,
                    .sums = static_cast<double*>(workspace),
                    .weights = {}};
    if (class_weights.data != nullptr) {
      std::copy_n(class_weights.as<float>(), classes, problem.weights.begin());
    } else {
      problem.weights.fill(1.0f);
    }
    return problem;
  }
};

}  // namespace

std::unique_ptr<LossOps> make_loss_ops() { return std::make_unique<CpuLossOps>(); }

}  // namespace macadam::cpu
