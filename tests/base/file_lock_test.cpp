#include "base/file_lock.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

#include "base/error.h"
#include "tests/base/temporary_folder.h"

using namespace macadam;
using macadam::testing::TemporaryFolder;

TEST(FileLock, OneHolderAtATimeWhoIsNamed) {
  TemporaryFolder folder;
  std::optional<FileLock> first(std::in_place, folder / "lock");
  ASSERT_TRUE(first->held());
  EXPECT_EQ(first->holder(), "");
  {
    const FileLock second(folder / "lock");
    EXPECT_FALSE(second.held());
    EXPECT_TRUE(second.holder().starts_with("process " + std::to_string(::getpid()) + " on "))
        << second.holder();
  }
  EXPECT_EQ(folder.entries().size(), 1u) << "who does not hold it leaves it";
  first.reset();
  EXPECT_TRUE(folder.entries().empty());
  EXPECT_TRUE(FileLock(folder / "lock").held());
}

TEST(FileLock, AKilledHolderIsNoObstacle) {
  TemporaryFolder folder;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const FileLock lock(folder / "lock");
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(folder.entries().size(), 1u) << "the child did not hold the lock";
  const FileLock lock(folder / "lock");
  EXPECT_TRUE(lock.held());
  std::ifstream file(folder / "lock");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  EXPECT_TRUE(text.starts_with("process " + std::to_string(::getpid()) + " on ")) << text;
}

TEST(FileLock, WhatTheFileSaysIsShownAsPlainText) {
  TemporaryFolder folder;
  const FileLock holder(folder / "lock");
  std::ofstream(folder / "lock") << "process 7 on \x1b[31mred\nline";
  EXPECT_EQ(FileLock(folder / "lock").holder(), "process 7 on ");
  std::ofstream(folder / "lock") << "";
  EXPECT_EQ(FileLock(folder / "lock").holder(), "another process");
}

TEST(FileLock, AFolderThatIsNotThereIsAnError) {
  TemporaryFolder folder;
  EXPECT_THROW(FileLock(folder / "missing" / "lock"), RunError);
}
