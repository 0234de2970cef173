#pragma once
// What people see while something runs: progress on stderr (a bar on a terminal, plain lines
// elsewhere), results on stdout. Nothing else in the program writes to either, so that no text from
// outside reaches a terminal as it is.

#include <fmt/format.h>

#include <concepts>
#include <cstdint>
#include <exception>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "kernels/printable.h"

namespace macadam {

/// The program's version: "0.1.0".
const char* version();

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

void write_out(std::string_view text);

}  // namespace detail

/// Results on stdout. The texts among `arguments` may come from anywhere: each is printable(), and
/// of Lines only the newlines stay.
template <typename... T>
void print(std::type_identity_t<fmt::format_string<detail::Shown<T>...>> format,
           const T&... arguments) {
  detail::write_out(fmt::format(format, detail::shown(arguments)...));
}

/// One JSON object on stdout.
void print_json(const nlohmann::json& object);

/// One line of information on stderr, printable() as it is shown.
void say(std::string_view line);
/// Several lines.
void say(Lines lines);

/// A progress line: redrawn at most ten times a second on a terminal; elsewhere a plain line at
/// most every 10 seconds. `done` == `total` is always shown.
class ProgressLine {
 public:
  explicit ProgressLine(std::string label);
  /// `detail`, which may come from outside, follows the count.
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
