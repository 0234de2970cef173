#include "base/folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "tests/base/temporary_folder.h"

using namespace macadam;
using macadam::testing::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

constexpr std::array<std::string_view, 2> kPictures{".png", ".jpg"};

void touch(const fs::path& path) {
  fs::create_directories(path.parent_path());
  write_file_atomically(path, "");
}

std::vector<std::string> names(const fs::path& folder, bool recursive = true) {
  std::vector<std::string> names;
  for (const fs::path& file : files_below(folder, {kPictures, recursive}).files) {
    names.push_back(file.lexically_relative(folder).generic_string());
  }
  return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST(Folder, FilesAreFoundInTheOrderOfTheirBytes) {
  const TemporaryFolder folder;
  for (const char* name :
       {"b.JPG", "a/z.png", "a.png", "B/deep/er/x.Png", "a/notes.txt", "\xc3.png"}) {
    touch(folder / name);
  }
  EXPECT_EQ(names(folder.path()),
            (Names{"B/deep/er/x.Png", "a.png", "a/z.png", "b.JPG", "\xc3.png"}));
  EXPECT_EQ(names(folder.path(), false), (Names{"a.png", "b.JPG", "\xc3.png"}));
}

TEST(Folder, WhatSystemsLeaveAmongPicturesIsPassedOver) {
  const TemporaryFolder folder;
  for (const char* name :
       {"x.png", "._x.png", ".hidden/x.png", "__MACOSX/x.png", "Thumbs.db", ".DS_Store",
        "@eaDir/x.jpg/THUMB.jpg", "$RECYCLE.BIN/x.png", "train/__MACOSX/._x.png"}) {
    touch(folder / name);
  }
  EXPECT_EQ(names(folder.path()), (Names{"x.png"}));
  EXPECT_EQ(folders_in(folder.path()), (Names{"train"}));
  EXPECT_EQ(folders_in(folder / "none"), Names());
  EXPECT_EQ(names(folder / ".hidden"), (Names{"x.png"})) << "asked for by its name";
}

TEST(Folder, LinksInCirclesEnd) {
  const TemporaryFolder folder;
  touch(folder / "set/train/real/x.png");
  touch(folder / "set/val/y.png");
  touch(folder / "z.png");
  for (const char* name : {"one", "two", "three"}) {
    fs::create_directory_symlink("..", folder / "set/train" / name);
    fs::create_directory_symlink("../../..", folder / "set/train/real" / name);
    fs::create_directory_symlink(".", folder / "set/val" / name);
  }
  fs::create_directory_symlink("real", folder / "set/train/a_link");  // real's own name wins
  fs::create_directory_symlink("../val", folder / "set/train/other");
  EXPECT_EQ(names(folder / "set/train"), (Names{"other/y.png", "real/x.png"}));
  EXPECT_EQ(names(folder / "set"), (Names{"train/real/x.png", "val/y.png"}));
}

TEST(Folder, DeadLinksAndSpecialFilesAreNamedAndNeverOpened) {
  const TemporaryFolder folder;
  touch(folder / "x.png");
  fs::create_symlink("x.png", folder / "link.png");
  fs::create_symlink("gone.png", folder / "dead.png");
  fs::create_symlink("gone", folder / "city");
  fs::create_symlink("gone.txt", folder / "notes.txt");
  fs::create_symlink("self.png", folder / "self.png");
  fs::create_symlink("/dev/zero", folder / "zero.jpg");
  ASSERT_EQ(::mkfifo((folder / "pipe.png").c_str(), 0600), 0);
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  const FolderFiles found = files_below(folder.path(), {kPictures});
  EXPECT_EQ(found.files, (std::vector<fs::path>{folder / "link.png", folder / "x.png"}));
  Names unusable;
  for (const auto& [path, what] : found.unusable) {
    unusable.push_back(path.filename().string() + ": " + what);
  }
  EXPECT_EQ(
      unusable,
      (Names{"city: a symbolic link that leads nowhere",
             "dead.png: a symbolic link that leads nowhere", "pipe.png: not a regular file",
             "self.png: a symbolic link that leads nowhere", "zero.jpg: not a regular file"}));
}

TEST(Folder, PredictionsAreNoPhotos) {
  const TemporaryFolder folder;
  touch(folder / "x.png");
  touch(folder / "ids/x.png");
  EXPECT_EQ(names(folder.path()), (Names{"ids/x.png", "x.png"}));
  EXPECT_FALSE(holds_predictions(folder / "ids"));
  mark_predictions(folder / "ids");
  EXPECT_TRUE(holds_predictions(folder / "ids"));
  EXPECT_EQ(names(folder.path()), (Names{"x.png"}));
  EXPECT_EQ(folders_in(folder.path()), Names());
  EXPECT_EQ(names(folder / "ids"), (Names{"x.png"})) << "asked for by its name: masks to learn";
}

TEST(Folder, TheWalkIsBounded) {
  const TemporaryFolder folder;
  for (int i = 0; i < 9; ++i) touch(folder / ("sub/" + std::to_string(i)));
  EXPECT_TRUE(
      files_below(folder.path(), {.extensions = kPictures, .max_entries = 10}).files.empty());
  try {
    files_below(folder.path(), {.extensions = kPictures, .max_entries = 9});
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("more than 9 files"), std::string::npos);
  }
  EXPECT_THROW(files_below(folder / "none", {kPictures}), InputError);
}
