#pragma once
// How many cores this process may keep busy: what "all cores" means, everywhere.

#include <optional>

#include "base/cgroup.h"

namespace macadam {

/// The CPU time that control groups (v1 or v2) leave this process, in cores: 1.5 is three seconds
/// in two. The least of its own group's quota and those around it; nothing without a quota, or
/// where there is nothing to read.
std::optional<double> cpu_quota(const CgroupFiles& files = {});

/// The cores of the affinity mask, and no more of them than the quota keeps busy (rounded up); at
/// least 1.
int usable_cores(const CgroupFiles& files = {});

}  // namespace macadam
