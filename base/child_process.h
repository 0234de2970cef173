#pragma once
// Code that may crash or never return, run where it can harm nobody.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace macadam {

struct ChildLimits {
  int cpu_seconds = 20;            // of all threads together
  int seconds = 60;                // on the wall's clock, for what waits and uses no CPU
  size_t bytes = size_t{1} << 20;  // that it writes
};

/// What became of a child.
struct ChildEnd {
  enum class How : uint8_t {
    returned,
    threw,
    out_of_memory,   // threw std::bad_alloc
    out_of_cpu,      // used more than cpu_seconds
    out_of_time,     // had not ended after `seconds`
    wrote_too_much,  // more than `bytes`
    signalled,
    exited,  // otherwise than by its end
  };

  How how = How::returned;
  int code = 0;  // the signal, the exit status, or the seconds that it was allowed
  std::string written;
  std::string error;  // the text of what it threw

  /// Empty when it returned; else "ended by signal 11 (Segmentation fault)", "had not ended after
  /// 20 s of CPU time", the text of what it threw.
  std::string trouble() const;
};

using ChildWriter = std::function<void(std::string_view)>;

/// Runs `body` in a child process and returns what it gave to `write`, and how it ended. Before
/// that the child calls `confine` with the descriptor of its end of the pipe: to give up what it
/// shall not have; it returns the descriptor that is to be written to from then on. The child's
/// standard error goes nowhere, it leaves no core file, and it ends with the calling thread.
/// OpenMP's threads do not survive a fork: where this process has more than one thread, the child
/// computes with one. Throws RunError when no child can be made.
ChildEnd run_in_child(const std::function<void(const ChildWriter& write)>& body,
                      const ChildLimits& limits = {},
                      const std::function<int(int pipe)>& confine = {});

}  // namespace macadam
