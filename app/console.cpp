#include "app/console.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>

#include "engine/json_text.h"

namespace macadam {

namespace {

// What a signal handler and a progress line must share with the rest of the process; there is one
// terminal and one set of signals.
std::atomic<bool> interrupt_flag{false};
std::atomic<bool> line_open{false};

void on_interrupt(int signal) {
  if (interrupt_flag.exchange(true)) std::_Exit(128 + signal);
}

bool on_terminal() {
  static const bool terminal = isatty(STDERR_FILENO) != 0;
  return terminal;
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

constexpr double kRedrawSeconds = 0.1, kLineSeconds = 10;
constexpr int kBarWidth = 24;

}  // namespace

const char* version() { return MACADAM_VERSION; }

void detail::write_out(std::string_view text) {
  end_progress();
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void print_json(const nlohmann::json& object) {
  detail::write_out(json_text(object));
  detail::write_out("\n");
}

void say(std::string_view line) {
  end_progress();
  fmt::print(stderr, "{}\n", printable(line));
}

void say(Lines lines) {
  end_progress();
  fmt::print(stderr, "{}\n", printable_lines(lines.text));
}

ProgressLine::ProgressLine(std::string label)
    : label_(std::move(label)), shown_at_(on_terminal() ? 0 : now()) {}

void ProgressLine::show(int64_t done, int64_t total, std::string_view detail) {
  const double time = now();
  const bool last = done >= total;
  if (!last && time - shown_at_ < (on_terminal() ? kRedrawSeconds : kLineSeconds)) return;
  shown_at_ = time;
  if (!on_terminal()) {
    fmt::print(stderr, "{} {}/{} {}\n", label_, done, total, printable(detail));
    return;
  }
  const auto filled = static_cast<size_t>(total > 0 ? kBarWidth * done / total : kBarWidth);
  const std::string bar = std::string(filled, '#') + std::string(kBarWidth - filled, '.');
  fmt::print(stderr, "\r\033[K{} [{}] {}/{} {}", label_, bar, done, total, printable(detail));
  std::fflush(stderr);
  line_open = true;
  if (last) end_progress();
}

void end_progress() {
  if (line_open.exchange(false)) fmt::print(stderr, "\n");
}

void catch_interrupts() {
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
}

bool interrupted() { return interrupt_flag; }

}  // namespace macadam
