#include "server/service/batcher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <map>

#include "base/error.h"

using namespace macadam;
using namespace std::chrono_literals;

namespace {

/// What became of the jobs of a test.
struct Ends {
  std::mutex mutex;
  std::condition_variable changed;
  std::map<int, JobEnd> ends;
  std::map<int, int> batches;

  void wait_for(size_t count) {
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, 20s, [&] { return ends.size() >= count; }));
  }
};

class TestJob : public Job {
 public:
  TestJob(Ends& ends, int its_number, const void* its_group) : number(its_number), ends_(ends) {
    group = its_group;
  }
  bool abandoned() const override { return left; }
  void ended() override {
    const std::lock_guard lock(ends_.mutex);
    EXPECT_TRUE(ends_.ends.emplace(number, end).second) << "job " << number << " ended twice";
    ends_.batches[number] = batch;
    ends_.changed.notify_all();
  }

  const int number;
  std::atomic<bool> left = false;

 private:
  Ends& ends_;
};

const int kGroup = 0, kOther = 0;

/// Holds the first batch until it is opened.
class Gate {
 public:
  void pass() {
    begun_.set_value_at_most_once();
    open_.get_future_shared().wait();
  }
  void wait_until_begun() { begun_.get_future_shared().wait(); }
  void open() { open_.set_value_at_most_once(); }

 private:
  struct Once {
    std::promise<void> promise;
    std::shared_future<void> future = promise.get_future().share();
    std::atomic<bool> set = false;
    void set_value_at_most_once() {
      if (!set.exchange(true)) promise.set_value();
    }
    std::shared_future<void> get_future_shared() { return future; }
  };
  Once begun_, open_;
};

TEST(Batcher, WhatWaitsForOneGroupRunsTogether) {
  Ends ends;
  Gate gate;
  Batcher batcher({.replicas = 1, .max_batch = 3},
                  [&](int, std::span<Job* const>) { gate.pass(); });
  batcher.submit(std::make_unique<TestJob>(ends, 0, &kOther));
  gate.wait_until_begun();
  for (int i = 1; i <= 5; ++i) {
    batcher.submit(std::make_unique<TestJob>(ends, i, i == 2 ? &kOther : &kGroup));
  }
  EXPECT_EQ(batcher.waiting(), 5u);
  gate.open();
  ends.wait_for(6);
  EXPECT_EQ(ends.batches[0], 1);
  for (const int i : {1, 3, 4}) EXPECT_EQ(ends.batches[i], 3) << "job " << i;
  EXPECT_EQ(ends.batches[2], 1) << "of another group";
  EXPECT_EQ(ends.batches[5], 1) << "the batch was full";
}

TEST(Batcher, JobsWithoutAGroupRunAlone) {
  Ends ends;
  Gate gate;
  Batcher batcher({.replicas = 1, .max_batch = 8},
                  [&](int, std::span<Job* const>) { gate.pass(); });
  for (int i = 0; i < 3; ++i) batcher.submit(std::make_unique<TestJob>(ends, i, nullptr));
  gate.open();
  ends.wait_for(3);
  for (const auto& [job, batch] : ends.batches) EXPECT_EQ(batch, 1);
}

TEST(Batcher, TheFirstOfABatchWaitsForOthersIfItIsAllowedTo) {
  Ends ends;
  Batcher batcher({.replicas = 1, .max_batch = 2, .max_delay = 10s},
                  [](int, std::span<Job* const>) {});
  batcher.submit(std::make_unique<TestJob>(ends, 0, &kGroup));
  std::this_thread::sleep_for(20ms);
  batcher.submit(std::make_unique<TestJob>(ends, 1, &kGroup));
  ends.wait_for(2);
  EXPECT_EQ(ends.batches[0], 2);
}

TEST(Batcher, ALateJobIsAnsweredWhileAnotherRuns) {
  Ends ends;
  Gate gate;
  std::atomic<int> ran = 0;
  Batcher batcher({}, [&](int, std::span<Job* const> jobs) {
    ran += static_cast<int>(jobs.size());
    gate.pass();
  });
  batcher.submit(std::make_unique<TestJob>(ends, 0, &kGroup));
  gate.wait_until_begun();
  auto late = std::make_unique<TestJob>(ends, 1, &kGroup);
  late->deadline = Clock::now() + 5ms;
  batcher.submit(std::move(late));
  auto leaving = std::make_unique<TestJob>(ends, 2, &kGroup);
  leaving->left = true;
  batcher.submit(std::move(leaving));
  ends.wait_for(2);
  EXPECT_EQ(ends.ends.at(1), JobEnd::expired);
  EXPECT_EQ(ends.ends.at(2), JobEnd::abandoned);
  EXPECT_EQ(batcher.waiting(), 0u) << "their places are free";
  gate.open();
  ends.wait_for(3);
  EXPECT_EQ(ran, 1);
}

