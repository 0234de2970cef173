#pragma once
// Memory that was freed and that the C library keeps.

namespace macadam {

/// Gives it back to the system. Does nothing with another C library than glibc.
void give_back_freed_memory();

}  // namespace macadam
