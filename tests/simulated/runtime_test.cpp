// The simulated device keeps CUDA's promises under every schedule, and refuses what CUDA refuses.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <thread>

#include "base/error.h"
#include "kernels/backend_version.h"
#include "kernels/timeline.h"
#include "tests/simulated/under_schedules.h"

using namespace macadam;
using namespace macadam::simulated;

namespace {

TEST(SimulatedRuntime, IsADeviceLikeAnyOther) {
  EXPECT_EQ(list_devices().size(), 2u);
  EXPECT_EQ(parse_device("cuda"), kGpu);
  EXPECT_EQ(parse_device("auto"), kGpu);
  const DeviceInfo info = device_info(kGpu);
  EXPECT_EQ(info.name, "simulated");
  EXPECT_EQ(info.compute_capability, 90);
  EXPECT_TRUE(info.fast_bf16);
  EXPECT_EQ(backend_version(kGpu), "simulated");
  EXPECT_THROW(Stream(Device{DeviceKind::cuda, 1}), RunError);
}

TEST(SimulatedRuntime, NothingRunsBeforeTheHostWaits) {
  const Scheduled late({Schedule::Order::late});
  int ran = 0;
  Stream stream(kGpu), other(kGpu);
  launch(stream, [&] { ++ran; });
  launch(other, [&] { ran += 10; });
  EXPECT_EQ(ran, 0);
  stream.synchronize();
  EXPECT_EQ(ran, 1);
  other.synchronize();
  EXPECT_EQ(ran, 11);
}

TEST(SimulatedRuntime, AStreamKeepsItsOrder) {
  under_schedules([] {
    Stream stream(kGpu), other(kGpu);
    std::vector<int> ran;
    for (int i = 0; i < 20; ++i) {
      launch(stream, [&ran, i] { ran.push_back(i); });
      launch(other, [] {});
    }
    stream.synchronize();
    std::vector<int> wanted(20);
    std::iota(wanted.begin(), wanted.end(), 0);
    EXPECT_EQ(ran, wanted);
  });
}

TEST(SimulatedRuntime, AWaitIsForTheLatestRecord) {
  under_schedules([] {
    Stream first(kGpu), second(kGpu);
    Event event(kGpu);
    int value = 0;
    second.wait(event);  // never recorded: nothing to wait for
    launch(first, [&] { value = 1; });
    event.record(first);
    launch(first, [&] { value = 2; });
    event.record(first);
    second.wait(event);
    std::vector<int> seen;
    launch(second, [&] { seen.push_back(value); });
    event.record(second);  // what was waited for before stays what it was
    event.synchronize();
    EXPECT_EQ(seen, std::vector<int>{2});
  });
}

TEST(SimulatedRuntime, AnEventIsDoneWithoutWhatCameAfter) {
  const auto seen = results_of([] {
    Stream stream(kGpu);
    Event event(kGpu);
    int value = 0;
    launch(stream, [&] { value = 1; });
    event.record(stream);
    launch(stream, [&] { value = 2; });
    event.synchronize();
    const int found = value;
    stream.synchronize();
    return found;
  });
  EXPECT_EQ(seen, (std::vector{2, 1})) << "ahead of the host, and behind it";
}

TEST(SimulatedRuntime, ChainsOfWaitsAreFollowed) {
  under_schedules([] {
    Stream streams[] = {Stream(kGpu), Stream(kGpu), Stream(kGpu)};
    std::vector<int> ran;
    for (int i = 0; i < 9; ++i) {
      launch(streams[i % 3], [&ran, i] { ran.push_back(i); });
      Event event(kGpu);  // destroyed while it is waited for
      event.record(streams[i % 3]);
      streams[(i + 1) % 3].wait(event);
    }
    streams[0].synchronize();
    EXPECT_EQ(ran, (std::vector{0, 1, 2, 3, 4, 5, 6, 7, 8}));
  });
}

TEST(SimulatedRuntime, ADestroyedStreamFinishesItsWork) {
  under_schedules([] {
    bool ran = false;
    Stream stream(kGpu);
    {
      Stream gone(kGpu);
      launch(gone, [&] { ran = true; });
      Event event(kGpu);
      event.record(gone);
      stream.wait(event);
    }
    stream.synchronize();
    EXPECT_TRUE(ran);
  });
}

TEST(SimulatedRuntime, PageableMemoryIsCopiedBeforeTheCallReturns) {
  under_schedules([] {
    Stream stream(kGpu);
    const Buffer device(kGpu, sizeof(int));
    int value = 7, back = 0;
    copy_bytes(stream, device.data(), &value, sizeof value);
    value = 8;
    copy_bytes(stream, &back, device.data(), sizeof back);
    EXPECT_EQ(back, 7);
  });
}

TEST(SimulatedRuntime, FreshMemoryIsPoisoned) {
  Stream stream(kGpu);
  const Buffer device(kGpu, 100 * sizeof(float)), pinned = Buffer::host_for(kGpu, sizeof(float));
  float value = 0;
  copy_bytes(stream, &value, device.data() + 99 * sizeof(float), sizeof value);
  EXPECT_TRUE(std::isnan(value));
  std::memcpy(&value, pinned.data(), sizeof value);
  EXPECT_TRUE(std::isnan(value));
}

TEST(SimulatedRuntime, TheHostCannotTouchTheDevicesMemory) {
  Stream stream(kGpu);
  const Buffer device(kGpu, 100);
  const volatile std::byte* first = device.data();
  EXPECT_DEATH(static_cast<void>(*first), "");
  zero_bytes(stream, device.data(), device.bytes());
  stream.synchronize();
  EXPECT_DEATH(static_cast<void>(*first), "");
}

TEST(SimulatedRuntime, MemoryIsUsedAgain) {
  const Buffer first(kGpu, 1000), second(kGpu, 1);
  const std::byte* gap = nullptr;
  {
    const Buffer middle(kGpu, 300), last(kGpu, 10);
    gap = middle.data();
    EXPECT_GE(gap, second.data() + 1);
    EXPECT_GE(last.data(), gap + 300);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(gap) % 256, 0u);
  }
  EXPECT_EQ(Buffer(kGpu, 200).data(), gap);
}

