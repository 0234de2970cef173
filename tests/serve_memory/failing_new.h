#pragma once
// operator new of this program, which can be told to fail.

#include <cstddef>
#include <cstdint>

namespace macadam::testing {

/// Smaller allocations are left alone: nlohmann's JSON makes them in destructors, where none may
/// throw.
constexpr size_t kLeastBytes = 256;

/// While it lives, allocations of at least kLeastBytes are counted in all threads but exempt ones:
/// number `which` (from 1 on) throws std::bad_alloc, and so do the `more` after it. One at a time.
class FailingNew {
 public:
  explicit FailingNew(int64_t which, int64_t more = 0);
  ~FailingNew();
  FailingNew(const FailingNew&) = delete;
  FailingNew& operator=(const FailingNew&) = delete;

  /// Whether the first that fails has been reached.
  bool reached() const;
};

/// From now on the calling thread's allocations neither count nor fail.
void exempt_this_thread();

}  // namespace macadam::testing
