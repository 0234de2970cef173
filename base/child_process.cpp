#include "base/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <omp.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <filesystem>
#include <iterator>
#include <string_view>

#include "base/error.h"

namespace macadam {

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t most_bytes = size_t{1} << 20;
constexpr int threw = 3;  // the exit status of a child whose body threw

/// An open file's number, closed with the object.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(); }

  int number() const { return number_; }
  void close() {
    if (number_ >= 0) ::close(number_);
    number_ = -1;
  }

 private:
  int number_;
};

RunError cannot(const char* what) {
  return {fmt::format("no child process can be started ({})", std::strerror(errno)), what,
          "free processes and file descriptors"};
}

bool has_one_thread() {
  std::error_code error;
  const std::filesystem::directory_iterator tasks("/proc/self/task", error);
  return !error && std::distance(begin(tasks), end(tasks)) == 1;
}

/// False when nobody reads any more.
bool write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno != EINTR) return false;
    if (written > 0) text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

void set_limit(decltype(RLIMIT_CPU) what, rlim_t value) {
  const rlimit limit{value, value};
  ::setrlimit(what, &limit);
}

/// The child's whole life. Leaves without the parent's destructors and buffers.
[[noreturn]] void live(
    int pipe, bool one_thread, const ChildLimits& limits,
    const std::function<void(const std::function<void(const std::string&)>&)>& body) {
  ::signal(SIGPIPE, SIG_IGN);
  const Descriptor nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  ::dup2(nowhere.number(), STDERR_FILENO);
  set_limit(RLIMIT_CORE, 0);
  set_limit(RLIMIT_CPU, static_cast<rlim_t>(limits.cpu_seconds));
  if (one_thread) omp_set_num_threads(1);
  try {
    body([&](const std::string& text) { write_all(pipe, text); });
  } catch (const std::exception& error) {
    write_all(pipe, std::string(1, '\0') + error.what());
    ::_exit(threw);
  }
  ::_exit(0);
}

/// Appends what arrives until the other end is closed; false when the deadline came first.
bool read_until(Clock::time_point deadline, int pipe, std::string& text) {
  std::array<char, 4096> bytes{};
  while (text.size() < most_bytes) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd ready{pipe, POLLIN, 0};
    const int count = ::poll(&ready, 1, static_cast<int>(std::max<int64_t>(left, 0)));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    const ssize_t size = ::read(pipe, bytes.data(), bytes.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return true;
    text.append(bytes.data(), static_cast<size_t>(size));
  }
  return false;
}

std::string trouble_of(int status, bool in_time, const ChildLimits& limits) {
  if (!in_time) return fmt::format("had not ended after {} s", limits.seconds);
  if (WIFEXITED(status)) {
    const int code = WEXITSTATUS(status);
    return code == 0 ? std::string() : fmt::format("ended with exit status {}", code);
  }
  const int signal = WTERMSIG(status);
  // The kernel sends SIGXCPU at the soft limit and SIGKILL at the hard one, which is the same.
  if (signal == SIGXCPU || signal == SIGKILL) {
    return fmt::format("had not ended after {} s of CPU time, or was killed", limits.cpu_seconds);
  }
  return fmt::format("ended by signal {} ({})", signal, ::strsignal(signal));
}

}  // namespace

ChildEnd run_in_child(
    const std::function<void(const std::function<void(const std::string&)>&)>& body,
    const ChildLimits& limits) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw cannot("pipe");
  Descriptor reader(ends[0]), writer(ends[1]);
  const bool one_thread = !has_one_thread();
  const auto deadline = Clock::now() + std::chrono::seconds(limits.seconds);
  const pid_t child = ::fork();
  if (child < 0) throw cannot("fork");
  if (child == 0) {
    reader.close();
    live(writer.number(), one_thread, limits, body);
  }
  writer.close();
  ChildEnd end;
  const bool in_time = read_until(deadline, reader.number(), end.written);
  if (!in_time) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  end.trouble = trouble_of(status, in_time, limits);
  if (const size_t message = end.written.find('\0');
      message != std::string::npos && WIFEXITED(status) && WEXITSTATUS(status) == threw) {
    end.trouble = end.written.substr(message + 1);
    end.written.resize(message);
  }
  return end;
}

}  // namespace macadam
