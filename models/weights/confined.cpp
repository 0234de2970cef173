#include "models/weights/confined.h"

#include <fmt/format.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <fstream>
#include <optional>
#include <vector>

#include "base/child_process.h"
#include "base/error.h"

namespace macadam {

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // they reserve more addresses than there is memory
#elif defined(__has_feature)
constexpr bool kSanitized =
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);  // NOLINT
#else
constexpr bool kSanitized = false;
#endif

constexpr std::string_view kRemedy =
    "the file is damaged, or made to break programs: take another copy, or save the weights as "
    ".safetensors";
constexpr int kAnswerFd = 3;  // in the child

// In the child ------------------------------------------------------------------------------------

#if defined(__x86_64__)
constexpr uint32_t kOwnArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kOwnArchitecture = AUDIT_ARCH_AARCH64;
#else
constexpr uint32_t kOwnArchitecture = 0;
#endif

constexpr uint32_t argument(size_t index) {  // the low 32 bits
  return static_cast<uint32_t>(offsetof(seccomp_data, args) + index * sizeof(uint64_t));
}

/// A program of the kernel's packet filter, put together call by call.
class CallFilter {
 public:
  CallFilter() {
    load(offsetof(seccomp_data, arch));
    jump(BPF_JEQ, kOwnArchitecture, 1, 0);
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
  if constexpr (kOwnArchitecture == 0) return;
  CallFilter filter;
  filter.allow_with(SYS_write, 0, kAnswerFd);
  for (const long call : {SYS_mmap, SYS_mprotect}) filter.allow_without(call, 2, PROT_EXEC);
  for (const long call :
       {SYS_munmap, SYS_mremap, SYS_brk, SYS_madvise, SYS_futex, SYS_sched_yield, SYS_getpid,
        SYS_gettid, SYS_clock_gettime, SYS_gettimeofday, SYS_getrandom, SYS_rt_sigprocmask,
        SYS_rt_sigreturn, SYS_sigaltstack, SYS_restart_syscall, SYS_exit, SYS_exit_group}) {
    filter.allow(call);
  }
  filter.enforce();
}

void limit(__rlimit_resource resource, rlim_t value) {
  const rlimit both{value, value};
  setrlimit(resource, &both);
}

/// Gives up everything but memory and the answer's pipe; returns that one's place from now on.
int confine(int pipe, std::optional<size_t> address_space) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, SIG_DFL);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  dup2(pipe, kAnswerFd);
  for (int fd = 0; fd < kAnswerFd; ++fd) close(fd);
  closefrom(kAnswerFd + 1);
  limit(RLIMIT_FSIZE, 0);
  limit(RLIMIT_NOFILE, 0);
  limit(RLIMIT_NPROC, 0);
  if (address_space) limit(RLIMIT_AS, *address_space);
  refuse_calls();
  return kAnswerFd;
}

// In the parent -----------------------------------------------------------------------------------

/// The addresses that this process has taken, in bytes.
std::optional<size_t> own_address_space() {
  if (kSanitized) return std::nullopt;
  size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  if (pages == 0) return std::nullopt;
  return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

[[noreturn]] void fail(std::string_view how, std::string_view file) {
  throw InputError(fmt::format("reading the file {}", how), file, kRemedy);
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
  using How = ChildEnd::How;
  std::optional<size_t> address_space = own_address_space();
  if (address_space) *address_space += limits.memory_bytes;
  // A byte before the answer tells an empty one from none.
  ChildEnd end = run_in_child([&](const ChildWriter& write) { write("=" + work()); },
                              {limits.cpu_seconds, limits.wall_seconds, limits.answer_bytes + 1},
                              [&](int pipe) { return confine(pipe, address_space); });
  switch (end.how) {
    case How::returned:
      if (end.written.empty()) fail("ends the process that does it", file);
      return end.written.substr(1);
    case How::threw: throw InputError(end.error, "", "");
    case How::out_of_memory:
      fail(fmt::format("needs more than {} MiB of memory", limits.memory_bytes >> 20), file);
    case How::out_of_cpu:
    case How::out_of_time: fail(fmt::format("takes more than {} s", end.code), file);
    case How::wrote_too_much: fail("gives more names than weights can have", file);
    case How::signalled:
    case How::exited: break;
  }
  fail(fmt::format("crashes the library that does it, whose process {}", end.trouble()), file);
}

}  // namespace macadam
