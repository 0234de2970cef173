#include "base/child_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <new>
#include <string>

#include "base/error.h"

namespace macadam {
namespace {

using How = ChildEnd::How;

TEST(ChildProcess, ReturnsWhatWasWritten) {
  const ChildEnd end = run_in_child([](const ChildWriter& write) {
    write("one\n");
    write(std::string(100'000, '\0'));
  });
  EXPECT_EQ(end.how, How::returned);
  EXPECT_EQ(end.written, "one\n" + std::string(100'000, '\0'));
  EXPECT_EQ(end.trouble(), "");
}

TEST(ChildProcess, WaitsNoLongerThanItsLimit) {
  const ChildEnd end =
      run_in_child([](const auto&) { ::pause(); }, {.cpu_seconds = 20, .seconds = 0});
  EXPECT_EQ(end.how, How::out_of_time);
  EXPECT_EQ(end.trouble(), "had not ended after 0 s");
}

TEST(ChildProcess, ComputesNoLongerThanItsLimit) {
  const ChildEnd end = run_in_child(
      [](const auto&) {
        while (true) asm volatile("");
      },
      {.cpu_seconds = 1, .seconds = 60});
  EXPECT_EQ(end.how, How::out_of_cpu);
  EXPECT_EQ(end.trouble(), "had not ended after 1 s of CPU time");
}

TEST(ChildProcess, TellsWhatWasThrownAndKeepsWhatCameBefore) {
  const ChildEnd end = run_in_child([](const ChildWriter& write) {
    write(std::string("be\0fore", 7));
    throw InputError("too odd", "a file", "mend it");
  });
  EXPECT_EQ(end.how, How::threw);
  EXPECT_EQ(end.written, std::string("be\0fore", 7));
  EXPECT_EQ(end.trouble(), "too odd: a file: mend it");
  EXPECT_EQ(run_in_child([](const auto&) { throw std::bad_alloc(); }).how, How::out_of_memory);
}

TEST(ChildProcess, TellsHowItEnded) {
  const ChildEnd killed = run_in_child([](const auto&) { std::raise(SIGKILL); });
  EXPECT_EQ(killed.how, How::signalled);
  EXPECT_EQ(killed.trouble(), "ended by signal 9 (Killed)");
  // Also with the status that a body which threw has, where nothing was thrown.
  for (const int status : {7, 113}) {
    const ChildEnd exited = run_in_child([&](const auto&) { ::_exit(status); });
    EXPECT_EQ(exited.how, How::exited);
    EXPECT_EQ(exited.trouble(), "ended with exit status " + std::to_string(status));
  }
}

TEST(ChildProcess, WritesNoMoreThanItsLimit) {
  const auto write = [](size_t bytes) {
    return run_in_child([=](const ChildWriter& writer) { writer(std::string(bytes, 'x')); },
                        {.bytes = 100'000});
  };
  EXPECT_EQ(write(100'000).how, How::returned);
  EXPECT_EQ(write(100'001).how, How::wrote_too_much);
  EXPECT_EQ(write(1 << 24).how, How::wrote_too_much);
}

TEST(ChildProcess, IsConfinedBeforeItBegins) {
  // What `confine` returns is written to, and what it closes is closed.
  const ChildEnd end = run_in_child(
      [](const ChildWriter& write) {
        write(::fcntl(STDOUT_FILENO, F_GETFD) < 0 ? "closed" : "open");
      },
      {},
      [](int pipe) {
        ::close(STDOUT_FILENO);
        return ::fcntl(pipe, F_DUPFD, 100);
      });
  EXPECT_EQ(end.how, How::returned);
  EXPECT_EQ(end.written, "closed");
}

}  // namespace
}  // namespace macadam
