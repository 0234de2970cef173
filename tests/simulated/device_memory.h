#pragma once
// The memory that a simulated device knows of: its own, which the host cannot touch, and pinned
// memory of the host.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

namespace macadam::simulated {

class DeviceMemory {
 public:
  /// Of the device.
  static constexpr size_t kBytes = size_t{1} << 32;

  enum class Kind : uint8_t { device, pinned, pageable };

  /// While it lives, this process may touch the memory of the device; otherwise that is a
  /// segmentation fault, as it would be with a GPU. One at a time.
  class Opened {
   public:
    explicit Opened(DeviceMemory& memory) : memory_(memory) { memory_.protect(false); }
    Opened(const Opened&) = delete;
    Opened& operator=(const Opened&) = delete;
    ~Opened() { memory_.protect(true); }

   private:
    DeviceMemory& memory_;
  };

  DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;
  ~DeviceMemory();

  /// Memory that holds NaN in every floating type and 255 in every byte, 256-byte aligned; null
  /// when the device has not so much left.
  void* allocate(size_t bytes);
  void* allocate_pinned(size_t bytes);
  /// Poisons it again before it goes. Requires memory of one of these.
  void release(void* data);
  /// Whose memory this is, which may be the middle of a block. Everything unknown is pageable.
  Kind kind_of(const void* data) const;

 private:
  using Blocks = std::map<std::byte*, size_t>;  // bytes by where they begin

  /// The first place that has room for so many bytes; null: there is none.
  std::byte* find_room(size_t bytes) const;
  static bool within(const Blocks& blocks, const void* data);
  void protect(bool closed);

  std::byte* const memory_;  // kBytes of address space
  size_t touched_ = 0;       // bytes from its beginning that have ever been in use
  Blocks blocks_, pinned_;
};

}  // namespace macadam::simulated
