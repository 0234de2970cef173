#pragma once
// 8-bit images in host memory: probing, decoding, encoding. JPEG, PNG and BMP are read; PNG is
// written. Every size is checked from the header before anything of that size is allocated.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace macadam {

/// Rows of interleaved 8-bit pixels, top to bottom: pixel (y, x) begins at
/// (y * width + x) * channels.
struct Image {
  int height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels;

  Image() = default;
  /// All zero.
  Image(int height_, int width_, int channels_)
      : height(height_),
        width(width_),
        channels(channels_),
        pixels(static_cast<size_t>(height_) * width_ * channels_) {}

  uint8_t* at(int y, int x) { return pixels.data() + offset(y, x); }
  const uint8_t* at(int y, int x) const { return pixels.data() + offset(y, x); }
  bool operator==(const Image&) const = default;

 private:
  size_t offset(int y, int x) const { return (static_cast<size_t>(y) * width + x) * channels; }
};

enum class ImageFormat : uint8_t { jpeg, png, bmp };

/// What an image's header claims.
struct ImageInfo {
  ImageFormat format = ImageFormat::png;
  int height = 0, width = 0;
  int channels = 0;      // as stored; 3 or 4 for a palette
  int bits = 8;          // a channel, or an index of a palette
  bool palette = false;  // PNG only
};

/// The largest image that is accepted. The defaults suit files of one's own; a server sets less.
struct ImageLimits {
  int64_t max_pixels = int64_t{1} << 28;
  int max_side = 65'500;
};

/// Reads the header of encoded `bytes`; `name` (usually the path) stands in errors.
/// Throws InputError when the bytes are empty, of another format, damaged, or claim more than
/// `limits` allow.
ImageInfo probe_image(std::span<const uint8_t> bytes, std::string_view name,
                      const ImageLimits& limits = {});
/// The same for a file, of which only the header is read.
ImageInfo probe_image(const std::filesystem::path& path, const ImageLimits& limits = {});

/// Decodes a photo to 3 channels: grey is repeated, alpha dropped, 16 bits are cut to 8. PNG
/// checksums are verified. Throws InputError naming `name`.
Image decode_rgb(std::span<const uint8_t> bytes, std::string_view name,
                 const ImageLimits& limits = {});
Image read_rgb(const std::filesystem::path& path, const ImageLimits& limits = {});

/// Decodes a mask of class ids to 1 channel: only an 8-bit greyscale PNG is one. A palette,
/// colours, another depth or a lossy format would change the ids and are an InputError that says
/// so.
Image decode_labels(std::span<const uint8_t> bytes, std::string_view name,
                    const ImageLimits& limits = {});
Image read_labels(const std::filesystem::path& path, const ImageLimits& limits = {});

/// A PNG of 1 (grey), 3 (RGB) or 4 (RGBA) channels. Requires a non-empty image.
std::vector<uint8_t> encode_png(const Image& image);

/// Writes `image` as a PNG, completely or not at all (engine/files.h).
void write_png(const std::filesystem::path& path, const Image& image);

}  // namespace macadam
