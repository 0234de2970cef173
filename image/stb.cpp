#include "image/stb.h"

#include <cstdlib>
#include <limits>
#include <memory>

namespace {

// stb passes no context to its allocator, so the limit of the decode in progress sits beside it.
thread_local size_t max_block_bytes = 0;

void* bounded_malloc(size_t bytes) {
  return bytes <= max_block_bytes ? std::malloc(bytes) : nullptr;
}

void* bounded_realloc(void* block, size_t bytes) {
  return bytes <= max_block_bytes ? std::realloc(block, bytes) : nullptr;
}

}  // namespace

#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_MALLOC(bytes) bounded_malloc(bytes)
#define STBI_REALLOC(block, bytes) bounded_realloc(block, bytes)
#define STBI_FREE(block) std::free(block)
#include <stb/stb_image.h>

#include "base/to_size.h"

namespace macadam::stb {

std::optional<Size> bmp_size(std::span<const uint8_t> bytes) {
  max_block_bytes = 1 << 20;
  Size size;
  if (!stbi_info_from_memory(bytes.data(), static_cast<int>(bytes.size()), &size.width,
                             &size.height, &size.channels)) {
    return std::nullopt;
  }
  if (size.height < 0 && size.height > std::numeric_limits<int>::min()) size.height = -size.height;
  return size;
}

Image decode_rgb(std::span<const uint8_t> bytes, size_t max_block, std::string& why) {
  constexpr int kChannels = 3;
  max_block_bytes = max_block;
  int width = 0, height = 0, stored_channels = 0;
  const std::unique_ptr<stbi_uc, decltype(&std::free)> pixels(
      stbi_load_from_memory(bytes.data(), static_cast<int>(bytes.size()), &width, &height,
                            &stored_channels, kChannels),
      &std::free);
  Image image;
  if (!pixels) {
    const char* reason = stbi_failure_reason();
    why = reason ? reason : "unknown reason";
    return image;
  }
  image.height = height;
  image.width = width;
  image.channels = kChannels;
  image.pixels.assign(pixels.get(), pixels.get() + to_size(height) * width * kChannels);
  return image;
}

}  // namespace macadam::stb