TEST(Batcher, OneThatCannotBeDoneFailsAlone) {
  Ends ends;
  Gate gate;
  Batcher batcher({.replicas = 1, .max_batch = 8}, [&](int, std::span<Job* const> jobs) {
    gate.pass();
    for (const Job* const job : jobs) {
      if (static_cast<const TestJob*>(job)->number == 2) throw RunError("bad", "", "");
    }
  });
  batcher.submit(std::make_unique<TestJob>(ends, 0, &kGroup));
  gate.wait_until_begun();
  for (int i = 1; i <= 4; ++i) batcher.submit(std::make_unique<TestJob>(ends, i, &kGroup));
  gate.open();
  ends.wait_for(5);
  for (const auto& [job, end] : ends.ends) {
    EXPECT_EQ(end, job == 2 ? JobEnd::failed : JobEnd::done) << job;
  }
}

TEST(Batcher, WhatWaitsAtTheEndIsToldSo) {
  Ends ends;
  Gate gate;
  std::thread opener;
  {
    Batcher batcher({}, [&](int, std::span<Job* const>) { gate.pass(); });
    batcher.submit(std::make_unique<TestJob>(ends, 0, &kGroup));
    gate.wait_until_begun();
    batcher.submit(std::make_unique<TestJob>(ends, 1, &kGroup));
    opener = std::thread([&] {
      ends.wait_for(1);  // the one that waits is told while the other still runs
      gate.open();
    });
  }
  opener.join();
  EXPECT_EQ(ends.ends.at(0), JobEnd::done);
  EXPECT_EQ(ends.ends.at(1), JobEnd::stopped);
}

TEST(Batcher, WhatComesAfterTheEndIsToldSo) {
  Ends ends;
  Batcher batcher({.replicas = 1, .max_batch = 1}, [](int, std::span<Job* const>) {});
  batcher.stop();
  batcher.submit(std::make_unique<TestJob>(ends, 0, &kGroup));
  EXPECT_EQ(ends.ends.at(0), JobEnd::stopped);
  EXPECT_EQ(batcher.waiting(), 0u);
  batcher.stop();
}

TEST(Batcher, LongWorkIsGivenUpWhenItIsInVain) {
  Ends ends;
  std::atomic<bool> begun = false;
  {
    Batcher batcher({}, [&](int, std::span<Job* const> jobs) {
      auto& job = static_cast<TestJob&>(*jobs.front());
      if (job.number == 3) begun = true;
      while (!job.gives_up()) {
        std::this_thread::sleep_for(1ms);
        if (job.number == 1) job.left = true;
      }
      throw RunError("stopped", "", "");
    });
    auto late = std::make_unique<TestJob>(ends, 0, nullptr);
    late->deadline = Clock::now() + 500ms;
    batcher.submit(std::move(late));
    ends.wait_for(1);
    batcher.submit(std::make_unique<TestJob>(ends, 1, nullptr));
    ends.wait_for(2);
    batcher.submit(std::make_unique<TestJob>(ends, 3, nullptr));
    while (!begun) std::this_thread::sleep_for(1ms);
  }
  EXPECT_EQ(ends.ends.at(1), JobEnd::abandoned);
  EXPECT_EQ(ends.ends.at(3), JobEnd::stopped) << "nobody waits for it at the end";
  EXPECT_EQ(ends.ends.at(0), JobEnd::expired);
  EXPECT_EQ(ends.batches.at(0), 1) << "it had begun";
}

TEST(Batcher, ReplicasRunAtOnce) {
  Ends ends;
  std::atomic<int> inside = 0;
  std::atomic<bool> together = false;
  Batcher batcher({.replicas = 2, .max_batch = 1}, [&](int, std::span<Job* const>) {
    ++inside;
    for (int i = 0; i < 2000 && inside < 2 && !together; ++i) std::this_thread::sleep_for(1ms);
    if (inside >= 2) together = true;
    --inside;
  });
  batcher.submit(std::make_unique<TestJob>(ends, 0, &kGroup));
  batcher.submit(std::make_unique<TestJob>(ends, 1, &kGroup));
  ends.wait_for(2);
  EXPECT_TRUE(together);
}

}  // namespace
