// The progress line on a terminal: one row at any width, and none left when it is over.

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>

#include "base/to_size.h"
#include "shared_folder.h"
#include "terminal.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;

class Progress : public SharedFolder<Progress> {
 protected:
  static void SetUpTestSuite() {
    make_streets(folder(), 24);
    write_text(folder() / "run.toml", small_config(2));
  }

  static bool is_progress(const std::string& line) {
    return line.starts_with("trai") || line.starts_with("vali") || line.starts_with("scor");
  }
  static size_t progress_lines(const Screen& screen) {
    const auto lines = screen.lines();
    return to_size(std::ranges::count_if(lines, is_progress));
  }
};

TEST_F(Progress, OneRowAtEveryWidthAndNothingLeft) {
  int runs = 0;
  for (const size_t columns : {20u, 80u, 150u}) {
    const std::string name = "name=w" + std::to_string(runs++);
    TerminalProgram program(folder(), {"train", "run.toml", name}, columns);
    size_t seen = 0;
    while (program.read_more()) {
      const size_t lines = progress_lines(program.screen());
      seen += lines;
      ASSERT_LE(lines, 1u) << ::testing::PrintToString(program.screen().lines());
      ASSERT_TRUE(lines == 0 || program.screen().rows_of_line() == 1) << columns;
    }
    EXPECT_EQ(program.wait(), 0);
    EXPECT_GT(seen, 0u) << columns;
    // What stays is what has been said: the beginning, each epoch, the end.
    const std::vector<std::string> left = program.screen().lines();
    ASSERT_EQ(left.size(), 4u) << columns << ::testing::PrintToString(left);
    EXPECT_TRUE(left[0].starts_with("unet_mini with")) << left[0];
    EXPECT_TRUE(left[1].starts_with("epoch 1: ")) << left[1];
    EXPECT_TRUE(left[2].starts_with("epoch 2: ")) << left[2];
    EXPECT_TRUE(left[3].starts_with("best epoch ")) << left[3];
  }
}

TEST_F(Progress, ATerminalThatChangesItsWidth) {
  TerminalProgram program(folder(), {"train", "run.toml", "name=resized", "epochs=500"}, 150);
  const auto expect_clean = [&] {
    const std::vector<std::string> lines = program.screen().lines();
    EXPECT_LE(progress_lines(program.screen()), 1u) << ::testing::PrintToString(lines);
    for (const std::string& line : lines) {
      EXPECT_TRUE(is_progress(line) || line.starts_with("unet_mini with") ||
                  line.starts_with("epoch ") || line.starts_with("interrupted; "))
          << ::testing::PrintToString(lines);
    }
  };
  for (const size_t columns : {60u, 25u, 100u, 40u}) {
    while (progress_lines(program.screen()) == 0 && program.read_more()) {
    }
    program.resize(columns);
    ASSERT_TRUE(program.read_more());
    expect_clean();
    if (progress_lines(program.screen()) == 1) {
      EXPECT_EQ(program.screen().rows_of_line(), 1u) << "drawn anew for " << columns;
    }
  }
  program.send(SIGINT);
  while (program.read_more()) {
  }
  EXPECT_EQ(program.wait(), 130);
  expect_clean();
  EXPECT_EQ(progress_lines(program.screen()), 0u);
}

TEST_F(Progress, ErrorsHaveALineOfTheirOwn) {
  fs::copy(folder() / "streets", folder() / "damaged", fs::copy_options::recursive);
  for (const auto& entry : fs::recursive_directory_iterator(folder() / "damaged/leftImg8bit/val")) {
    if (entry.is_regular_file()) fs::resize_file(entry.path(), 100);
  }
  TerminalProgram program(folder(), {"train", "run.toml", "name=damaged", "dataset=damaged"}, 80);
  while (program.read_more()) {
  }
  EXPECT_EQ(program.wait(), 2);
  const std::vector<std::string> lines = program.screen().lines();
  EXPECT_EQ(progress_lines(program.screen()), 0u);
  EXPECT_TRUE(lines.back().starts_with("macadam: error: ")) << lines.back();
}

}  // namespace
}  // namespace macadam
