#include "base/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <omp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <exception>
#include <filesystem>
#include <iterator>
#include <new>
#include <span>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/to_size.h"

namespace macadam {

namespace {

using Clock = std::chrono::steady_clock;
using How = ChildEnd::How;

// The exit statuses of a child whose body threw.
constexpr int kThrew = 113, kOutOfMemory = 114;

RunError cannot(const char* what) {
  return {fmt::format("no child process can be started ({})", std::strerror(errno)), what,
          "free processes and file descriptors"};
}

bool has_one_thread() {
  std::error_code error;
  const std::filesystem::directory_iterator tasks("/proc/self/task", error);
  return !error && std::distance(begin(tasks), end(tasks)) == 1;
}

void set_limit(decltype(RLIMIT_CPU) what, rlim_t soft, rlim_t hard) {
  const rlimit limit{soft, hard};
  ::setrlimit(what, &limit);
}

// In the child ------------------------------------------------------------------------------------

void write(int pipe, std::string_view text) {
  write_all(pipe, std::as_bytes(std::span(text)));  // if nobody listens, so be it
}

/// The child's whole life. Leaves without the parent's destructors and buffers.
[[noreturn]] void live(int pipe, bool alone, const ChildLimits& limits,
                       const std::function<void(const ChildWriter&)>& body,
                       const std::function<int(int)>& confine) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXCPU, SIG_DFL);
  const Descriptor nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  ::dup2(nowhere.get(), STDERR_FILENO);
  set_limit(RLIMIT_CORE, 0, 0);
  const auto seconds = static_cast<rlim_t>(limits.cpu_seconds);
  set_limit(RLIMIT_CPU, seconds, seconds + 1);  // SIGXCPU, before it is SIGKILL
  if (!alone) omp_set_num_threads(1);
  if (confine) pipe = confine(pipe);
  try {
    body([pipe](std::string_view text) { write(pipe, text); });
  } catch (const std::bad_alloc&) {
    ::_exit(kOutOfMemory);
  } catch (const std::exception& error) {
    write(pipe, {"\0", 1});  // no text of an exception holds a zero
    write(pipe, error.what());
    ::_exit(kThrew);
  }
  ::_exit(0);
}

// In the parent -----------------------------------------------------------------------------------

/// A child that ends with the object at the latest.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { kill(); }

  /// Its status; 0 where the system does not tell (SIGCHLD is ignored).
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0) {
      if (errno == EINTR) continue;
      status = 0;
      break;
    }
    pid_ = -1;
    return status;
  }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    wait();
  }

 private:
  pid_t pid_;
};

/// Appends what arrives until the other end is closed: returned. Otherwise what came first, the
/// deadline or too many bytes.
How read_all(int pipe, Clock::time_point deadline, size_t most, std::string& text) {
  std::array<char, 1 << 16> bytes;
  while (text.size() <= most) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd ready{pipe, POLLIN, 0};
    const int count = ::poll(&ready, 1, static_cast<int>(std::max<int64_t>(left, 0)));
    if (count < 0) continue;  // a signal
    if (count == 0) return How::out_of_time;
    const ssize_t size = ::read(pipe, bytes.data(), bytes.size());
    if (size < 0) continue;
    if (size == 0) return How::returned;
    text.append(bytes.data(), to_size(size));
  }
  return How::wrote_too_much;
}

/// Of a child that ended by itself.
void describe(int status, const ChildLimits& limits, ChildEnd& end) {
  if (WIFSIGNALED(status)) {
    const bool slow = WTERMSIG(status) == SIGXCPU;
    end.how = slow ? How::out_of_cpu : How::signalled;
    end.code = slow ? limits.cpu_seconds : WTERMSIG(status);
    return;
  }
  end.code = WEXITSTATUS(status);
  if (end.code == 0) return;
  const size_t message = end.written.rfind('\0');
  if (end.code == kOutOfMemory) {
    end.how = How::out_of_memory;
  } else if (end.code == kThrew && message != std::string::npos) {
    end.how = How::threw;
    end.error = end.written.substr(message + 1);
    end.written.resize(message);
  } else {
    end.how = How::exited;
  }
}

}  // namespace

std::string ChildEnd::trouble() const {
  switch (how) {
    case How::returned: return "";
    case How::threw: return error;
    case How::out_of_memory: return "had not enough memory";
    case How::out_of_cpu: return fmt::format("had not ended after {} s of CPU time", code);
    case How::out_of_time: return fmt::format("had not ended after {} s", code);
    case How::wrote_too_much: return "wrote more than it may";
    case How::signalled: {
      const char* name = ::sigdescr_np(code);
      return fmt::format("ended by signal {} ({})", code, name == nullptr ? "?" : name);
    }
    case How::exited: return fmt::format("ended with exit status {}", code);
  }
  return "";
}

ChildEnd run_in_child(const std::function<void(const ChildWriter&)>& body,
                      const ChildLimits& limits, const std::function<int(int)>& confine) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw cannot("pipe");
  Descriptor reader(ends[0]), writer(ends[1]);
  const bool alone = has_one_thread();
  const auto deadline = Clock::now() + std::chrono::seconds(limits.seconds);
  const pid_t pid = ::fork();
  if (pid < 0) throw cannot("fork");
  if (pid == 0) {
    reader.close();
    live(writer.get(), alone, limits, body, confine);
  }
  Child child(pid);
  writer.close();
  ChildEnd end;
  end.how = read_all(reader.get(), deadline, limits.bytes, end.written);
  if (end.how == How::returned) {
    describe(child.wait(), limits, end);
  } else {
    child.kill();
    end.code = limits.seconds;
  }
  return end;
}

}  // namespace macadam
