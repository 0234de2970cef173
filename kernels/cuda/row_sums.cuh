#pragma once
// Sums over a whole launch, finished in it: each block writes a row of partial sums, and the block
// that comes last adds the rows up. In what order they are added depends on how many there are
// alone, so that the result has the same bits whichever block that is.

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/launch.cuh"

namespace macadam::cuda {

struct LastBlockShared {
  bool last;
};

/// Whether this block is the last of `blocks` that come here with this ticket, which is 0 again
/// then. What the others wrote before they came is visible to all threads of the last one, but is
/// to be read past the L1 cache (__ldcg). Call with all threads of the block,
/// which has one dimension.
__device__ __forceinline__ bool last_block(unsigned* ticket, unsigned blocks) {
  bool& last = shared<LastBlockShared>().last;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();  // for the whole block: its writes are before the barrier
    last = atomicInc(ticket, blocks - 1) == blocks - 1;
    if (last) __threadfence();
  }
  __syncthreads();
  return last;
}

/// Rows that one block adds up. Where there are more, the last block of every group of so many adds
/// these, and the last of all the groups' sums: to one block alone 528 rows of 512 sums are 1 MB.
constexpr int kRowsOfGroup = 32;

/// `count` rows of `width` sums; a kernel's argument.
class RowSums {
 public:
  RowSums() = default;
  /// `workspace`: bytes(count, width) bytes, 8-byte aligned. `lanes`: the sets of sums in a launch
  /// that are finished each by itself, as their blocks share none.
  RowSums(Stream& stream, void* workspace, int count, int64_t width, int lanes = 1)
      : groups_(static_cast<double*>(workspace)),
        rows_(reinterpret_cast<float*>(groups_ + group_rows(count) * width)),
        tickets_(stream.tickets()),
        width_(width),
        count_(count) {
    require(int64_t{lanes} * (group_rows(count) + 1) <= Stream::kTickets, "tickets for all blocks");
  }

  static size_t bytes(int count, int64_t width) {
    return static_cast<size_t>(group_rows(count) * width) * sizeof(double) +
           static_cast<size_t>(count * width) * sizeof(float);
  }

  /// The same sums over the first `count` rows alone: of the blocks of those, while the others
  /// leave.
  __device__ RowSums first(int count) const {
    RowSums some = *this;
    some.count_ = count;
    return some;
  }

  /// Where block `index` of `count` leaves its sums.
  __device__ float* row(unsigned index) const { return rows_ + index * width_; }

  /// To be called by all threads of block `index` of `lane`, when its row is written. In the last
  /// one, finish(i, sums) is called by one thread for each i < items, with sums[k] the sum over all
  /// rows of column(i, k), which lies in a row that no other lane has to do with. Returns whether
  /// this was the last.
  template <int K, typename Column, typename Finish>
  __device__ bool finish(unsigned index, unsigned lane, int items, const Column& column,
                         const Finish& finish) const {
    const int groups = group_rows(count_);
    unsigned* const tickets = tickets_ + lane * static_cast<unsigned>(groups + 1);
    if (groups == 0) {
      if (!last_block(tickets, static_cast<unsigned>(count_))) return false;
      add_up<K>(rows_, count_, items, column, finish);
      return true;
    }
    const int group = static_cast<int>(index) / kRowsOfGroup, first = group * kRowsOfGroup;
    const int rows = count_ - first < kRowsOfGroup ? count_ - first : kRowsOfGroup;
    if (!last_block(tickets + 1 + group, static_cast<unsigned>(rows))) return false;
    double* const sums_of_group = groups_ + group * width_;
    add_up<K>(rows_ + first * width_, rows, items, column, [&](int i, const double(&sums)[K]) {
#pragma unroll
      for (int k = 0; k < K; ++k) sums_of_group[column(i, k)] = sums[k];
    });
    if (!last_block(tickets, static_cast<unsigned>(groups))) return false;
    add_up<K>(groups_, groups, items, column, finish);
    return true;
  }

 private:
  /// 0: one block adds up all rows.
  __host__ __device__ static int group_rows(int count) {
    return count <= kRowsOfGroup ? 0 : (count + kRowsOfGroup - 1) / kRowsOfGroup;
  }

  template <int K, typename T, typename Column, typename Done>
  __device__ void add_up(const T* first, int rows, int items, const Column& column,
                         const Done& done) const {
    const auto threads = static_cast<int>(blockDim.x);
    for (int i = static_cast<int>(threadIdx.x); i < items; i += threads) {
      const T* at[K];
      double sums[K];
#pragma unroll
      for (int k = 0; k < K; ++k) {
        at[k] = first + column(i, k);
        sums[k] = 0;
      }
#pragma unroll 8
      for (int row = 0; row < rows; ++row) {
#pragma unroll
        for (int k = 0; k < K; ++k) {
          sums[k] += static_cast<double>(__ldcg(at[k] + row * width_));
        }
      }
      done(i, sums);
    }
  }

  double* groups_ = nullptr;
  float* rows_ = nullptr;
  unsigned* tickets_ = nullptr;
  int64_t width_ = 0;
  int count_ = 0;
};

}  // namespace macadam::cuda
