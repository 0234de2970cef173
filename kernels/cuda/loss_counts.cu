// What a loss makes of its counts: a few thousand numbers, in one small launch each.

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/loss_counts.h"

namespace macadam::cuda {

namespace {

constexpr int kCountThreads = 256;
constexpr int kBinsOfThread = (scalar::kErrorBins + kCountThreads - 1) / kCountThreads;

struct RankShared {
  scalar::ErrorCounts counts[kCountThreads];  // of a thread's bins
  double loss[kCountThreads];
};

/// A block takes a class, a thread neighbouring bins, the first one those of the largest errors.
__global__ void __launch_bounds__(kCountThreads)
    rank_kernel(LossDesc desc, LossSums at, int classes, const double* __restrict__ sums,
                RankTables tables) {
  auto& memory = shared<RankShared>();
  const int thread = static_cast<int>(threadIdx.x), c = static_cast<int>(blockIdx.x);
  const double* const labeled = sums + at.labeled();
  const scalar::ClassErrors errors{sums + at.errors() + scalar::error_place(c, 0, false),
                                   labeled[c], sums[LossSums::kPixels]};
  const int first = scalar::kErrorSteps - thread * kBinsOfThread;
  const int last = first - kBinsOfThread < 0 ? 0 : first - kBinsOfThread + 1;
  scalar::ErrorCounts mine;
  for (int bin = first; bin >= last && bin > 0; --bin) {
    mine.label += errors.label(bin);
    mine.other += errors.other(bin);
  }
  for (int bin = first; bin >= last; --bin) {
    tables.slopes[scalar::error_place(c, bin, true)] = 0;
    tables.slopes[scalar::error_place(c, bin, false)] = 0;
  }
  memory.counts[thread] = mine;
  __syncthreads();
  scalar::ErrorCounts above;
  for (int other = 0; other < thread; ++other) {
    above.label += memory.counts[other].label;
    above.other += memory.counts[other].other;
  }
  float present = 0;
  for (int k = 0; k < classes; ++k) present += labeled[k] > 0 ? 1.0f : 0.0f;
  const float gradient_scale = desc.gradient_scale == nullptr ? 1.0f : *desc.gradient_scale;
  for (int k = 0; k < kMaxLossTerms; ++k) {
    double loss = 0;
    if (labeled[c] > 0) {
      const float scale = desc.terms[k].weight / present * gradient_scale;
      scalar::visit_rank_term(desc.terms[k], [&](const auto& term) {
        loss = scalar::walk_down(term, errors, above, first, last,
                                 [&](int bin, const scalar::RankSlopes& by_error) {
                                   tables.slopes[scalar::error_place(c, bin, true)] -=
                                       scale * static_cast<float>(by_error.label);
                                   tables.slopes[scalar::error_place(c, bin, false)] +=
                                       scale * static_cast<float>(by_error.other);
                                 });
      });
    }
    memory.loss[thread] = loss;
    __syncthreads();
    if (thread == 0) {
      // NaN is in no bin, but in the sum.
      double total = 0 * sums[at.predicted() + c];
      for (const double one : memory.loss) total += one;
      tables.losses[k * classes + c] = total;
    }
    __syncthreads();
  }
}

struct HardShared {
  double counts[scalar::kHardnessCounts];  // of all classes
  double weights[kCountThreads];
  int first;
};

__global__ void __launch_bounds__(kCountThreads)
    hard_kernel(LossDesc desc, LossSums at, int classes, const float* __restrict__ class_weights,
                double* sums, scalar::HardPixels* hard) {
  auto& memory = shared<HardShared>();
  const int thread = static_cast<int>(threadIdx.x);
  const double* const counts = sums + at.hardness();
  const float* const parameters = desc.terms[at.hard_term()].parameters;
  for (int bin = thread; bin < scalar::kHardnessCounts; bin += kCountThreads) {
    double count = 0;
    for (int c = 0; c < classes; ++c) count += counts[scalar::hardness_place(c, bin)];
    memory.counts[bin] = count;
  }
  __syncthreads();
  if (thread == 0) {
    memory.first =
        scalar::first_hard_bin(memory.counts[scalar::kHardnessBins],
                               scalar::least_kept(parameters[1], sums[LossSums::kPixels]),
                               [&](int bin) { return memory.counts[bin]; });
    *hard = {parameters[0], memory.first};
  }
  __syncthreads();
  const int first = memory.first;
  // Behind the last bin there are the pixels below the threshold: all there are, where no bin is.
  const int end = first == scalar::kHardnessBins ? scalar::kHardnessCounts : scalar::kHardnessBins;
  double mine = 0;
  for (int bin = first + thread; first > 0 && bin < end; bin += kCountThreads) {
    for (int c = 0; c < classes; ++c) {
      const double weight = class_weights == nullptr ? 1.0 : static_cast<double>(class_weights[c]);
      mine += counts[scalar::hardness_place(c, bin)] * weight;
    }
  }
  memory.weights[thread] = mine;
  __syncthreads();
  if (thread != 0) return;
  double weights = first == 0 ? sums[LossSums::kWeights] : 0;
  for (const double one : memory.weights) weights += one;
  sums[at.weights(at.hard_term())] = weights;
}

}  // namespace

void finish_ranks(Stream& stream, const LossDesc& desc, const LossSums& at, int classes,
                  const double* sums, const RankTables& tables) {
  launch(stream, rank_kernel, static_cast<unsigned>(classes), kCountThreads, 0, desc, at, classes,
         sums, tables);
}

void find_hardest(Stream& stream, const LossDesc& desc, const LossSums& at, int classes,
                  const float* class_weights, double* sums, scalar::HardPixels* hard) {
  launch(stream, hard_kernel, 1, kCountThreads, 0, desc, at, classes, class_weights, sums, hard);
}

}  // namespace macadam::cuda
