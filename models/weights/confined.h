#pragma once
// A child process for work on files that nobody vouches for, by libraries that are not made for
// them: it can compute and answer, and whatever becomes of it is one error.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace macadam {

struct ConfinedLimits {
  size_t memory_bytes = 0;  // beyond what this process has; not under sanitizers
  int cpu_seconds = 0;
  int wall_seconds = 0;
  size_t answer_bytes = 0;
};

/// Zeroed memory that this process shares with the children it forks later.
class SharedMemory {
 public:
  /// Throws RunError naming `file`, for whose sake it is, when there is not enough.
  SharedMemory(size_t bytes, std::string_view file);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  std::span<std::byte> bytes() const { return {data_, size_}; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

/// What `work` returns, from a forked child. The child has this process's memory as it is, and
/// nothing else: no descriptors but the pipe of its answer, no new ones, no processes, no core
/// dump; where the kernel has seccomp, no system calls but those of memory, locks and the answer,
/// all others fail in it. It starts no threads and takes no locks but malloc's, so that forking a
/// process with threads is safe; it ends with this process.
///
/// The answer is to be trusted no more than the file. Throws InputError naming `file`: with the
/// message of an exception that `work` threw, or saying how the child ended (a crash, too much
/// memory, time or answer); RunError when no child can be started.
std::string run_confined(const std::function<std::string()>& work, const ConfinedLimits& limits,
                         std::string_view file);

}  // namespace macadam