TEST(SimulatedRuntime, ReleasedMemoryIsNoLongerInUse) {
  under_schedules([] {
    Stream stream(kGpu);
    bool ran = false;
    {
      const Buffer device(kGpu, 64);
      zero_bytes(stream, device.data(), device.bytes());
      launch(stream, [&] { ran = true; });
    }
    EXPECT_TRUE(ran);
  });
}

TEST(SimulatedRuntime, MemoryIsLimitedAndReturns) {
  const size_t most = device_info(kGpu).memory_bytes;
  EXPECT_THROW(Buffer(kGpu, most + 1), RunError);
  const Buffer half(kGpu, 1 << 20);
  EXPECT_THROW(Buffer(kGpu, most), RunError);
  EXPECT_NO_THROW(Buffer(kGpu, 1 << 20));
}

TEST(SimulatedRuntime, AGraphRunsWhenItIsLaunched) {
  under_schedules([] {
    Stream stream(kGpu);
    const Buffer pinned = Buffer::host_for(kGpu, 1), device(kGpu, 1), sum(kGpu, 1);
    zero_bytes(stream, sum.data(), 1);
    int ran = 0;
    CapturedGraph graph = CapturedGraph::record(stream, [&] {
      copy_bytes(stream, device.data(), pinned.data(), 1);
      launch(stream, [&, to = sum.data(), from = device.data()] {
        *to = static_cast<std::byte>(static_cast<int>(*to) + static_cast<int>(*from));
        ++ran;
      });
    });
    stream.synchronize();
    EXPECT_EQ(ran, 0);
    for (const int value : {1, 20, 100}) {
      *pinned.data() = static_cast<std::byte>(value);
      graph.launch(stream);
      stream.synchronize();
    }
    graph.launch(stream);
    graph = {};  // what was launched still runs
    std::byte back{};
    copy_bytes(stream, &back, sum.data(), 1);
    EXPECT_EQ(static_cast<int>(back), 221);
    EXPECT_EQ(ran, 4);
  });
}

TEST(SimulatedRuntime, ARecordingHoldsNeitherWaitingNorAllocation) {
  Stream stream(kGpu), other(kGpu);
  Event event(kGpu);
  event.record(other);
  std::byte host{};
  Buffer device(kGpu, 1);
  const std::function<void()> refused[] = {
      [&] { stream.synchronize(); },
      [&] { other.synchronize(); },
      [&] { event.synchronize(); },
      [&] { stream.wait(event); },
      [&] { event.record(stream); },
      [&] { Buffer(kGpu, 1); },
      [&] { Buffer::host_for(kGpu, 1); },
      [&] { device = Buffer(); },
      [&] { copy_bytes(stream, device.data(), &host, 1); },
      [&] { copy_bytes(stream, &host, device.data(), 1); },
  };
  for (const auto& call : refused) {
    int ran = 0;
    EXPECT_THROW(CapturedGraph::record(stream,
                                       [&] {
                                         launch(stream, [&] { ++ran; });
                                         call();
                                       }),
                 RunError);
    stream.synchronize();
    EXPECT_EQ(ran, 0);
  }
  // A failure that the body hides spoils the recording all the same.
  const auto hidden = [&] {
    try {
      stream.synchronize();
    } catch (const RunError&) {
    }
  };
  EXPECT_THROW(CapturedGraph::record(stream, hidden), RunError);
  // Another thread may do what it likes.
  CapturedGraph::record(stream, [&] {
    std::thread([] {
      const Buffer buffer(kGpu, 16);
      Stream own(kGpu);
      own.synchronize();
    }).join();
  });
}

TEST(SimulatedRuntime, TimesAreOfWhenWorkWasDone) {
  under_schedules([] {
    Stream stream(kGpu);
    Timeline timeline(stream);
    for (int i = 0; i < 4; ++i) {
      timeline.mark();
      launch(stream, [] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); });
    }
    const std::vector<double> times = timeline.milliseconds();
    for (size_t i = 1; i < times.size(); ++i) EXPECT_GE(times[i] - times[i - 1], 1);
  });
}

TEST(SimulatedRuntime, WhatAKernelThrowsReachesTheHost) {
  const Scheduled late({Schedule::Order::late});
  Stream stream(kGpu);
  launch(stream, [] { throw emulator::EmulatorError("a warp too many"); });
  EXPECT_THROW(stream.synchronize(), emulator::EmulatorError);
  EXPECT_NO_THROW(stream.synchronize());
}

TEST(SimulatedRuntime, ThreadsTakeTurns) {
  under_schedules([] {
    std::vector<std::thread> threads;
    std::vector<int> sums(3);
    for (int& sum : sums) {
      threads.emplace_back([&sum] {
        Stream stream(kGpu);
        for (int i = 1; i <= 50; ++i) {
          launch(stream, [&sum, i] { sum += i; });
          if (i % 10 == 0) stream.synchronize();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(sums, std::vector<int>(3, 1275));
  });
}

}  // namespace
