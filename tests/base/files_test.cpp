#include "base/files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "tests/base/full_disk.h"
#include "tests/base/temporary_folder.h"

using namespace macadam;
using macadam::testing::FileSizeLimit;
using macadam::testing::on_a_full_disk;
using macadam::testing::TemporaryFolder;

namespace {

constexpr size_t kAnySize = 1 << 20;

template <typename E, typename F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const E& error) {
    EXPECT_EQ(std::strchr(error.what(), '\n'), nullptr);
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

/// A process that is killed while it writes `count` times the file.
void be_killed_writing(const std::filesystem::path& path, int count = 1) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::vector<std::unique_ptr<AtomicFile>> files;
    for (int i = 0; i < count; ++i) files.push_back(std::make_unique<AtomicFile>(path));
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
}

}  // namespace

TEST(Files, WritesAndReplaces) {
  TemporaryFolder folder;
  const auto path = folder / "a.txt";
  write_file_atomically(path, "first");
  EXPECT_EQ(read_file(path, kAnySize), "first");
  const std::string one = "sec", two = "ond";
  const std::array parts{std::as_bytes(std::span(one)), std::as_bytes(std::span(two))};
  write_file_atomically(path, parts);
  EXPECT_EQ(read_file(path, kAnySize), "second");
  write_file_atomically(path, "");
  EXPECT_EQ(read_file(path, kAnySize), "");
  EXPECT_EQ(folder.entries(), std::vector<std::string>{"a.txt"});
}

