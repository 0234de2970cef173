#pragma once
// The memory of the process: what it held, and how it treats what is freed.

#include <cstddef>

namespace macadam {

/// Freed memory stays with the process. By default glibc gives the megabytes of each decoded photo
/// back, and the kernel maps and clears them anew for the next one: a quarter of the CPU time of
/// loading a sample. Does nothing with another C library.
void keep_freed_memory();

/// The most bytes of main memory that the process has held so far.
size_t peak_memory();

}  // namespace macadam
