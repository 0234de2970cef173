// Losses. Two launches: sums over the batch, finished by their last block, and the gradient,
// each block of which finishes the terms from them. Counts of pixels are finished in launches
// between the two, and the values of a term of the hardest pixels are summed when these are known.
// Floor: size(logits) + 1 byte a pixel for the values; with the gradient twice that and
// size(logits) written.

#include <algorithm>
#include <limits>
#include <type_traits>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/loss_counts.h"
#include "kernels/cuda/loss_edges.h"
#include "kernels/cuda/pixel_tile.cuh"
#include "kernels/cuda/row_sums.cuh"
#include "kernels/loss.h"
#include "kernels/scalar/softmax.h"

namespace macadam::cuda {

namespace {

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

template <int kRows>
struct SumsShared {
  float log_sum_exp[kTileThreads];
  int label[kTileThreads];
  float sums[kRows][kTileThreads];
};

/// value[0 .. kTileThreads) summed into value[0], in a fixed order, for each row.
template <int kRows>
__device__ void sum_over_block(float (&value)[kRows][kTileThreads]) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int half = kTileThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) {
#pragma unroll
      for (int k = 0; k < kRows; ++k) value[k][thread] += value[k][thread + half];
    }
  }
  __syncthreads();
}

/// What the gradient needs of the sums, times gradient_scale.
struct Finished {
  float scale[kMaxLossTerms];                         // of pixel terms: weight / sum of weights
  float hit[kMaxLossClasses], miss[kMaxLossClasses];  // of all region terms
  float loss[kMaxLossTerms][kMaxLossClasses];  // of region and rank terms, its share of the mean
};

