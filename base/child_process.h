#pragma once
// Code that may crash or never return, run where it can harm nobody.

#include <functional>
#include <string>

namespace macadam {

struct ChildLimits {
  int cpu_seconds = 20;  // of all threads together
  int seconds = 60;      // on the wall's clock, for what waits and uses no CPU
};

struct ChildEnd {
  std::string written;
  std::string trouble;  // empty when it returned; else "ended by signal 11 (Segmentation fault)",
                        // "had not ended after 20 s of CPU time"
};

/// Runs `body` in a child process and returns what it gave to `write`, up to 1 MiB, and how it
/// ended. What it throws is trouble too: the exception's text. The child's standard error goes
/// nowhere. OpenMP's threads do not survive a fork: where this process has more than one thread,
/// the child computes with one. Throws RunError when no child can be made.
ChildEnd run_in_child(
    const std::function<void(const std::function<void(const std::string&)>& write)>& body,
    const ChildLimits& limits = {});

}  // namespace macadam
