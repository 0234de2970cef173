#include "models/weights/confined.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/to_size.h"

namespace macadam {
namespace {

constexpr ConfinedLimits kLimits{size_t{256} << 20, 60, 60, 1 << 20};

/// Expects one InputError that names the file and says `words`.
void expect_failure(const std::function<std::string()>& work, const ConfinedLimits& allowed,
                    const std::string& words) {
  try {
    run_confined(work, allowed, "some.h5");
    ADD_FAILURE() << "an answer";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("some.h5"), std::string::npos) << error.what();
  }
}

TEST(Confined, AnswersWhatTheWorkReturns) {
  EXPECT_EQ(run_confined([] { return std::string("a\0b", 3); }, kLimits, "f"),
            std::string("a\0b", 3));
  EXPECT_EQ(run_confined([] { return std::string(); }, kLimits, "f"), "");
  EXPECT_EQ(run_confined([] { return std::string(1 << 19, 'x'); }, kLimits, "f").size(), 1u << 19);
}

TEST(Confined, ErrorsOfTheWorkAreItsOwn) {
  expect_failure([]() -> std::string { throw InputError("too odd", "some.h5", "mend it"); },
                 kLimits, "too odd: some.h5: mend it");
}

TEST(Confined, ACrashIsAnError) {
  // Under a sanitizer the process ends by itself.
  expect_failure(
      []() -> std::string {
        std::raise(SIGSEGV);
        volatile int* nowhere = nullptr;
        *nowhere = 1;
        return "";
      },
      kLimits, "reading the file");
  expect_failure([]() -> std::string { std::abort(); }, kLimits, "reading the file");
  expect_failure([]() -> std::string { _exit(0); }, kLimits, "reading the file");
}

TEST(Confined, TimeIsLimited) {
  const auto spin = []() -> std::string {
    volatile uint64_t turns = 0;
    for (;;) turns = turns + 1;
  };
  ConfinedLimits little = kLimits;
  little.cpu_seconds = 1;
  expect_failure(spin, little, "more than 1 s");
  little = kLimits;
  little.wall_seconds = 1;
  expect_failure(spin, little, "more than 1 s");
}

TEST(Confined, MemoryIsLimited) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "not under sanitizers";
#else
  expect_failure([] { return std::string(size_t{1} << 32, 'x'); }, kLimits, "256 MiB of memory");
#endif
}

TEST(Confined, TheAnswerIsLimited) {
  expect_failure([] { return std::string((1 << 20) + 1, 'x'); }, kLimits, "reading the file");
}

TEST(Confined, NothingOutsideCanBeReached) {
  const std::string reached = run_confined(
      [] {
        std::string names;
        if (open("/dev/null", O_RDONLY) >= 0) names += "a file ";
        if (socket(AF_UNIX, SOCK_STREAM, 0) >= 0) names += "a socket ";
        if (write(STDERR_FILENO, "", 1) >= 0) names += "stderr ";
        if (dup(0) >= 0) names += "a descriptor ";
        return names;
      },
      kLimits, "f");
  EXPECT_EQ(reached, "");
}

TEST(Confined, SharesMemory) {
  const SharedMemory memory(1000, "f");
  run_confined(
      [&] {
        std::ranges::fill(memory.bytes(), std::byte{7});
        return std::string();
      },
      kLimits, "f");
  EXPECT_TRUE(std::ranges::all_of(memory.bytes(), [](std::byte b) { return b == std::byte{7}; }));
}

TEST(Confined, WorksInAProcessWithThreads) {
  std::vector<int> numbers(1000, 1);
  int sum = 0;
#pragma omp parallel for reduction(+ : sum) num_threads(4)
  for (int i = 0; i < 1000; ++i) sum += numbers[to_size(i)];
  const auto work = [&] { return std::string(to_size(sum), 'x'); };
  for (int i = 0; i < 10; ++i) EXPECT_EQ(run_confined(work, kLimits, "f").size(), 1000u);
}

}  // namespace
}  // namespace macadam
