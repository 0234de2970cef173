#include "models/weights/confined.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"

namespace macadam {

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;  // they reserve more addresses than there is memory
#elif defined(__has_feature)
constexpr bool sanitized =
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);  // NOLINT
#else
constexpr bool sanitized = false;
#endif

constexpr std::string_view remedy =
    "the file is damaged, or made to break programs: take another copy, or save the weights as "
    ".safetensors";
constexpr int answer_fd = 3;  // in the child

/// What the first byte of a child's message says of the rest.
enum class Message : char { answer = 'A', error = 'E', memory = 'M' };

// In the child ------------------------------------------------------------------------------------

#if defined(__x86_64__)
constexpr uint32_t own_architecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t own_architecture = AUDIT_ARCH_AARCH64;
#else
constexpr uint32_t own_architecture = 0;
#endif

constexpr uint32_t argument(size_t index) {  // the low 32 bits
  return static_cast<uint32_t>(offsetof(seccomp_data, args) + index * sizeof(uint64_t));
}

/// A program of the kernel's packet filter, put together call by call.
class CallFilter {
 public:
  CallFilter() {
    load(offsetof(seccomp_data, arch));
    jump(BPF_JEQ, own_architecture, 1, 0);
    end(SECCOMP_RET_KILL_PROCESS);
    load(offsetof(seccomp_data, nr));
  }
  void allow(long call) {
    jump(BPF_JEQ, static_cast<uint32_t>(call), 0, 1);
    end(SECCOMP_RET_ALLOW);
  }
  /// Where the argument is `value`.
  void allow_with(long call, size_t index, uint32_t value) {
    jump(BPF_JEQ, static_cast<uint32_t>(call), 0, 4);
    load(argument(index));
    jump(BPF_JEQ, value, 0, 1);
    end(SECCOMP_RET_ALLOW);
    end(SECCOMP_RET_ERRNO | EPERM);
  }
  /// Where the argument has none of the bits.
  void allow_without(long call, size_t index, uint32_t bits) {
    jump(BPF_JEQ, static_cast<uint32_t>(call), 0, 4);
    load(argument(index));
    jump(BPF_JSET, bits, 1, 0);
    end(SECCOMP_RET_ALLOW);
    end(SECCOMP_RET_ERRNO | EPERM);
  }
  /// In force from now on; refuses every other call. A kernel without seccomp changes nothing.
  void enforce() {
    end(SECCOMP_RET_ERRNO | EPERM);
    const sock_fprog program{static_cast<uint16_t>(code_.size()), code_.data()};
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
  }

 private:
  void load(size_t place) {
    code_.push_back({BPF_LD | BPF_W | BPF_ABS, 0, 0, static_cast<uint32_t>(place)});
  }
  void jump(int test, uint32_t value, uint8_t if_true, uint8_t if_false) {
    code_.push_back({static_cast<uint16_t>(BPF_JMP | test | BPF_K), if_true, if_false, value});
  }
  void end(uint32_t verdict) { code_.push_back({BPF_RET | BPF_K, 0, 0, verdict}); }

  std::vector<sock_filter> code_;
};

void refuse_calls() {
  if constexpr (own_architecture == 0) return;
  CallFilter filter;
  filter.allow_with(SYS_write, 0, answer_fd);
  for (const long call : {SYS_mmap, SYS_mprotect}) filter.allow_without(call, 2, PROT_EXEC);
  for (const long call :
       {SYS_munmap, SYS_mremap, SYS_brk, SYS_madvise, SYS_futex, SYS_sched_yield, SYS_getpid,
        SYS_gettid, SYS_clock_gettime, SYS_gettimeofday, SYS_getrandom, SYS_rt_sigprocmask,
        SYS_rt_sigreturn, SYS_sigaltstack, SYS_restart_syscall, SYS_exit, SYS_exit_group}) {
    filter.allow(call);
  }
  filter.enforce();
}

void limit(__rlimit_resource resource, rlim_t soft, rlim_t hard) {
  const rlimit both{soft, hard};
  setrlimit(resource, &both);
}
void limit(__rlimit_resource resource, rlim_t value) { limit(resource, value, value); }

/// Gives up everything but memory and the answer's pipe.
void confine(int pipe, const ConfinedLimits& limits, std::optional<size_t> address_space) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGXCPU}) std::signal(signal, SIG_DFL);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  dup2(pipe, answer_fd);
  for (int fd = 0; fd < answer_fd; ++fd) close(fd);
  closefrom(answer_fd + 1);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_FSIZE, 0);
  limit(RLIMIT_NOFILE, 0);
  limit(RLIMIT_NPROC, 0);
  const auto seconds = static_cast<rlim_t>(limits.cpu_seconds);
  limit(RLIMIT_CPU, seconds, seconds + 1);  // SIGXCPU, before it is SIGKILL
  if (address_space) limit(RLIMIT_AS, *address_space);
  refuse_calls();
}

