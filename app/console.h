#pragma once
// What people see while something runs: progress on stderr (a bar on a terminal, plain lines
// elsewhere), results on stdout.

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>

namespace macadam {

/// The program's version: "0.1.0".
const char* version();

/// One line of information on stderr.
void say(std::string_view line);

/// A progress line: redrawn at most ten times a second on a terminal; elsewhere a plain line at
/// most every 10 seconds. `done` == `total` is always shown.
class ProgressLine {
 public:
  explicit ProgressLine(std::string label);
  /// `detail` follows the count.
  void show(int64_t done, int64_t total, std::string_view detail = {});

 private:
  std::string label_;
  double shown_at_;  // seconds
};

/// Ends a progress line that is being drawn, so that the next output starts on a line of its own.
void end_progress();

/// Thrown by a command that stopped on request and left everything in order: exit code 130.
class Interrupted : public std::exception {
 public:
  const char* what() const noexcept override { return "interrupted"; }
};

/// Catches SIGINT and SIGTERM from now on: the first sets a flag, a second one ends the program.
void catch_interrupts();
/// Whether one of them came.
bool interrupted();

}  // namespace macadam
