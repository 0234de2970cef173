// Replaces malloc and its family for the whole program, shared libraries included; glibc's own
// functions do the work. operator new calls malloc.

#include "tests/engine_memory/watched_heap.h"

#include <dlfcn.h>
#include <execinfo.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

extern "C" {
void* __libc_malloc(size_t bytes) noexcept;
void* __libc_calloc(size_t count, size_t bytes) noexcept;
void* __libc_realloc(void* pointer, size_t bytes) noexcept;
void* __libc_memalign(size_t alignment, size_t bytes) noexcept;
}

namespace {

std::atomic<bool> counting{false};
std::atomic<int64_t> from_project{0}, from_onednn{0}, from_openmp{0}, from_unknown{0};
std::atomic<int> fresh_byte{-1};  // -1: leave memory as it is
thread_local bool inside = false;

void* base_of(const void* address) {
  Dl_info info{};
  return ::dladdr(address, &info) != 0 ? info.dli_fbase : nullptr;
}

std::atomic<int64_t>& owner_of(void* const* frames, int count) {
  static void* const program = base_of(reinterpret_cast<const void*>(&base_of));
  for (int i = 0; i < count; ++i) {
    Dl_info info{};
    if (::dladdr(frames[i], &info) == 0) continue;
    if (info.dli_fbase == program) return from_project;
    const std::string_view file = info.dli_fname == nullptr ? "" : info.dli_fname;
    if (file.find("libdnnl") != file.npos) return from_onednn;
    if (file.find("libgomp") != file.npos) return from_openmp;
  }
  return from_unknown;
}

/// Called directly from each replaced function.
[[gnu::noinline]] void note() {
  if (!counting.load(std::memory_order_relaxed) || inside) return;
  inside = true;
  constexpr int kHere = 2;  // frames: note and the replaced function
  void* frames[48];
  const int count = ::backtrace(frames, 48);
  ++owner_of(frames + kHere, count - kHere);
  inside = false;
}

}  // namespace

extern "C" {

void* malloc(size_t bytes) noexcept {
  note();
  return __libc_malloc(bytes);
}
void* calloc(size_t count, size_t bytes) noexcept {
  note();
  return __libc_calloc(count, bytes);
}
void* realloc(void* pointer, size_t bytes) noexcept {
  note();
  return __libc_realloc(pointer, bytes);
}
void* memalign(size_t alignment, size_t bytes) noexcept {
  note();
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** pointer, size_t alignment, size_t bytes) noexcept {
  note();
  *pointer = __libc_memalign(alignment, bytes);
  return *pointer == nullptr ? ENOMEM : 0;
}
void* aligned_alloc(size_t alignment, size_t bytes) noexcept {
  note();
  void* const pointer = __libc_memalign(alignment, bytes);
  const int byte = fresh_byte.load();
  if (pointer != nullptr && byte >= 0) std::memset(pointer, byte, bytes);
  return pointer;
}

}  // extern "C"

namespace macadam::testing {

AllocationCount::AllocationCount() {
  void* frame[1];
  ::backtrace(frame, 1);  // loads what it needs
  from_project = from_onednn = from_openmp = from_unknown = 0;
  counting = true;
}

AllocationCount::~AllocationCount() { counting = false; }

Allocations AllocationCount::stop() {
  counting = false;
  return {from_project, from_onednn, from_openmp, from_unknown};
}

FreshMemory::FreshMemory(uint8_t byte) { fresh_byte = byte; }
FreshMemory::~FreshMemory() { fresh_byte = -1; }

}  // namespace macadam::testing
