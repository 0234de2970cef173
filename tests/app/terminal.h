#pragma once
// A terminal for the program under test: a pseudo-terminal, and the screen that a person would see.

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace macadam {

/// What stands on the screen. Rows have `columns` columns; a line that is longer goes on in the
/// next row, and is broken anew when the width changes, as most terminals do.
class Screen {
 public:
  explicit Screen(size_t columns) : columns_(columns) {}

  /// Obeys "\r", "\n" (both parts of an end of line), "\033[J" and "\033[K". Other escape sequences
  /// change nothing.
  void write(const std::string& bytes);
  void resize(size_t columns) { columns_ = columns; }

  /// Lines, each of one or more rows, without trailing spaces.
  std::vector<std::string> lines() const;
  /// The rows of the line that the cursor is in.
  size_t rows_of_line() const;

 private:
  void put(char character);
  void erase_row();

  size_t columns_;
  std::vector<std::string> lines_{1};
  size_t line_ = 0, at_ = 0;  // the cursor: a line, and a place in it
  std::string escape_;        // one that is not complete
};

/// A started `macadam ARGUMENTS…` in `folder` on a terminal of its own.
class TerminalProgram {
 public:
  TerminalProgram(const std::filesystem::path& folder, const std::vector<std::string>& arguments,
                  size_t columns);
  ~TerminalProgram();
  TerminalProgram(const TerminalProgram&) = delete;
  TerminalProgram& operator=(const TerminalProgram&) = delete;

  const Screen& screen() const { return screen_; }
  /// Takes in what the program writes next, and shows it; false when it has closed the terminal.
  bool read_more();
  void send(int signal) const;
  /// Changes the width while the program stands still.
  void resize(size_t columns);
  /// Its exit code, once it has closed the terminal.
  int wait();

 private:
  Screen screen_;
  int terminal_ = -1;
  pid_t pid_ = -1;
};

}  // namespace macadam