void write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(answer_fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // nobody listens
    text.remove_prefix(static_cast<size_t>(written));
  }
}

void send(Message kind, std::string_view text) {
  const char first = static_cast<char>(kind);
  write_all({&first, 1});
  write_all(text);
}

/// _exit(): nothing of the parent's is flushed or destroyed.
[[noreturn]] void be_child(int pipe, const std::function<std::string()>& work,
                           const ConfinedLimits& limits, std::optional<size_t> address_space) {
  confine(pipe, limits, address_space);
  try {
    send(Message::answer, work());
  } catch (const std::bad_alloc&) {
    send(Message::memory, {});
  } catch (const std::exception& error) {
    send(Message::error, error.what());
  }
  _exit(0);
}

// In the parent -----------------------------------------------------------------------------------

/// The addresses that this process has taken, in bytes.
std::optional<size_t> own_address_space() {
  if (sanitized) return std::nullopt;
  size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  if (pages == 0) return std::nullopt;
  return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { reset(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }
  void reset() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
};

/// A child that ends with the object at the latest.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  ~Child() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    wait();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Its status; 0 where the system does not tell (SIGCHLD is ignored).
  int wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0) {
      if (errno != EINTR) {
        status = 0;
        break;
      }
    }
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_;
};

[[noreturn]] void fail(std::string_view how, std::string_view file) {
  throw InputError(fmt::format("reading the file {}", how), file, remedy);
}

[[noreturn]] void fail_for_time(int seconds, std::string_view file) {
  fail(fmt::format("takes more than {} s", seconds), file);
}

/// Everything up to the end of the pipe.
std::string read_answer(int pipe, const ConfinedLimits& limits, std::string_view file) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::seconds(limits.wall_seconds);
  std::string answer;
  std::array<char, 1 << 16> piece;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd ready{pipe, POLLIN, 0};
    const int events = left <= 0 ? 0 : poll(&ready, 1, static_cast<int>(left));
    if (events == 0) fail_for_time(limits.wall_seconds, file);
    if (events < 0) continue;  // a signal
    const ssize_t count = read(pipe, piece.data(), piece.size());
    if (count == 0) return answer;
    if (count < 0) continue;
    answer.append(piece.data(), static_cast<size_t>(count));
    if (answer.size() > limits.answer_bytes) fail("gives more names than weights can have", file);
  }
}

}  // namespace

SharedMemory::SharedMemory(size_t bytes, std::string_view file) : size_(bytes) {
  void* place = mmap(nullptr, std::max<size_t>(bytes, 1), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (place == MAP_FAILED) {
    throw RunError(fmt::format("no memory for {} bytes of weights", bytes), file,
                   "free some memory");
  }
  data_ = static_cast<std::byte*>(place);
}

SharedMemory::~SharedMemory() { munmap(data_, std::max<size_t>(size_, 1)); }

std::string run_confined(const std::function<std::string()>& work, const ConfinedLimits& limits,
                         std::string_view file) {
  const std::optional<size_t> taken = own_address_space();
  std::optional<size_t> address_space;
  if (taken) address_space = *taken + limits.memory_bytes;
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw RunError("cannot make a pipe", file, std::strerror(errno));
  }
  const Descriptor reading(ends[0]);
  Descriptor writing(ends[1]);
  const pid_t pid = fork();
  if (pid < 0) {
    throw RunError("cannot start a process to read the file in", file, std::strerror(errno));
  }
  if (pid == 0) be_child(writing.get(), work, limits, address_space);
  Child child(pid);
  writing.reset();
  std::string answer = read_answer(reading.get(), limits, file);
  const int status = child.wait();
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    if (signal == SIGXCPU) fail_for_time(limits.cpu_seconds, file);
    const char* name = sigdescr_np(signal);
    fail(fmt::format("crashes the library that does it ({})", name == nullptr ? "?" : name), file);
  }
  const char kind = answer.empty() ? '\0' : answer.front();
  if (WEXITSTATUS(status) != 0 || kind == '\0') {
    fail(fmt::format("ends the process that reads it (status {})", WEXITSTATUS(status)), file);
  }
  answer.erase(0, 1);
  switch (Message{kind}) {
    case Message::answer: return answer;
    case Message::error: throw InputError(answer, "", "");
    case Message::memory:
      fail(fmt::format("needs more than {} MiB of memory", limits.memory_bytes >> 20), file);
  }
  fail("gives an answer that is none", file);
}

}  // namespace macadam
