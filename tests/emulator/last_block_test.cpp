// Sums that the last block of a launch finishes: once, with every bit of the same sums in the same
// order, whichever block comes last, and with tickets that are as they were.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "as_emulated.h"
#include "base/to_size.h"
#include "kernels/cuda/row_sums.cuh"

namespace macadam {
namespace {

using emulated::kThreads;
using emulated::RowSums;

struct Case {
  int count, lanes, sums;  // rows; sets of sums; sums of each in a row
};

/// The value that block `row` adds to a column.
float value(int row, int column) {
  std::minstd_rand random(static_cast<unsigned>(1 + row * 7919 + column));
  random.discard(3);
  return std::ldexp(static_cast<float>(random() % 4096) - 2000.0f, static_cast<int>(random() % 20));
}

struct Result {
  std::vector<double> sums;
  std::vector<int> times, finished;  // by column, by lane

  bool operator==(const Result&) const = default;
};

/// A lane's sums stand in pairs, [2][lanes][sums / 2].
void kernel(RowSums rows, Case c, Result* result) {
  const auto lane = static_cast<int>(blockIdx.y), half = c.sums / 2;
  const auto column = [&](int i, int k) {
    return static_cast<int64_t>(k) * c.lanes * half + lane * half + i;
  };
  float* out = rows.row(blockIdx.x);
  for (int i = static_cast<int>(threadIdx.x); i < half; i += kThreads) {
    for (int k = 0; k < 2; ++k) {
      out[column(i, k)] = value(static_cast<int>(blockIdx.x), static_cast<int>(column(i, k)));
    }
  }
  const bool last =
      rows.finish<2>(blockIdx.x, blockIdx.y, half, column, [&](int i, const double(&sums)[2]) {
        for (int k = 0; k < 2; ++k) {
          const auto at = to_size(column(i, k));
          result->sums[at] = sums[k];
          ++result->times[at];
        }
      });
  if (last && threadIdx.x == 0) ++result->finished[to_size(lane)];
}

Result run(Stream& stream, const Case& c) {
  const int64_t width = int64_t{c.lanes} * c.sums;
  std::vector<double> workspace(RowSums::bytes(c.count, width) / sizeof(double) + 1, 1e300);
  const RowSums rows(stream, workspace.data(), c.count, width, c.lanes);
  Result result{std::vector<double>(to_size(width)), std::vector<int>(to_size(width)),
                std::vector<int>(to_size(c.lanes))};
  emulated::launch(stream, kernel,
                   dim3(static_cast<unsigned>(c.count), static_cast<unsigned>(c.lanes)), kThreads,
                   0, rows, c, &result);
  return result;
}

TEST(RowSums, AreFinishedOnceByTheLastBlock) {
  Stream stream;
  for (const Case c : {Case{1, 1, 2}, Case{2, 3, 6}, Case{32, 2, 10}, Case{33, 2, 600},
                       Case{65, 1, 4}, Case{1056, 1, 2}, Case{64, 8, 512}}) {
    const Result first = run(stream, c);
    for (size_t column = 0; column < first.sums.size(); ++column) {
      double expected = 0, size = 0;
      for (int row = 0; row < c.count; ++row) {
        expected += value(row, static_cast<int>(column));
        size += std::abs(value(row, static_cast<int>(column)));
      }
      ASSERT_NEAR(first.sums[column], expected, 1e-14 * size) << c.count << " rows, " << column;
      ASSERT_EQ(first.times[column], 1) << column;
    }
    EXPECT_EQ(first.finished, std::vector<int>(to_size(c.lanes), 1));
    // The blocks of the next launches come in other orders.
    for (int again = 0; again < 4; ++again) EXPECT_EQ(run(stream, c), first) << c.count;
  }
  EXPECT_TRUE(std::all_of(stream.tickets(), stream.tickets() + Stream::kTickets,
                          [](unsigned ticket) { return ticket == 0; }));
}

// fp32 sums of 2^24 and 1 lose the 1; those of many rows must not.
TEST(RowSums, AreTakenInDouble) {
  Stream stream;
  constexpr int kRows = 100;
  std::vector<double> workspace(RowSums::bytes(kRows, 1) / sizeof(double) + 1);
  const RowSums rows(stream, workspace.data(), kRows, 1);
  double sum = 0;
  emulated::launch(
      stream,
      +[](RowSums r, double* total) {
        if (threadIdx.x == 0) *r.row(blockIdx.x) = blockIdx.x == 0 ? 16777216.0f : 1.0f;
        r.finish<1>(
            blockIdx.x, 0, 1, [](int, int) { return int64_t{0}; },
            [&](int, const double(&sums)[1]) { *total = sums[0]; });
      },
      kRows, kThreads, 0, rows, &sum);
  EXPECT_EQ(sum, 16777216.0 + kRows - 1);
}

TEST(RowSums, MoreTicketsThanThereAreIsRefused) {
  Stream stream;
  EXPECT_NO_THROW(RowSums(stream, nullptr, 32, 1, Stream::kTickets));
  EXPECT_THROW(RowSums(stream, nullptr, 33, 1, Stream::kTickets / 3 + 1), std::logic_error);
}

}  // namespace
}  // namespace macadam
