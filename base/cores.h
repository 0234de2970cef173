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

/// Puts the calling thread and its OpenMP team on a core each, where the team (omp_get_max_threads)
/// has as many threads as the affinity mask has cores; else nothing changes, nor where
/// OMP_PROC_BIND is set (to "false", for example). For teams that sleep between calls, before each:
/// two that wake on one core, beside an idle one, wait for each other's time slices at every
/// barrier. The team stays bound; the caller is moved alone and keeps its mask, which the threads
/// inherit that OpenMP may begin later in the place of others.
void spread_team();

}  // namespace macadam