TEST(Files, NewFilesHaveTheUsualPermissions) {
  TemporaryFolder folder;
  const mode_t mask = ::umask(022);
  write_file_atomically(folder / "a", "x");
  ::umask(mask);
  struct stat status {};
  ASSERT_EQ(::stat((folder / "a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0644u);
}

TEST(Files, FullDiskLeavesTheOldFileAndNoRemains) {
  TemporaryFolder folder;
  const auto path = folder / "model.bin";
  write_file_atomically(path, "old content");
  std::string message;
  {
    const FileSizeLimit limit(64 << 10);
    message = message_of<RunError>([&] { write_file_atomically(path, std::string(1 << 20, 'x')); });
  }
  EXPECT_NE(message.find(path.string()), std::string::npos) << message;
  EXPECT_NE(message.find("limit"), std::string::npos) << message;
  EXPECT_EQ(read_file(path, kAnySize), "old content");
  EXPECT_EQ(folder.entries(), std::vector<std::string>{"model.bin"});
}

TEST(Files, AFullDiskIsNamedWithItsRemedy) {
  TemporaryFolder folder;
  const auto path = folder / "model.bin";
  const std::optional<std::string> seen = on_a_full_disk(folder.path(), [&] {
    write_file_atomically(path, "old content");
    std::string message =
        message_of<RunError>([&] { write_file_atomically(path, std::string(1 << 20, 'x')); });
    return message + "\n" + read_file(path, kAnySize) + "\n" +
           std::to_string(folder.entries().size());
  });
  if (!seen) GTEST_SKIP() << "no disk can be mounted here";
  EXPECT_NE(seen->find("No space left on device"), std::string::npos) << *seen;
  EXPECT_NE(seen->find(path.string()), std::string::npos) << *seen;
  EXPECT_NE(seen->find("free space"), std::string::npos) << *seen;
  EXPECT_TRUE(seen->ends_with("\nold content\n1")) << *seen;
}

TEST(Files, MissingFolderAndFoldersAsTargetsAreErrors) {
  TemporaryFolder folder;
  const std::string message =
      message_of<RunError>([&] { write_file_atomically(folder / "no" / "file", "x"); });
  EXPECT_NE(message.find("folder of a new file must exist"), std::string::npos) << message;
  message_of<RunError>([&] { write_file_atomically(folder.path(), "x"); });
  EXPECT_TRUE(folder.entries().empty());
}

TEST(Files, AnAtomicFileAppearsWhenItIsCommitted) {
  TemporaryFolder folder;
  const auto bytes = [](std::string_view text) { return std::as_bytes(std::span(text)); };
  {
    AtomicFile file(folder / "a");
    file.write_at(0, bytes("never seen"));
  }
  EXPECT_TRUE(folder.entries().empty());
  AtomicFile file(folder / "a");
  file.write_at(3, bytes("defg"));
  file.write_at(0, bytes("abc"));
  file.write_at(9, bytes("j"));
  EXPECT_FALSE(std::filesystem::exists(folder / "a"));
  file.commit();
  EXPECT_EQ(read_file(folder / "a", kAnySize), std::string("abcdefg\0\0j", 10));
  EXPECT_EQ(folder.entries(), std::vector<std::string>{"a"});
  EXPECT_THROW(file.write_at(0, bytes("x")), std::logic_error);
}

TEST(Files, TheNextWriterClearsWhatAKilledOneLeft) {
  TemporaryFolder folder;
  be_killed_writing(folder / "a", 3);
  EXPECT_EQ(folder.entries().size(), 3u);
  write_file_atomically(folder / "a", "whole");
  EXPECT_EQ(folder.entries(), std::vector<std::string>{"a"});
  EXPECT_EQ(read_file(folder / "a", kAnySize), "whole");
}

TEST(Files, StaleTemporariesGoAndThoseInUseStay) {
  TemporaryFolder folder;
  be_killed_writing(folder / "a");
  be_killed_writing(folder / "b");
  AtomicFile used(folder / "a");  // takes the stale one's place
  used.write_at(0, bytes_of("x"));
  write_file_atomically(folder / ".mine.tmp", "not ours");
  remove_stale_temporaries(folder.path());
  EXPECT_EQ(folder.entries().size(), 2u) << "the one in use, and what is called otherwise";
  write_file_atomically(folder / "a", "another writer of the same file");
  used.commit();
  EXPECT_EQ(read_file(folder / "a", kAnySize), "x");
  EXPECT_EQ(folder.entries().size(), 2u);
  remove_stale_temporaries(folder / "missing");
}

TEST(Files, TheLongestNamesCanBeWritten) {
  TemporaryFolder folder;
  const std::string longest(255, 'n');
  ASSERT_TRUE(name_fits(folder / longest));
  write_file_atomically(folder / longest, "x");
  EXPECT_EQ(folder.entries(), std::vector<std::string>{longest});
  EXPECT_FALSE(name_fits(folder / (longest + "n")));
  EXPECT_TRUE(name_fits(folder / "yet/to/be/made" / longest));
  EXPECT_FALSE(name_fits(folder / "yet/to/be/made" / (longest + "n")));
  std::string deep;
  for (int i = 0; i < 2030; ++i) deep += "d/";
  EXPECT_FALSE(name_fits(deep + "a")) << "no room for the temporary name";
}

TEST(Files, DevicesAreNeverReplaced) {
  message_of<RunError>([] { write_file_atomically("/dev/null", "x"); });
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

TEST(Files, LinksStayLinks) {
  TemporaryFolder folder;
  write_file_atomically(folder / "target", "old");
  std::filesystem::create_symlink("target", folder / "link");
  write_file_atomically(folder / "link", "new");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_EQ(read_file(folder / "target", kAnySize), "new");
}

TEST(Files, ReaderAlwaysSeesAWholeFile) {
  TemporaryFolder folder;
  const auto path = folder / "state";
  const std::string a(100'000, 'a'), b(200'000, 'b');
  write_file_atomically(path, a);
  std::atomic<int> replaced{0};
  std::jthread writer([&](std::stop_token stop) {
    while (!stop.stop_requested()) {
      write_file_atomically(path, replaced++ % 2 == 0 ? b : a);
    }
  });
  while (replaced < 100) {
    const std::string seen = read_file(path, kAnySize);
    ASSERT_TRUE(seen == a || seen == b) << seen.size();
  }
}

TEST(Files, ReadingIsBoundedAndNamesTheFile) {
  TemporaryFolder folder;
  write_file_atomically(folder / "ten", "0123456789");
  EXPECT_EQ(read_file(folder / "ten", 10), "0123456789");
  const std::string big = message_of<InputError>([&] { read_file(folder / "ten", 9); });
  EXPECT_NE(big.find("more than 9 bytes"), std::string::npos) << big;
  const std::string missing = message_of<InputError>([&] { read_file(folder / "none", 9); });
  EXPECT_NE(missing.find("No such file"), std::string::npos) << missing;
  message_of<InputError>([&] { read_file(folder.path(), 9); });
  message_of<InputError>([&] { FileBytes(folder / "ten", 9); });
  EXPECT_EQ(FileBytes(folder / "ten", 10).bytes().size(), 10u);
}

TEST(Files, PipesAndDevicesAreNotRead) {
  TemporaryFolder folder;
  const std::string pipe = folder / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  for (const std::string& path : {pipe, std::string("/dev/zero")}) {
    for (const std::string& message : {message_of<InputError>([&] { read_file(path, kAnySize); }),
                                       message_of<InputError>([&] { FileBytes(path, kAnySize); }),
                                       message_of<InputError>([&] { MappedFile{path}; })}) {
      EXPECT_NE(message.find("not a regular file"), std::string::npos) << message;
    }
  }
}

TEST(Files, MappingShowsTheBytes) {
  TemporaryFolder folder;
  write_file_atomically(folder / "data", "hello");
  write_file_atomically(folder / "empty", "");
  MappedFile file(folder / "data");
  ASSERT_EQ(file.bytes().size(), 5u);
  EXPECT_EQ(std::memcmp(file.bytes().data(), "hello", 5), 0);
  MappedFile moved = std::move(file);
  EXPECT_EQ(moved.bytes().size(), 5u);
  EXPECT_TRUE(MappedFile(folder / "empty").bytes().empty());
  EXPECT_THROW(MappedFile(folder / "none"), InputError);
  EXPECT_THROW(MappedFile(folder.path()), InputError);
}
