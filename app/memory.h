#pragma once
// How the process treats freed memory.

namespace macadam {

/// Freed memory stays with the process. By default glibc gives the megabytes of each decoded photo
/// back, and the kernel maps and clears them anew for the next one: a quarter of the CPU time of
/// loading a sample. Does nothing with another C library.
void keep_freed_memory();

}  // namespace macadam
