// The mistakes that the other tests are there to find, made on purpose: each is seen under some
// schedule, and is gone under all of them once the missing wait is there.

#include <array>
#include <cstring>

#include "base/to_size.h"
#include "tests/simulated/under_schedules.h"

using namespace macadam;
using namespace macadam::simulated;

namespace {

constexpr int kSteps = 4;

using Seen = std::array<int, kSteps>;
constexpr Seen kRight{1, 2, 3, 4};

int& number(const Buffer& buffer) { return *reinterpret_cast<int*>(buffer.data()); }

/// One number in the memory of the device.
class Cell {
 public:
  int& operator*() const { return number(buffer_); }
  void* data() const { return buffer_.data(); }

 private:
  Buffer buffer_{kGpu, sizeof(int)};
};

/// Expects one result with the wait, and others besides without it.
void expect_needed(const std::function<Seen(bool waits)>& body) {
  EXPECT_EQ(results_of([&] { return body(true); }), std::vector{kRight});
  const std::vector<Seen> without = results_of([&] { return body(false); });
  EXPECT_TRUE(
      std::any_of(without.begin(), without.end(), [](const Seen& s) { return s != kRight; }));
}

TEST(SimulatedRaces, AStreamThatDoesNotWaitForAnother) {
  expect_needed([](bool waits) {
    Stream producer(kGpu), consumer(kGpu);
    const Cell cells[kSteps];
    Event made(kGpu);
    Seen seen;
    for (int i = 0; i < kSteps; ++i) {
      int& cell = *cells[i];
      launch(producer, [&cell, i] { cell = i + 1; });
      made.record(producer);
      if (waits) consumer.wait(made);
      launch(consumer, [&cell, &to = seen[to_size(i)]] { to = cell; });
    }
    consumer.synchronize();
    return seen;
  });
}

TEST(SimulatedRaces, AHostBufferThatIsFilledAgainTooEarly) {
  expect_needed([](bool waits) {
    Stream stream(kGpu);
    const Buffer pinned = Buffer::host_for(kGpu, sizeof(int));
    const Cell cells[kSteps];
    Event copied(kGpu);
    for (int i = 0; i < kSteps; ++i) {
      number(pinned) = i + 1;
      copy_bytes(stream, cells[i].data(), pinned.data(), sizeof(int));
      copied.record(stream);
      if (waits) copied.synchronize();
    }
    Seen seen;
    for (size_t i = 0; i < kSteps; ++i) copy_bytes(stream, &seen[i], cells[i].data(), sizeof(int));
    return seen;
  });
}

TEST(SimulatedRaces, AnInputThatIsWrittenWhileAStepStillReadsIt) {
  expect_needed([](bool waits) {
    Stream upload(kGpu), steps(kGpu);
    const Cell inputs[2];
    Event written(kGpu), read[2] = {Event(kGpu), Event(kGpu)};
    Seen seen;
    for (int i = 0; i < kSteps; ++i) {
      int& input = *inputs[i % 2];
      if (waits) upload.wait(read[i % 2]);
      launch(upload, [&input, i] { input = i + 1; });
      written.record(upload);
      steps.wait(written);
      launch(steps, [&input, &to = seen[to_size(i)]] { to = input; });
      read[i % 2].record(steps);
    }
    steps.synchronize();
    return seen;
  });
}

// Of two results in flight, the older one is read: a device ahead of the host has written both.
TEST(SimulatedRaces, AResultThatTheNextStepWritesOver) {
  expect_needed([](bool two_slots) {
    Stream stream(kGpu);
    const Cell result;
    const Buffer slots = Buffer::host_for(kGpu, 2 * sizeof(int));
    auto* slot = reinterpret_cast<int*>(slots.data());
    Event done[2] = {Event(kGpu), Event(kGpu)};
    Seen seen;
    for (int i = 0; i < kSteps; ++i) {
      int& value = *result;
      launch(stream, [&value, i] { value = i + 1; });
      copy_bytes(stream, slot + (two_slots ? i % 2 : 0), result.data(), sizeof(int));
      done[i % 2].record(stream);
      if (i == 0) continue;
      done[1 - i % 2].synchronize();
      seen[to_size(i) - 1] = slot[two_slots ? 1 - i % 2 : 0];
    }
    stream.synchronize();
    seen[kSteps - 1] = slot[two_slots ? 1 - kSteps % 2 : 0];
    return seen;
  });
}

TEST(SimulatedRaces, AResultThatIsReadBeforeItIsThere) {
  expect_needed([](bool waits) {
    Stream stream(kGpu);
    const Cell cell;
    const Buffer pinned = Buffer::host_for(kGpu, sizeof(int));
    Seen seen;
    for (int i = 0; i < kSteps; ++i) {
      int& value = *cell;
      launch(stream, [&value, i] { value = i + 1; });
      copy_bytes(stream, pinned.data(), cell.data(), sizeof(int));
      if (waits) stream.synchronize();
      seen[to_size(i)] = number(pinned);
    }
    stream.synchronize();
    return seen;
  });
}

}  // namespace
