#include "terminal.h"

#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <stdexcept>

#include "base/to_size.h"
#include "program.h"

namespace macadam {

void Screen::put(char character) {
  std::string& line = lines_[line_];
  if (line.size() <= at_) line.resize(at_ + 1, ' ');
  line[at_++] = character;
}

/// From the cursor to the end of its row.
void Screen::erase_row() {
  std::string& line = lines_[line_];
  for (size_t i = at_; i < line.size() && (i == at_ || i % columns_ != 0); ++i) line[i] = ' ';
}

void Screen::write(const std::string& bytes) {
  for (const char c : bytes) {
    if (!escape_.empty() || c == '\033') {
      escape_ += c;
      const bool ends = escape_.size() > 2 && c >= '@' && c <= '~';
      if (!ends) continue;
      if (escape_ == "\033[K") erase_row();
      if (escape_ == "\033[J") {
        lines_.resize(line_ + 1);
        if (lines_[line_].size() > at_) lines_[line_].resize(at_);
      }
      escape_.clear();
    } else if (c == '\r') {
      at_ -= at_ % columns_;
    } else if (c == '\n') {
      const size_t below = at_ + columns_;
      if (below - below % columns_ < lines_[line_].size()) {
        at_ = below;
        continue;
      }
      at_ %= columns_;
      if (++line_ == lines_.size()) lines_.emplace_back();
    } else {
      put(c);
    }
  }
}

std::vector<std::string> Screen::lines() const {
  std::vector<std::string> lines = lines_;
  for (std::string& line : lines) line.resize(line.find_last_not_of(' ') + 1);
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

size_t Screen::rows_of_line() const {
  const size_t used = lines_[line_].find_last_not_of(' ') + 1;
  return std::max<size_t>(1, (used + columns_ - 1) / columns_);
}

TerminalProgram::TerminalProgram(const std::filesystem::path& folder,
                                 const std::vector<std::string>& arguments, size_t columns)
    : screen_(columns) {
  const std::string binary = macadam_binary();
  std::vector<std::string> words{binary};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  winsize size{24, static_cast<unsigned short>(columns), 0, 0};
  pid_ = forkpty(&terminal_, nullptr, nullptr, &size);
  if (pid_ < 0) throw std::runtime_error("no terminal");
  if (pid_ == 0) {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) std::signal(signal, SIG_DFL);
    setenv("TERM", "xterm", 1);
    if (chdir(folder.c_str()) != 0) _exit(126);
    execv(binary.c_str(), argv.data());
    _exit(127);
  }
}

TerminalProgram::~TerminalProgram() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  if (terminal_ >= 0) close(terminal_);
}

bool TerminalProgram::read_more() {
  std::array<char, 4096> bytes;
  const ssize_t count = read(terminal_, bytes.data(), bytes.size());
  if (count <= 0) return false;
  screen_.write({bytes.data(), to_size(count)});
  return true;
}

void TerminalProgram::send(int signal) const { kill(pid_, signal); }

void TerminalProgram::resize(size_t columns) {
  kill(pid_, SIGSTOP);
  int status = 0;
  waitpid(pid_, &status, WUNTRACED);
  if (!WIFSTOPPED(status)) {
    pid_ = -1;
    throw std::runtime_error("the program ended before its terminal was resized");
  }
  pollfd ready{terminal_, POLLIN, 0};
  while (poll(&ready, 1, 0) > 0 && read_more()) {
  }
  screen_.resize(columns);
  winsize size{24, static_cast<unsigned short>(columns), 0, 0};
  ioctl(terminal_, TIOCSWINSZ, &size);
  kill(pid_, SIGCONT);
}

int TerminalProgram::wait() {
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace macadam
