// The emulator keeps CUDA's promises, and catches what breaks its rules.

#include "block_emulator.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/to_size.h"

namespace macadam::emulator {
namespace {

/// The message of the EmulatorError that a launch of one block ends with.
template <typename Kernel>
std::string failure_of(unsigned threads, const Kernel& kernel) {
  try {
    run_grid(dim3(1), dim3(threads), 0, kernel);
  } catch (const EmulatorError& error) {
    return error.what();
  }
  return "";
}

TEST(BlockEmulator, RunsEveryThreadOfEveryBlockOnce) {
  std::vector<int> visits(5 * 3 * 2 * 7 * 4 * 3);
  run_grid(dim3(5, 3, 2), dim3(7, 4, 3), 0, [&] {
    const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    ++visits[block * blockDim.x * blockDim.y * blockDim.z + thread];
  });
  EXPECT_EQ(visits, std::vector<int>(visits.size(), 1));
}

struct Row {
  int value[64];
};

TEST(BlockEmulator, BarrierMakesSharedWritesVisible) {
  std::vector<int> seen(3 * 64);
  run_grid(dim3(3), dim3(64), 0, [&] {
    Row& row = shared<Row>();
    for (unsigned round = 0; round < 4; ++round) {
      row.value[threadIdx.x] = static_cast<int>(threadIdx.x + blockIdx.x * 100 + round);
      __syncthreads();
      const int other = row.value[63 - threadIdx.x];
      __syncthreads();
      seen[blockIdx.x * 64 + threadIdx.x] = other;
    }
  });
  for (int block = 0; block < 3; ++block) {
    for (int thread = 0; thread < 64; ++thread) {
      EXPECT_EQ(seen[to_size(block * 64 + thread)], 63 - thread + block * 100 + 3);
    }
  }
}

TEST(BlockEmulator, SharedMemoryStartsPoisonedInEveryBlock) {
  int clean = 0;
  run_grid(dim3(4), dim3(64), 64 * sizeof(int), [&] {
    Row& row = shared<Row>();
    int* dynamic = static_cast<int*>(dynamic_shared());
    clean += row.value[threadIdx.x] != -1 || dynamic[threadIdx.x] != -1;
    row.value[threadIdx.x] = 0;
    dynamic[threadIdx.x] = 0;
  });
  EXPECT_EQ(clean, 0);
}

TEST(BlockEmulator, MissingBarrierShows) {
  // Each direction works if threads always ran in one order.
  for (const int step : {1, -1}) {
    int stale = 0;
    run_grid(dim3(2), dim3(64), 0, [&] {
      Row& row = shared<Row>();
      const int thread = static_cast<int>(threadIdx.x);
      row.value[thread] = thread;
      const int other = (thread + step + 64) % 64;
      stale += row.value[other] != other;
    });
    EXPECT_GT(stale, 60) << "step " << step;
  }
}

TEST(BlockEmulator, ReportsThreadsThatLeaveBeforeABarrier) {
  const std::string failure = failure_of(64, [] {
    if (threadIdx.x < 5) return;
    __syncthreads();
  });
  EXPECT_NE(failure.find("5 threads have left"), std::string::npos) << failure;
  EXPECT_NE(failure.find("block_emulator_test.cpp:"), std::string::npos) << failure;
}

TEST(BlockEmulator, ReportsDifferentBarriers) {
  const std::string failure = failure_of(64, [] {
    if (threadIdx.x % 2 == 0) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  });
  EXPECT_NE(failure.find("divergence"), std::string::npos) << failure;
}

TEST(BlockEmulator, ReportsLoopsOfDifferentLength) {
  EXPECT_NE(failure_of(64,
                       [] {
                         for (unsigned i = 0; i < threadIdx.x % 3; ++i) __syncthreads();
                       }),
            "");
}

TEST(BlockEmulator, WarpsMayWaitApartFromEachOther) {
  std::vector<int> sums(64);
  run_grid(dim3(1), dim3(64), 0, [&] {
    const int thread = static_cast<int>(threadIdx.x);
    int sum = thread;
    if (thread < 32) {
      for (int delta = 16; delta > 0; delta /= 2) sum += __shfl_down_sync(~0u, sum, delta);
    }
    __syncthreads();
    sums[threadIdx.x] = sum;
  });
  EXPECT_EQ(sums[0], 31 * 32 / 2);
  EXPECT_EQ(sums[40], 40);
}

TEST(BlockEmulator, ShufflesMoveValuesBetweenLanes) {
  run_grid(dim3(1), dim3(64), 0, [] {
    const int lane = static_cast<int>(threadIdx.x % 32);
    const double value = lane * 1.5;
    EXPECT_EQ(__shfl_sync(~0u, value, 7), 7 * 1.5);
    EXPECT_EQ(__shfl_sync(~0u, value, 3, 8), (lane / 8 * 8 + 3) * 1.5);
    EXPECT_EQ(__shfl_down_sync(~0u, value, 4), (lane + 4 < 32 ? lane + 4 : lane) * 1.5);
    EXPECT_EQ(__shfl_down_sync(~0u, value, 4, 16), (lane % 16 + 4 < 16 ? lane + 4 : lane) * 1.5);
    EXPECT_EQ(__shfl_up_sync(~0u, value, 2), (lane >= 2 ? lane - 2 : lane) * 1.5);
    EXPECT_EQ(__shfl_xor_sync(~0u, value, 5), (lane ^ 5) * 1.5);
    EXPECT_EQ(__ballot_sync(~0u, lane % 4 == 1), 0x22222222u);
    __syncwarp();
  });
}

TEST(BlockEmulator, ReportsLanesMissingFromAShuffle) {
  const std::string failure = failure_of(32, [] {
    if (threadIdx.x != 9) __shfl_sync(~0u, 1, 0);
  });
  EXPECT_NE(failure.find("1 threads have left"), std::string::npos) << failure;
  EXPECT_NE(failure_of(32, [] { __shfl_sync(0xffu, 1, 0); }), "");
  EXPECT_NE(failure_of(40, [] { __shfl_sync(~0u, 1, 0); }), "");
}

TEST(BlockEmulator, ReportsTooMuchSharedMemory) {
  const auto use_both = [] {
    shared<Row>();
    dynamic_shared();
  };
  const size_t left = 48 * 1024 - sizeof(Row);
  EXPECT_NO_THROW(run_grid(dim3(1), dim3(32), left, use_both));
  EXPECT_THROW(run_grid(dim3(1), dim3(32), left + 1, use_both), EmulatorError);
}

TEST(BlockEmulator, AtomicAdditionsAddUp) {
  unsigned long long total = 0;
  std::vector<unsigned> before(256);
  unsigned counter = 0;
  run_grid(dim3(8), dim3(32), 0, [&] {
    atomicAdd(&total, blockIdx.x + 1ull);
    before[atomicAdd(&counter, 1u)] = 1;
  });
  EXPECT_EQ(total, 32u * 36u);
  EXPECT_EQ(before, std::vector<unsigned>(256, 1));
}

TEST(BlockEmulator, UnwindsWaitingThreadsWhenOneThrows) {
  const auto alive = std::make_shared<int>(0);
  EXPECT_THROW(run_grid(dim3(1), dim3(64), 0,
                        [&] {
                          const auto held = alive;
                          if (threadIdx.x == 40) throw std::runtime_error("thread 40");
                          __syncthreads();
                        }),
               std::runtime_error);
  EXPECT_EQ(alive.use_count(), 1);

  int after = 0;
  run_grid(dim3(1), dim3(64), 0, [&] {
    __syncthreads();
    ++after;
  });
  EXPECT_EQ(after, 64);
}

TEST(BlockEmulator, RefusesImpossibleLaunches) {
  const auto nothing = [] {};
  EXPECT_THROW(run_grid(dim3(1), dim3(0), 0, nothing), EmulatorError);
  EXPECT_THROW(run_grid(dim3(1), dim3(1025), 0, nothing), EmulatorError);
  EXPECT_NE(failure_of(32, [&] { run_grid(dim3(1), dim3(1), 0, nothing); }), "");
  EXPECT_THROW(__syncthreads(), EmulatorError);
}

#if defined(__SANITIZE_ADDRESS__)
TEST(BlockEmulatorDeathTest, AddressSanitizerSeesSharedMemoryOverruns) {
  const auto overrun = [](size_t at) {
    run_grid(dim3(1), dim3(64), 64 * sizeof(int),
             [&] { static_cast<int*>(dynamic_shared())[threadIdx.x + at] = 1; });
  };
  const auto overrun_object = [](size_t at) {
    run_grid(dim3(1), dim3(64), 0, [&] { shared<Row>().value[threadIdx.x + at] = 1; });
  };
  overrun(0);
  overrun_object(0);
  EXPECT_DEATH(overrun(1), "heap-buffer-overflow");
  EXPECT_DEATH(overrun_object(1), "out of bounds|heap-buffer-overflow");
}
#endif

/// The message of the EmulatorError that a launch of one cluster of four blocks ends with.
template <typename Kernel>
std::string failure_of_cluster(const Kernel& kernel) {
  try {
    run_clusters(dim3(4), dim3(64), 4, kernel);
  } catch (const EmulatorError& error) {
    return error.what();
  }
  return "";
}

TEST(Clusters, BarriersMakeSharedWritesVisibleToTheOtherBlocks) {
  for (int launch = 0; launch < 3; ++launch) {  // each in another order
    std::vector<int> seen(size_t{3} * 4 * 2 * 64, -1), poisoned(1);
    run_clusters(dim3(3 * 4, 2), dim3(64), 4, [&] {
      Row& own = shared<Row>();
      const auto thread = static_cast<int>(threadIdx.x), rank = position.rank;
      poisoned[0] += own.value[thread] == -1;
      own.value[thread] = 1000 * static_cast<int>(blockIdx.x) + thread;
      cluster_barrier({__FILE__, __LINE__});
      const int other = shared_of<Row>((rank + 1) % 4).value[63 - thread];
      cluster_barrier({__FILE__, __LINE__});
      seen[to_size((static_cast<int>(blockIdx.y * gridDim.x + blockIdx.x)) * 64 + thread)] = other;
    });
    EXPECT_EQ(poisoned[0], 3 * 4 * 2 * 64);
    for (int block = 0; block < 24; ++block) {
      const int x = block % 12, next = x / 4 * 4 + (x + 1) % 4;
      for (int thread = 0; thread < 64; ++thread) {
        ASSERT_EQ(seen[to_size(block * 64 + thread)], 1000 * next + 63 - thread) << block;
      }
    }
  }
}

TEST(Clusters, ABlocksBarrierWaitsForItAlone) {
  std::vector<int> rounds(4);
  EXPECT_EQ(failure_of_cluster([&] {
              for (int i = 0; i <= position.rank; ++i) {
                __syncthreads();
                if (threadIdx.x == 0) ++rounds[to_size(position.rank)];
              }
              cluster_barrier({__FILE__, __LINE__});
            }),
            "");
  EXPECT_EQ(rounds, (std::vector<int>{1, 2, 3, 4}));
}

TEST(Clusters, MissingBarrierShows) {
  int stale = 0;
  for (int launch = 0; launch < 2; ++launch) {
    run_clusters(dim3(8), dim3(64), 4, [&] {
      shared<Row>().value[threadIdx.x] = 1;
      stale += shared_of<Row>(3 - position.rank).value[threadIdx.x] != 1;
      cluster_barrier({__FILE__, __LINE__});
    });
  }
  EXPECT_GT(stale, 0);
}

TEST(Clusters, SharedMemoryOfABlockThatHasLeftIsAnError) {
  const std::string failure = failure_of_cluster([&] {
    shared<Row>().value[threadIdx.x] = 1;
    cluster_barrier({__FILE__, __LINE__});
    if (position.rank != 2) return;
    __syncthreads();
    static_cast<void>(shared_of<Row>(1));
  });
  EXPECT_EQ(failure, "shared memory of a block that has left");
}

TEST(Clusters, ABlockThatLeavesWhileOthersWaitIsAnError) {
  const std::string failure = failure_of_cluster([&] {
    if (position.rank != 1) cluster_barrier({__FILE__, __LINE__});
  });
  EXPECT_NE(failure.find("64 threads have left"), std::string::npos) << failure;
}

TEST(Clusters, DivideTheGrid) {
  EXPECT_THROW(run_clusters(dim3(6), dim3(64), 4, [] {}), EmulatorError);
  EXPECT_THROW(run_clusters(dim3(4), dim3(48), 4, [] {}), EmulatorError);
}

}  // namespace
}  // namespace macadam::emulator
