#include "app/memory.h"

#include <sys/resource.h>

#include <cstdlib>
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace macadam {

void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most that every version accepts
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

size_t peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<size_t>(usage.ru_maxrss) << 10;  // KiB
}

}  // namespace macadam