/// The terms from the sums over the batch; of region terms what one image adds, where these have
/// sums of their own. region_sums: from LossSums::labeled() on. Call with all threads of a block,
/// and wait.
__device__ void finish_terms(const LossDesc& desc, const LossSums& at, int classes,
                             const float* class_weights, const double* __restrict__ sums,
                             const double* __restrict__ region_sums, const double* rank_losses,
                             Finished& to) {
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
__device__ void write_values(const LossDesc& desc, const LossSums& at, int classes,
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

/// Of what a block adds up.
__host__ __device__ inline int row_width(const LossSums& at) {
  return at.counts() + at.pixel_terms();
}

/// Where sums_kernel leaves its sums.
struct SumsTarget {
  double* counts;     // at LossSums::counts(), all 0 before
  double* sums;       // before it
  double* values;     // of pixel terms
  int first_row = 0;  // sums before that number are left as they are
};

/// What sums_kernel takes besides pixel terms.
enum class ClassSums : uint8_t { none, sums, counts };  // counts: and the sums

/// Counts a labelled pixel by its hardness.
__device__ inline void count_hard(const LossDesc& desc, const LossSums& at,
                                  const scalar::PixelScores<float>& pixel, int label,
                                  double* counts) {
  const float p = scalar::exp_below_zero(pixel.log_probability());
  const int bin = scalar::hardness_bin(1 - p);
  if (bin > 0) atomicAdd(counts + scalar::hardness_place(label, bin), 1.0);
  if (!(p >= desc.terms[at.hard_term()].parameters[0])) {
    atomicAdd(counts + scalar::hardness_place(label, scalar::kHardnessBins), 1.0);
  }
}

/// First each thread takes the softmax of a pixel of the tile; then, for sums of classes, each
/// takes a class, and adds up its probabilities over a share of the tile's pixels. rows: one a
/// block, in /// the order of LossSums without the counts, which are taken in their place itself:
/// whole numbers, of which every order of adding gives the same. kPixelTerms: the most there may
/// be.
template <typename T, int kPixelTerms, ClassSums kClassSums>
__global__ void __launch_bounds__(kTileThreads, kBlocksThatFit)
    sums_kernel(Batch<T> batch, LossDesc desc, LossSums at, RowSums rows, SumsTarget to) {
  constexpr int kOwn = kAllTerms<kPixelTerms> ? kPixelTerms : 0;  // sums of weights
  constexpr int kRows = 2 + kPixelTerms + kOwn;
  constexpr bool kRegions = kClassSums != ClassSums::none;
  auto& memory = shared<SumsShared<kRows>>();
  T* tile = dynamic_shared<T>();
  const TileLayout& layout = batch.layout;
  const int thread = static_cast<int>(threadIdx.x);
  const int classes = layout.channels;
  const int shares = kTileThreads / classes;
  const int share = thread / classes, mine = thread - share * classes;

  float weight_sum = 0, valid = 0;
  float values[kPixelTerms] = {}, own[kPixelTerms] = {};
  float intersection = 0, predicted = 0, labeled = 0;

  for (int64_t first = static_cast<int64_t>(blockIdx.x) * layout.tile; first < layout.pixels;
       first += static_cast<int64_t>(gridDim.x) * layout.tile) {
    const int64_t left = layout.pixels - first;
    const int count = left < layout.tile ? static_cast<int>(left) : layout.tile;
    load_tile(batch.logits, batch.contiguous, layout, first, count, tile);
    __syncthreads();
    if (thread < count) {
      const int label = batch.label(first + thread);
      if (kRegions) {
        memory.label[thread] = label;
        memory.log_sum_exp[thread] = std::numeric_limits<float>::infinity();  // p = 0
      }
      if (label >= 0) {
        const Scores<T> scores{tile + thread * layout.row};
        const float lse = scalar::softmax_stats(scores, classes).log_sum_exp();
        if (kRegions) memory.log_sum_exp[thread] = lse;
        const scalar::PixelScores<float> pixel =
            pixel_scores<kPixelTerms>(batch, desc, at, scores, label, lse);
        const float weight = batch.weight(label);
        weight_sum += weight;
        valid += 1;
#pragma unroll
        for (int k = 0; k < kPixelTerms; ++k) {
          if (k >= at.pixel_terms()) break;
          visit_term<kPixelTerms>(desc.terms[k], [&](const auto& term) {
            const float in_term = weight * term.weight(batch.place(k, first + thread, pixel));
            values[k] += in_term * term.value(pixel);
            if (kOwn > 0) own[k] += in_term;
          });
        }
        if constexpr (kClassSums == ClassSums::counts) {
          if (at.has_hard()) count_hard(desc, at, pixel, label, to.counts + at.error_counts());
        }
      }
    }
    __syncthreads();
    if constexpr (kRegions) {
      if (share < shares) {
#pragma unroll 4
        for (int pixel = share; pixel < count; pixel += shares) {
          const float p = scalar::exp_below_zero(widen(tile[pixel * layout.row + mine]) -
                                                 memory.log_sum_exp[pixel]);
          const bool here = memory.label[pixel] == mine;
          predicted += p;
          intersection += here ? p : 0.0f;
          labeled += here ? 1.0f : 0.0f;
          if constexpr (kClassSums == ClassSums::counts) {
            const bool counts = at.has_errors() && memory.label[pixel] >= 0;
            const int bin = counts ? scalar::error_bin(p, here) : 0;
            if (bin > 0) atomicAdd(to.counts + scalar::error_place(mine, bin, here), 1.0);
          }
        }
      }
      __syncthreads();
    }
  }

  float* out = rows.row(blockIdx.x);
  if constexpr (kRegions) {
    memory.sums[0][thread] = labeled;
    memory.sums[1][thread] = intersection;
    memory.sums[2][thread] = predicted;
    __syncthreads();
    if (thread < classes) {
      float total[3] = {};
      for (int other = thread; other < shares * classes; other += classes) {
#pragma unroll
        for (int k = 0; k < 3; ++k) total[k] += memory.sums[k][other];
      }
      out[at.labeled() + thread] = total[0];
      out[at.intersection() + thread] = total[1];
      out[at.predicted() + thread] = total[2];
    }
    __syncthreads();
  }
  memory.sums[LossSums::kWeights][thread] = weight_sum;
  memory.sums[LossSums::kPixels][thread] = valid;
#pragma unroll
  for (int k = 0; k < kPixelTerms; ++k) {
    memory.sums[2 + k][thread] = values[k];
    if (kOwn > 0) memory.sums[2 + kOwn + k][thread] = own[k];
  }
  sum_over_block(memory.sums);
  if (thread < 2) out[thread] = memory.sums[thread][0];
  if (thread < at.pixel_terms()) {
    out[at.counts() + thread] = memory.sums[2 + thread][0];
    if (kOwn > 0 && at.is_edge_term(thread)) {
      out[at.weights(thread)] = memory.sums[2 + kOwn + thread][0];
    }
  }

  rows.finish<1>(
      blockIdx.x, 0, row_width(at) - to.first_row,
      [&](int i, int) { return int64_t{to.first_row + i}; },
      [&](int i, const double(&total)[1]) {
        const int row = to.first_row + i;
        (row < at.counts() ? to.sums[row] : to.values[row - at.counts()]) = total[0];
      });
}

/// The values alone, in one block.
__global__ void __launch_bounds__(kTileThreads)
    values_kernel(LossDesc desc, LossSums at, int classes, const float* class_weights,
                  const double* __restrict__ sums, const double* rank_losses, LossValues* values) {
  auto& terms = shared<Finished>();
  finish_terms(desc, at, classes, class_weights, sums, sums + at.labeled(), rank_losses, terms);
  __syncthreads();
  if (threadIdx.x == 0) write_values(desc, at, classes, sums, terms, values);
}

/// The sums of the batch from those of its images, which are in the order of rows.
__global__ void __launch_bounds__(kTileThreads)
    add_images_kernel(LossSums at, const double* __restrict__ image_sums, int images,
                      double* sums) {
  const int width = row_width(at);
  for (int row = static_cast<int>(threadIdx.x); row < width; row += kTileThreads) {
    double total = 0;
    for (int n = 0; n < images; ++n) {
      const double* const of_image = image_sums + static_cast<int64_t>(n) * width;
      const double counts = of_image[LossSums::kPixels] > 0 ? 1 : 0;
      total += row == at.images() ? counts : of_image[row];
    }
    sums[row < at.counts() ? row : row - at.counts() + at.shared()] = total;
  }
}

/// The values alone, of region terms from the sums of images, in one block.
__global__ void __launch_bounds__(kTileThreads)
    image_values_kernel(LossDesc desc, LossSums at, int classes, const float* class_weights,
                        const double* __restrict__ sums, const double* __restrict__ image_sums,
                        int images, const double* rank_losses, LossValues* values) {
  auto& terms = shared<Finished>();
  const int thread = static_cast<int>(threadIdx.x);
  float losses[kMaxLossTerms] = {};
  for (int n = 0; n < images; ++n) {
    finish_terms(desc, at, classes, class_weights, sums,
                 image_sums + static_cast<int64_t>(n) * row_width(at) + at.labeled(), rank_losses,
                 terms);
    if (thread >= classes) continue;
    const int end_of_regions = at.pixel_terms() + at.region_terms();
    for (int k = 0; k < kMaxLossTerms; ++k) {
      losses[k] = (k < end_of_regions ? losses[k] : 0.0f) + terms.loss[k][thread];
    }
  }
  for (int k = 0; k < kMaxLossTerms && thread < classes; ++k) terms.loss[k][thread] = losses[k];
  __syncthreads();
  if (thread == 0) write_values(desc, at, classes, sums, terms, values);
}

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

bool reads_score_sum(const LossDesc& desc) {
  bool reads = false;
  for (const LossTerm& used : desc.used()) {
    scalar::visit_pixel_term<float>(
        used, [&](const auto& term) { reads = reads || term.label_smoothing() != 0; });
  }
  return reads;
}

template <typename T, int kPixelTerms>
auto sums_kernel_for(const LossSums& at) {
  return at.has_class_sums() ? sums_kernel<T, kPixelTerms, ClassSums::sums>
                             : sums_kernel<T, kPixelTerms, ClassSums::none>;
}
template <typename T>
auto sums_kernel_of(const LossSums& at) {
  if (at.has_counts()) return sums_kernel<T, kMaxPixelTerms, ClassSums::counts>;
  if (!at.has_plain_terms()) return sums_kernel_for<T, kMaxPixelTerms>(at);
  if (at.pixel_terms() <= 1) return sums_kernel_for<T, 1>(at);
  if (at.pixel_terms() == 2) return sums_kernel_for<T, 2>(at);
  return sums_kernel_for<T, kMaxPixelTerms>(at);
}
template <typename T>
auto gradient_kernel_of(const LossSums& at) {
  if (at.has_errors()) return gradient_kernel<T, kMaxPixelTerms, true>;
  if (!at.has_plain_terms()) return gradient_kernel<T, kMaxPixelTerms, false>;
  if (at.pixel_terms() <= 1) return gradient_kernel<T, 1, false>;
  if (at.pixel_terms() == 2) return gradient_kernel<T, 2, false>;
  return gradient_kernel<T, kMaxPixelTerms, false>;
}

class CudaLossOps final : public LossOps {
 public:
  explicit CudaLossOps(Stream& stream) : stream_(stream) {}

  size_t workspace_bytes(const LossDesc& desc, Shape logits) const override {
    const LossSums at(desc, logits.c);
    return at.bytes() + RankTables::bytes(at, logits.c) + sizeof(scalar::HardPixels) +
           Parts::image_sums_bytes(at, logits.n) + RowSums::bytes(kBlocks, row_width(at)) +
           (at.has_edges() ? to_size(logits.pixels()) * kEdgeBytes : 0);
  }

  void sums(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
            const Tensor& class_weights, void* workspace) override {
    check_loss(desc, logits, labels);
    const LossSums at(desc, logits.shape.c);
    const Parts parts(at, logits.shape, workspace);
    if (at.has_counts()) {
      zero_bytes(stream_, parts.sums + at.counts(),
                 to_size(at.shared() - at.counts()) * sizeof(double));
    }
    if (at.has_edges()) find_edges(stream_, desc, at, logits.shape.c, labels, parts.edges);
    if (!at.has_images()) {
      launch_sums(desc, at, {logits, labels, class_weights, parts.edges}, parts, parts.target(at));
      return;
    }
    for (int n = 0; n < logits.shape.n; ++n) {
      launch_sums(desc, at, image_of({logits, labels, class_weights, parts.edges}, n), parts,
                  parts.target_of_image(at, n));
    }
    launch(stream_, add_images_kernel, 1, kTileThreads, 0, at, parts.image_sums, logits.shape.n,
           parts.sums);
  }

  void gradient(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
                const Tensor& class_weights, const Tensor& d_logits, LossValues* values,
                void* workspace) override {
    check_loss(desc, logits, labels);
    require(d_logits.data == nullptr || d_logits.shape == logits.shape,
            "the gradient has the logits' shape");
    const int classes = logits.shape.c;
    const LossSums at(desc, classes);
    const Parts parts(at, logits.shape, workspace);
    const Inputs inputs{logits, labels, class_weights, parts.edges};
    if (at.has_errors()) finish_ranks(stream_, desc, at, classes, parts.sums, parts.ranks);
    if (at.has_hard()) {
      find_hardest(stream_, desc, at, classes, pointer_to(class_weights), parts.sums, parts.hard);
      SumsTarget values_alone = parts.target(at);
      values_alone.first_row = at.counts();
      launch_sums(desc, at, inputs, parts, values_alone);
    }
    if (at.has_images()) {
      launch(stream_, image_values_kernel, 1, kTileThreads, 0, desc, at, classes,
             pointer_to(class_weights), parts.sums, parts.image_sums, logits.shape.n,
             parts.ranks.losses, values);
      for (int n = 0; n < logits.shape.n && d_logits.data != nullptr; ++n) {
        launch_gradient(desc, at, image_of(inputs, n), parts,
                        parts.target_of_image(at, n).sums + at.labeled(), image_of(d_logits, n),
                        nullptr);
      }
    } else if (d_logits.data == nullptr) {
      launch(stream_, values_kernel, 1, kTileThreads, 0, desc, at, classes,
             pointer_to(class_weights), parts.sums, parts.ranks.losses, values);
    } else {
      launch_gradient(desc, at, inputs, parts, parts.sums + at.labeled(), d_logits, values);
    }
  }

 private:
  /// Of the workspace.
  struct Parts {
    double* sums;
    RankTables ranks;
    scalar::HardPixels* hard;
    double* image_sums;  // rows of sums, one an image
    void* rows;
    uint8_t* edges;

    Parts(const LossSums& at, Shape logits, void* workspace)
        : sums(static_cast<double*>(workspace)), ranks(at, logits.c, sums + at.count()) {
      std::byte* const behind_ranks =
          reinterpret_cast<std::byte*>(sums + at.count()) + RankTables::bytes(at, logits.c);
      hard = reinterpret_cast<scalar::HardPixels*>(behind_ranks);
      image_sums = reinterpret_cast<double*>(hard + 1);
      std::byte* const behind_images =
          reinterpret_cast<std::byte*>(image_sums) + image_sums_bytes(at, logits.n);
      rows = behind_images;
      edges = reinterpret_cast<uint8_t*>(behind_images + RowSums::bytes(kBlocks, row_width(at)));
    }
    static size_t image_sums_bytes(const LossSums& at, int images) {
      return at.has_images() ? to_size(int64_t{images} * row_width(at)) * sizeof(double) : 0;
    }

    SumsTarget target(const LossSums& at) const {
      return {sums + at.counts(), sums, sums + at.shared()};
    }
    SumsTarget target_of_image(const LossSums& at, int n) const {
      double* const of_image = image_sums + int64_t{n} * row_width(at);
      return {sums + at.counts(), of_image, of_image + at.counts()};
    }
  };

  /// What a call reads.
  struct Inputs {
    Tensor logits, labels, class_weights;
    const uint8_t* edges;
  };

  static Tensor image_of(const Tensor& batch, int n) {
    Tensor image = batch;
    image.shape.n = 1;
    image.data =
        static_cast<std::byte*>(batch.data) +
        n * image.shape.pixels() * batch.pixel_stride * static_cast<int64_t>(size_of(batch.dtype));
    return image;
  }
  static Inputs image_of(const Inputs& batch, int n) {
    const Tensor logits = image_of(batch.logits, n);
    return {logits, image_of(batch.labels, n), batch.class_weights,
            batch.edges + n * logits.shape.pixels()};
  }

  /// All sums, or, of those of pixel terms alone, when it is known which pixels the hardest are.
  void launch_sums(const LossDesc& desc, const LossSums& at, const Inputs& inputs,
                   const Parts& parts, const SumsTarget& to) {
    const DType dtype = inputs.logits.dtype;
    const TileLayout layout = tile_layout(inputs.logits);
    const unsigned blocks = blocks_of(layout);
    const RowSums rows(stream_, parts.rows, static_cast<int>(blocks), row_width(at));
    const bool values_alone = to.first_row > 0;
    visit_float(dtype, [&](auto type) {
      using T = decltype(type);
      launch(stream_,
             values_alone ? sums_kernel<T, kMaxPixelTerms, ClassSums::none> : sums_kernel_of<T>(at),
             blocks, kTileThreads, tile_bytes(layout, dtype),
             batch_of<T>(desc, at, inputs, layout, values_alone ? parts.hard : nullptr), desc, at,
             rows, to);
    });
  }

  void launch_gradient(const LossDesc& desc, const LossSums& at, const Inputs& inputs,
                       const Parts& parts, const double* region_sums, const Tensor& d_logits,
                       LossValues* values) {
    const DType dtype = inputs.logits.dtype;
    const TileLayout layout = tile_layout(inputs.logits);
    visit_float(dtype, [&](auto type) {
      using T = decltype(type);
      launch(stream_, gradient_kernel_of<T>(at), blocks_of(layout), kTileThreads,
             tile_bytes(layout, dtype),
             batch_of<T>(desc, at, inputs, layout, at.has_hard() ? parts.hard : nullptr), desc, at,
             parts.sums, region_sums, parts.ranks, view<T>(d_logits),
             contiguous_tiles(d_logits, layout), values);
    });
  }

  static unsigned blocks_of(const TileLayout& layout) {
    return std::min(blocks_for(layout.pixels, layout.tile), static_cast<unsigned>(kBlocks));
  }

  static const float* pointer_to(const Tensor& class_weights) {
    return class_weights.data ? class_weights.as<float>() : nullptr;
  }

  template <typename T>
  static Batch<T> batch_of(const LossDesc& desc, const LossSums& at, const Inputs& inputs,
                           const TileLayout& layout, const scalar::HardPixels* hard) {
    return {view<const T>(inputs.logits),
            view<const uint8_t>(inputs.labels),
            pointer_to(inputs.class_weights),
            layout,
            contiguous_tiles(inputs.logits, layout),
            desc.ignore,
            reads_score_sum(desc),
            hard,
            at.has_edges() ? inputs.edges : nullptr};
  }

  Stream& stream_;
};

}  // namespace

std::unique_ptr<LossOps> make_loss_ops(Stream& stream) {
  return std::make_unique<CudaLossOps>(stream);
}

}  // namespace macadam::cuda
