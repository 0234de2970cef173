// Softmax cross-entropy and soft Dice on the CPU.
//
// Pixels are handled in class-major blocks. Values, and the gradient of cross-entropy, need the
// labels' counts and one pass over the logits; the gradient of Dice needs its sums first and is a
// second pass.

#include <algorithm>
#include <array>
#include <memory>

#include "kernels/cpu/class_major.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/scalar/dice.h"
#include "kernels/scalar/exp_log.h"
#include "kernels/scalar/softmax.h"

namespace macadam::cpu {

namespace {

constexpr int kMaxClasses = 64;
constexpr int kUnlabelled = -1;

/// Pixels of one partial sum.
constexpr int64_t kChunkPixels = 64 * kBlockPixels;

/// Sums of one chunk; `channels` of each kind follow each other in the caller's workspace.
struct Partials {
  float* data;
  int channels;

  static size_t floats(int channels) { return 3 * static_cast<size_t>(channels) + 1; }

  float* chunk(int64_t k) const { return data + k * static_cast<int64_t>(floats(channels)); }
  float* labelled(int64_t k) const { return chunk(k); }  // at most kChunkPixels: exact in fp32
  float* intersection(int64_t k) const { return chunk(k) + channels; }
  float* predicted(int64_t k) const { return chunk(k) + 2 * channels; }
  float& cross_entropy(int64_t k) const { return chunk(k)[3 * channels]; }
};

/// What the blocks of a call share.
struct Problem {
  LossDesc desc;
  const Tensor& logits;
  const Tensor& d_logits;
  const uint8_t* labels;
  int classes;
  alignas(64) std::array<float, kMaxClasses> weights;
  std::array<double, kMaxClasses> labelled{};
  double valid = 0;
  double weight_sum = 0;
  // Set between the passes: gradient of `total` by a pixel's probability, where the label is
  // another class and where it is this one.
  std::array<float, kMaxClasses> hit{}, miss{};

  bool has_dice() const { return desc.dice_weight != 0; }
  float gradient_scale() const {
    return desc.gradient_scale == nullptr ? 1.0f : *desc.gradient_scale;
  }
  int64_t pixels() const { return logits.shape.pixels(); }
};

/// Which of a pass's results are wanted.
struct Pass {
  bool sums;      // of cross-entropy and Dice
  bool gradient;  // into d_logits
};

void count_labels(const uint8_t* labels, int64_t pixels, const LossDesc& desc, int classes,
                  float* counts) {
  // Neighbouring pixels mostly share a label: four tables keep increments from waiting.
  std::array<std::array<uint32_t, 256>, 4> tables{};
  for (int64_t p = 0; p < pixels; ++p) ++tables[static_cast<size_t>(p & 3)][labels[p]];
  for (int c = 0; c < classes; ++c) {
    const auto i = static_cast<size_t>(c);
    const uint32_t count = tables[0][i] + tables[1][i] + tables[2][i] + tables[3][i];
    counts[c] = c == desc.ignore ? 0.0f : static_cast<float>(count);
  }
}

/// One block of pixels, class-major.
struct Block {
  // Scores, then exp(score - max), then gradients. From the exponentials on, everything of an
  // ignored pixel is 0, whatever its scores.
  alignas(64) ClassRow rows[kMaxClasses];
  alignas(64) int label[kBlockPixels];
  alignas(64) ClassRow weight;   // of the pixel's label
  alignas(64) ClassRow inverse;  // 1 / sum of exponentials
  alignas(64) ClassRow loss;     // weighted cross-entropy
};

void load_labels(const Problem& problem, int64_t first, int pixels, Block& block) {
  const int classes = problem.classes, ignore = problem.desc.ignore;
  for (int p = 0; p < kBlockPixels; ++p) {
    const int label = p < pixels ? problem.labels[first + p] : kUnlabelled;
    const bool valid = label >= 0 && label < classes && label != ignore;
    block.label[p] = valid ? label : kUnlabelled;
    block.weight[p] = valid ? problem.weights[static_cast<size_t>(label)] : 0.0f;
  }
}

/// Scores to exponentials; fills `inverse` and `loss`.
void softmax(const Problem& problem, Block& block) {
  const int classes = problem.classes;
  const float smoothing = problem.desc.label_smoothing;
  alignas(64) ClassRow max, label_score, score_sum, sum;
  std::copy_n(block.rows[0], kBlockPixels, max);
  std::fill_n(label_score, kBlockPixels, 0.0f);
  std::fill_n(score_sum, kBlockPixels, 0.0f);
  std::fill_n(sum, kBlockPixels, 0.0f);
  for (int c = 0; c < classes; ++c) {
    const float* z = block.rows[c];
#pragma omp simd
    for (int p = 0; p < kBlockPixels; ++p) {
      max[p] = z[p] > max[p] ? z[p] : max[p];
      label_score[p] = block.label[p] == c ? z[p] : label_score[p];
    }
  }
  if (smoothing != 0) {
    for (int c = 0; c < classes; ++c) {
      const float* z = block.rows[c];
#pragma omp simd
      for (int p = 0; p < kBlockPixels; ++p) score_sum[p] += z[p];
    }
  }
  for (int c = 0; c < classes; ++c) {
    float* z = block.rows[c];
#pragma omp simd
    for (int p = 0; p < kBlockPixels; ++p) {
      const float exponential = scalar::exp_inline(z[p] - max[p]);
      z[p] = block.label[p] == kUnlabelled ? 0.0f : exponential;
      sum[p] += exponential;
    }
  }
#pragma omp simd
  for (int p = 0; p < kBlockPixels; ++p) {
    block.inverse[p] = block.label[p] == kUnlabelled ? 0.0f : 1.0f / sum[p];
    const float log_sum_exp = max[p] + scalar::log_inline(sum[p]);
    const float loss =
        scalar::cross_entropy(log_sum_exp, label_score[p], score_sum[p], smoothing, classes);
    block.loss[p] = block.label[p] == kUnlabelled ? 0.0f : block.weight[p] * loss;
  }
}

/// A chunk's sums for Dice, in lanes that are added up at its end.
struct DiceSums {
  static constexpr int kLanes = 16;
  using Lanes = float[kLanes];
  alignas(64) Lanes intersection[kMaxClasses];
  alignas(64) Lanes predicted[kMaxClasses];

