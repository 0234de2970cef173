#include "app/console.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <system_error>
#include <vector>

#include "app/progress_text.h"
#include "app/streams.h"
#include "base/error.h"
#include "base/json_text.h"
#include "base/text.h"

namespace macadam {

namespace {

// What signal handlers, progress lines and results share with the whole process: it has one set of
// signals, one terminal and one standard output.
std::atomic<int64_t> interrupted_at{0};  // milliseconds; 0: not yet
std::atomic<bool> line_open{false};
std::atomic<bool> result_written{false};
std::atomic<int> lost_result{0};  // errno of the first one

int64_t now_milliseconds() {
  using std::chrono::milliseconds;
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<milliseconds>(time).count();
}

// One request may come as several signals: `timeout` sends its own to the process and to its group,
// a closing terminal's shell hands on what the kernel has sent already.
constexpr int64_t kOneRequest = 500;  // milliseconds

void on_interrupt(int signal) {
  int64_t first = 0;
  const int64_t time = now_milliseconds();
  if (interrupted_at.compare_exchange_strong(first, time)) return;
  if (signal == SIGHUP || time - first <= kOneRequest) return;
  end_progress();
  std::_Exit(128 + signal);
}

bool on_terminal() {
  static const bool terminal = is_terminal(STDERR_FILENO);
  return terminal;
}

/// The log: what is lost of it changes nothing.
void write_log(std::string text) {
  end_progress();
  text += '\n';
  write_text(STDERR_FILENO, text);
}

constexpr int64_t kRedraw = 100, kLine = 10'000;  // milliseconds

}  // namespace

void detail::write_result(std::string_view text) {
  end_progress();
  result_written = true;
  if (lost_result != 0) return;
  if (const int code = write_text(STDOUT_FILENO, text)) lost_result = code;
}

void detail::write_summary(std::string_view text) {
  end_progress();
  write_text(STDOUT_FILENO, text);
}

void confirm_results() {
  int code = lost_result;
  if (code == 0 && result_written) code = flush_stream(STDOUT_FILENO);
  if (code == 0) return;
  throw RunError(
      fmt::format("the result was not written ({})", std::generic_category().message(code)),
      "standard output", "let its reader take it all, or write it where there is room");
}

void print_json(const nlohmann::json& object) { detail::write_result(json_text(object) + '\n'); }

void say(std::string_view line) { write_log(printable(line)); }
void warn(const std::string& text) { say("macadam: warning: " + text); }
void say(Lines lines) { write_log(printable_lines(lines.text)); }

ProgressLine::ProgressLine(std::string label) : label_(std::move(label)) {}

void ProgressLine::show(int64_t done, int64_t total, std::span<const std::string> details) {
  const int64_t time = now_milliseconds();
  if (done <= last_done_) shown_at_ = on_terminal() ? 0 : time;  // it begins
  last_done_ = done;
  if (done >= total) {
    end_progress();
    return;
  }
  if (time - shown_at_ < (on_terminal() ? kRedraw : kLine)) return;
  shown_at_ = time;
  std::vector<std::string> texts;
  for (const std::string& detail : details) texts.push_back(printable(detail));
  if (!on_terminal()) {
    if (!texts.empty()) texts.front().insert(0, " ");
    write_log(fmt::format("{} {}/{}{}", label_, done, total, joined(texts)));
    return;
  }
  // In the last column some terminals go on to the next row; the two settings are for characters
  // wider there than we think. The cursor waits at the beginning: should the terminal become
  // narrower and break the line, then all of it lies behind.
  const size_t columns = terminal_columns(STDERR_FILENO) - 1;
  line_open = true;
  write_text(STDERR_FILENO, fmt::format("\r\033[?7l{}\033[J\033[?7h\r",
                                        progress_text(label_, done, total, texts, columns)));
}

void end_progress() {
  if (line_open.exchange(false)) write_text(STDERR_FILENO, "\r\033[J");
}

void catch_interrupts() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    sigaction(signal, nullptr, &before);
    // What is ignored from the start stays so: under nohup, and in the background of a script.
    if (before.sa_handler != SIG_IGN) std::signal(signal, on_interrupt);
  }
}

bool interrupted() { return interrupted_at != 0; }

}  // namespace macadam
