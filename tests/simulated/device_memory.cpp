#include "tests/simulated/device_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <new>

#include "base/error.h"
#include "base/to_size.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes)
#endif

namespace macadam::simulated {

namespace {

constexpr size_t kAlignment = 256;  // and the least distance of two blocks
constexpr int kPoison = 0xFF;

constexpr size_t kHugePage = size_t{1} << 21;

/// Of huge pages where the system has them: every kernel changes the protection of all of them,
/// which page by page takes longer than most kernels.
std::byte* reserve() {
  constexpr size_t kRoom = DeviceMemory::kBytes + kHugePage;
  void* const room =
      mmap(nullptr, kRoom, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  require(room != MAP_FAILED, "address space for the device");
  void* memory = room;
  size_t left = kRoom;
  std::align(kHugePage, DeviceMemory::kBytes, memory, left);
  auto* const begin = static_cast<std::byte*>(memory);
  if (kRoom > left) munmap(room, kRoom - left);
  munmap(begin + DeviceMemory::kBytes, left - DeviceMemory::kBytes);
  madvise(begin, DeviceMemory::kBytes, MADV_HUGEPAGE);
  return begin;
}

/// The end of a block and of what must lie free behind it.
size_t end_of(size_t begin, size_t bytes) {
  return (begin + bytes + 2 * kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

DeviceMemory::DeviceMemory() : memory_(reserve()) {}

DeviceMemory::~DeviceMemory() {
  ASAN_UNPOISON_MEMORY_REGION(memory_, touched_);
  munmap(memory_, kBytes);
}

std::byte* DeviceMemory::find_room(size_t bytes) const {
  if (bytes > kBytes) return nullptr;
  size_t begin = 0;
  for (const auto& [data, taken] : blocks_) {
    const auto next = to_size(data - memory_);
    if (end_of(begin, bytes) <= next) break;
    begin = end_of(next, taken);
  }
  return end_of(begin, bytes) <= kBytes ? memory_ + begin : nullptr;
}

void* DeviceMemory::allocate(size_t bytes) {
  std::byte* const data = find_room(bytes);
  if (data == nullptr) return nullptr;
  blocks_.emplace(data, bytes);
  const auto begin = to_size(data - memory_), end = end_of(begin, bytes);
  touched_ = std::max(touched_, end);
  ASAN_POISON_MEMORY_REGION(data, end - begin);
  ASAN_UNPOISON_MEMORY_REGION(data, bytes);
  const Opened opened(*this);
  std::memset(data, kPoison, bytes);
  return data;
}

void* DeviceMemory::allocate_pinned(size_t bytes) {
  auto* data = static_cast<std::byte*>(::operator new[](bytes, std::align_val_t{kAlignment}));
  std::memset(data, kPoison, bytes);
  pinned_.emplace(data, bytes);
  return data;
}

void DeviceMemory::release(void* data) {
  auto* const first = static_cast<std::byte*>(data);
  if (const auto pinned = pinned_.find(first); pinned != pinned_.end()) {
    std::memset(data, kPoison, pinned->second);
    ::operator delete[](data, std::align_val_t{kAlignment});
    pinned_.erase(pinned);
    return;
  }
  const auto block = blocks_.find(first);
  require(block != blocks_.end(), "memory of the device, released once");
  const Opened opened(*this);
  std::memset(data, kPoison, block->second);
  ASAN_POISON_MEMORY_REGION(data, block->second);
  blocks_.erase(block);
}

bool DeviceMemory::within(const Blocks& blocks, const void* data) {
  // No order but this one is defined between addresses of different blocks.
  const std::less<const void*> before;
  return std::any_of(blocks.begin(), blocks.end(), [&](const auto& block) {
    return !before(data, block.first) && before(data, block.first + block.second);
  });
}

DeviceMemory::Kind DeviceMemory::kind_of(const void* data) const {
  if (within(blocks_, data)) return Kind::device;
  return within(pinned_, data) ? Kind::pinned : Kind::pageable;
}

void DeviceMemory::protect(bool closed) {
  if (touched_ == 0) return;
  // A part of a huge page would break it up.
  const size_t bytes = (touched_ + kHugePage - 1) / kHugePage * kHugePage;
  require(mprotect(memory_, bytes, closed ? PROT_NONE : PROT_READ | PROT_WRITE) == 0,
          "a change of the memory's protection");
}

}  // namespace macadam::simulated