  explicit DiceSums(int classes) {
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

/// Exponentials to the gradient of `total` by the scores.
void gradient(const Problem& problem, Block& block) {
  const int classes = problem.classes;
  const float smoothing = problem.desc.label_smoothing;
  const float mean_scale = problem.weight_sum > 0
                               ? static_cast<float>(problem.desc.ce_weight / problem.weight_sum)
                               : 0.0f;
  const float ce_scale = mean_scale * problem.gradient_scale();
  // Dice by the scores, through the softmax: p_c * (q_c - sum_k q_k p_k), q the gradient by p.
  alignas(64) ClassRow dot;
  std::fill_n(dot, kBlockPixels, 0.0f);
  if (problem.has_dice()) {
    for (int c = 0; c < classes; ++c) {
      const float* e = block.rows[c];
      const float hit = problem.hit[static_cast<size_t>(c)];
      const float miss = problem.miss[static_cast<size_t>(c)];
#pragma omp simd
      for (int p = 0; p < kBlockPixels; ++p) {
        dot[p] += (block.label[p] == c ? hit : miss) * (e[p] * block.inverse[p]);
      }
    }
  }
  for (int c = 0; c < classes; ++c) {
    float* e = block.rows[c];
    const float hit = problem.hit[static_cast<size_t>(c)];
    const float miss = problem.miss[static_cast<size_t>(c)];
#pragma omp simd
    for (int p = 0; p < kBlockPixels; ++p) {
      const bool is_label = block.label[p] == c;
      const float probability = e[p] * block.inverse[p];
      const float ce = scalar::cross_entropy_gradient(probability, is_label, smoothing, classes);
      const float dice = probability * ((is_label ? hit : miss) - dot[p]);
      e[p] = ce_scale * block.weight[p] * ce + dice;
    }
  }
}

/// One pass over the logits.
template <typename T>
void run_pass(const Problem& problem, Pass pass, const Partials& partials) {
  parallel_chunks(problem.pixels(), kChunkPixels, [&](int64_t k, int64_t begin, int64_t end) {
    Block block;
    alignas(64) ClassRow loss{};
    DiceSums dice(problem.classes);
    for (int64_t first = begin; first < end; first += kBlockPixels) {
      const auto pixels = static_cast<int>(std::min<int64_t>(kBlockPixels, end - first));
      to_class_major(at<const T>(problem.logits, first), problem.logits.pixel_stride, pixels,
                     problem.classes, block.rows);
      load_labels(problem, first, pixels, block);
      softmax(problem, block);
      if (pass.sums) {
#pragma omp simd
        for (int p = 0; p < kBlockPixels; ++p) loss[p] += block.loss[p];
        if (problem.has_dice()) dice.add(block, problem.classes);
      }
      if (pass.gradient) {
        gradient(problem, block);
        from_class_major(block.rows, pixels, problem.classes, at<T>(problem.d_logits, first),
                         problem.d_logits.pixel_stride);
      }
    }
    if (!pass.sums) return;
    partials.cross_entropy(k) = sum_of(loss);
    for (int c = 0; c < problem.classes; ++c) {
      partials.intersection(k)[c] = sum_of(dice.intersection[c]);
      partials.predicted(k)[c] = sum_of(dice.predicted[c]);
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

/// The Dice loss, and its gradient by the probabilities into `problem`.
double finish_dice(Problem& problem, int64_t chunks, const Partials& partials) {
  if (problem.valid == 0 || !problem.has_dice()) return 0;
  const AbsentClass absent = problem.desc.absent;
  const auto counts = [&](int c) {
    return absent == AbsentClass::suppress || problem.labelled[static_cast<size_t>(c)] > 0;
  };
  int present = 0;
  for (int c = 0; c < problem.classes; ++c) present += counts(c) ? 1 : 0;
  const int mean_over = absent == AbsentClass::skip ? present : problem.classes;
  const float scale =
      problem.desc.dice_weight / static_cast<float>(mean_over) * problem.gradient_scale();
  double loss = 0;
  for (int c = 0; c < problem.classes; ++c) {
    if (!counts(c)) continue;
    const auto i = static_cast<size_t>(c);
    const scalar::DiceTerm term = scalar::dice_term(
        sum_chunks(chunks, [&](int64_t k) { return partials.intersection(k)[c]; }),
        sum_chunks(chunks, [&](int64_t k) { return partials.predicted(k)[c]; }),
        problem.labelled[i], problem.desc.dice_smooth);
    loss += term.loss;
    problem.hit[i] = scale * term.hit;
    problem.miss[i] = scale * term.miss;
  }
  return loss / mean_over;
}

template <typename T>
void compute(Problem& problem, const Partials& partials, LossValues* values) {
  const int64_t chunks = ceil_div(problem.pixels(), kChunkPixels);
  parallel_chunks(problem.pixels(), kChunkPixels, [&](int64_t k, int64_t begin, int64_t end) {
    count_labels(problem.labels + begin, end - begin, problem.desc, problem.classes,
                 partials.labelled(k));
  });
  for (int c = 0; c < problem.classes; ++c) {
    const auto i = static_cast<size_t>(c);
    problem.labelled[i] = sum_chunks(chunks, [&](int64_t k) { return partials.labelled(k)[c]; });
    problem.valid += problem.labelled[i];
    problem.weight_sum += problem.labelled[i] * problem.weights[i];
  }
  const bool wants_gradient = problem.d_logits.data != nullptr;
  run_pass<T>(problem, {.sums = true, .gradient = wants_gradient && !problem.has_dice()}, partials);
  const double dice = finish_dice(problem, chunks, partials);
  if (wants_gradient && problem.has_dice()) {
    run_pass<T>(problem, {.sums = false, .gradient = true}, partials);
  }
  const double ce_sum = sum_chunks(chunks, [&](int64_t k) { return partials.cross_entropy(k); });
  const double ce = problem.weight_sum > 0 ? ce_sum / problem.weight_sum : 0.0;
  values->total = static_cast<float>(problem.desc.ce_weight * ce + problem.desc.dice_weight * dice);
  values->ce = static_cast<float>(ce);
  values->dice = static_cast<float>(dice);
  values->valid_pixels = static_cast<float>(problem.valid);
}

class CpuLossOps final : public LossOps {
 public:
  size_t workspace_bytes(Shape logits) const override {
    const auto chunks = static_cast<size_t>(ceil_div(logits.pixels(), kChunkPixels));
    return chunks * Partials::floats(logits.c) * sizeof(float);
  }

  void segmentation(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
                    const Tensor& class_weights, const Tensor& d_logits, LossValues* values,
                    void* workspace) override {
    const int classes = logits.shape.c;
    require(classes <= kMaxClasses, "loss: at most 64 classes");
    require(labels.shape.c == 1 && labels.dense(), "loss: labels are dense, one a pixel");
    require(labels.shape.pixels() == logits.shape.pixels(), "loss: labels have the logits' extent");
    require(d_logits.data == nullptr ||
                (d_logits.shape == logits.shape && d_logits.dtype == logits.dtype),
            "loss: the gradient has the shape and dtype of the logits");
    Problem problem{.desc = desc,
                    .logits = logits,
                    .d_logits = d_logits,
                    .labels = labels.as<uint8_t>(),
                    .classes = classes,
                    .weights = {}};
    if (class_weights.data != nullptr) {
      std::copy_n(class_weights.as<float>(), classes, problem.weights.begin());
    } else {
      problem.weights.fill(1.0f);
    }
    const Partials partials{static_cast<float*>(workspace), classes};
    visit_cpu(logits.dtype, [&](auto type) { compute<decltype(type)>(problem, partials, values); });
  }
};

}  // namespace

std::unique_ptr<LossOps> make_loss_ops() { return std::make_unique<CpuLossOps>(); }

}  // namespace macadam::cpu
