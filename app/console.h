#pragma once
// What people see while something runs: progress on stderr (a bar on a terminal, plain lines
// elsewhere), results on stdout. Nothing else in the program writes to either, so that no text from
// outside reaches a terminal as it is.

#include <fmt/format.h>

#include <concepts>
#include <cstdint>
#include <exception>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "base/printable.h"

namespace macadam {

/// Text whose lines this program has laid out itself: a table.
struct Lines {
  std::string_view text;
};

namespace detail {

template <typename T>
auto shown(const T& argument) {
  if constexpr (std::convertible_to<const T&, std::string_view>) {
    return printable(argument);
  } else if constexpr (std::same_as<T, Lines>) {
    return printable_lines(argument.text);
  } else {
    return argument;
  }
}

template <typename T>
using Shown = decltype(shown(std::declval<const T&>()));

void write_result(std::string_view text);
void write_summary(std::string_view text);

}  // namespace detail

/// Results on stdout: what a command was asked for. The texts among `arguments` may come from
/// anywhere: each is printable(), and of Lines only the newlines stay.
template <typename... T>
void print(std::type_identity_t<fmt::format_string<detail::Shown<T>...>> format,
           const T&... arguments) {
  detail::write_result(fmt::format(format, detail::shown(arguments)...));
}

/// The same of what a command has done, when the files that it wrote are the result: nothing is
/// lost with it.
template <typename... T>
void print_summary(std::type_identity_t<fmt::format_string<detail::Shown<T>...>> format,
                   const T&... arguments) {
  detail::write_summary(fmt::format(format, detail::shown(arguments)...));
}

/// One JSON object on stdout.
void print_json(const nlohmann::json& object);

/// Throws RunError when a result has not reached its reader: a closed pipe, a full disk. Call when
/// everything else is done.
void confirm_results();

/// One line of information on stderr, printable() as it is shown. If it is lost, so be it.
void say(std::string_view line);
/// Several lines.
void say(Lines lines);

/// A progress line. On a terminal it fits the width, is redrawn at most ten times a second and
/// disappears with the last step. Elsewhere what takes longer than 10 seconds leaves a plain line
/// every 10 seconds.
class ProgressLine {
 public:
  explicit ProgressLine(std::string label);
  /// Call after each step; `done` starts anew for another round. The details follow the count, the
  /// most important ones first; they may come from outside.
  void show(int64_t done, int64_t total, std::span<const std::string> details = {});
  void show(int64_t done, int64_t total, std::string detail) {
    show(done, total, std::span<const std::string>(&detail, 1));
  }

 private:
  std::string label_;
  int64_t last_done_ = std::numeric_limits<int64_t>::max();
  int64_t shown_at_ = 0;  // milliseconds
};

/// A warning: something is not as it should be, and was done all the same.
void warn(const std::string& text);

/// Removes a progress line that is being drawn, so that the next output finds a line of its own.
void end_progress();

/// Thrown by a command that stopped on request and left everything in order: exit code 130.
class Interrupted : public std::exception {
 public:
  const char* what() const noexcept override { return "interrupted"; }
};

/// Catches SIGINT, SIGTERM and SIGHUP from now on, unless the process was started to ignore them:
/// the first sets a flag; another half a second later, SIGHUP excepted, ends the program.
void catch_interrupts();
/// Whether one of them came.
bool interrupted();

}  // namespace macadam
