#pragma once
// FNV-1a, 64 bits: tells contents apart, and protects against nothing.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace macadam {

inline uint64_t fnv1a(std::span<const std::byte> bytes) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const std::byte byte : bytes) hash = (hash ^ static_cast<uint64_t>(byte)) * 0x100000001B3u;
  return hash;
}
inline uint64_t fnv1a(std::string_view text) { return fnv1a(std::as_bytes(std::span(text))); }

}  // namespace macadam
