#include "tests/serve_memory/failing_new.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<int64_t> first_to_fail{0}, last_to_fail{0};  // 0: none
std::atomic<int64_t> seen{0};
thread_local bool exempt = false;

bool fails(size_t bytes) {
  const int64_t first = first_to_fail.load(std::memory_order_relaxed);
  if (first == 0 || exempt || bytes < macadam::testing::kLeastBytes) return false;
  const int64_t number = ++seen;
  return number >= first && number <= last_to_fail.load(std::memory_order_relaxed);
}

void* allocate(size_t bytes) noexcept {
  return fails(bytes) ? nullptr : std::malloc(bytes == 0 ? 1 : bytes);
}

void* allocate_or_throw(size_t bytes) {
  void* const made = allocate(bytes);
  if (made == nullptr) throw std::bad_alloc();
  return made;
}

}  // namespace

void* operator new(size_t bytes) { return allocate_or_throw(bytes); }
void* operator new[](size_t bytes) { return allocate_or_throw(bytes); }
void* operator new(size_t bytes, const std::nothrow_t& /*tag*/) noexcept { return allocate(bytes); }
void* operator new[](size_t bytes, const std::nothrow_t& /*tag*/) noexcept {
  return allocate(bytes);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t /*bytes*/) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t /*bytes*/) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t& /*tag*/) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t& /*tag*/) noexcept { std::free(memory); }

namespace macadam::testing {

FailingNew::FailingNew(int64_t which, int64_t more) {
  seen = 0;
  last_to_fail = which + more;
  first_to_fail = which;
}

FailingNew::~FailingNew() { first_to_fail = 0; }

bool FailingNew::reached() const { return seen >= first_to_fail; }

void exempt_this_thread() { exempt = true; }

}  // namespace macadam::testing
