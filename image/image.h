#pragma once
// 8-bit images in host memory: probing, decoding, encoding. JPEG, PNG and BMP are read; PNG is
// written. Every size is checked from the header before anything of that size is allocated.
// Photos come upright: the EXIF orientation of a JPEG is applied (that of a PNG is not read).

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/rgb.h"
#include "base/to_size.h"

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
        pixels(to_size(height_) * width_ * channels_) {}

  uint8_t* at(int y, int x) { return pixels.data() + offset(y, x); }
  const uint8_t* at(int y, int x) const { return pixels.data() + offset(y, x); }
  bool operator==(const Image&) const = default;

 private:
  size_t offset(int y, int x) const { return (to_size(y) * width + x) * channels; }
};

enum class ImageFormat : uint8_t { jpeg, png, bmp };

/// What an image's header claims.
struct ImageInfo {
  ImageFormat format = ImageFormat::png;
  int height = 0, width = 0;  // of the upright image
  int channels = 0;           // as stored; 3 for a palette
  int bits = 8;               // a channel, or an index of a palette
  bool palette = false;       // PNG only
  int orientation = 1;        // of EXIF, 1 to 8; JPEG only
};

/// The largest image that is accepted. The defaults suit files of one's own; a server sets less.
struct ImageLimits {
  int64_t max_pixels = int64_t{1} << 28;
  int max_side = 32'767;  // as of a network's images: devices resize no more (scalar/resize.h)
};

/// Throws InputError naming `name`, the size and the limits when an image is larger than these.
void check_limits(int64_t height, int64_t width, std::string_view name,
                  const ImageLimits& limits = {});

/// How much of a photo is wanted.
struct DecodeOptions {
  /// Where both are positive, a JPEG may come at a half, a quarter or an eighth of its size: the
  /// smallest of these that still has this height and this width. It is decoded in less time, and
  /// its pixels are averages (of the cosine transform), so that a resize thereafter gives other
  /// values than from the whole photo. 0: always the whole photo. Other formats come whole.
  int min_height = 0, min_width = 0;

  /// A JPEG with stray bytes, without an end marker or with another fault that costs no pixel is an
  /// InputError; or, where this is set, is decoded, and this says what is wrong with which file.
  std::string* fault = nullptr;
};

/// By what decode_rgb divides the sides of such an image, rounding up: 1, 2, 4 or 8.
int reduction_of(const ImageInfo& info, const DecodeOptions& options);

/// Reads the header of encoded `bytes`; `name` (usually the path) stands in errors.
/// Throws InputError when the bytes are empty, of another format, damaged, or claim more than
/// `limits` allow.
ImageInfo probe_image(std::span<const uint8_t> bytes, std::string_view name,
                      const ImageLimits& limits = {});
/// The same for a file.
ImageInfo probe_image(const std::filesystem::path& path, const ImageLimits& limits = {});

/// Decodes a photo to 3 channels, upright: grey is repeated, alpha dropped, of 16 bits the high
/// byte is taken, a palette looked up, CMYK converted. PNG checksums are verified. Throws
/// InputError naming `name`, also for a file that is merely cut off.
Image decode_rgb(std::span<const uint8_t> bytes, std::string_view name,
                 const ImageLimits& limits = {}, const DecodeOptions& options = {});
Image read_rgb(const std::filesystem::path& path, const ImageLimits& limits = {},
               const DecodeOptions& options = {});

/// Decodes a mask of class ids to 1 channel: a greyscale PNG of 1 to 8 bits, whose values as stored
/// are the ids, or one of 8 bits in RGB whose channels are equal everywhere; alpha is dropped. A
/// palette, colours, 16 bits or a lossy format would change the ids and are an InputError that says
/// so, and how a data set tells that they are meant (loader/mask.h).
Image decode_labels(std::span<const uint8_t> bytes, std::string_view name,
                    const ImageLimits& limits = {});
Image read_labels(const std::filesystem::path& path, const ImageLimits& limits = {});

/// The same of a PNG with a palette (1 to 8 bits, not interlaced), whose indices are the ids.
Image decode_label_indices(std::span<const uint8_t> bytes, std::string_view name,
                           const ImageLimits& limits = {});

/// An image file in memory.
class ImageFile {
 public:
  static constexpr size_t kMaxBytes = size_t{1} << 30;

  /// Throws InputError when the path is not a readable regular file, or has more than 1 GiB.
  explicit ImageFile(const std::filesystem::path& path) : file_(path, kMaxBytes) {}

  std::span<const uint8_t> bytes() const {
    const auto bytes = file_.bytes();
    return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  }

 private:
  FileBytes file_;
};

/// A PNG of 1 (grey), 3 (RGB) or 4 (RGBA) channels; the same bytes for the same pixels. Requires a
/// non-empty image of less than 2 GiB.
std::vector<uint8_t> encode_png(const Image& image);

/// The same of 1 channel of indices into a palette of 1 to 256 colors. Requires that it has them
/// all.
std::vector<uint8_t> encode_png(const Image& indices, std::span<const Rgb> palette);

/// Writes `image` as a PNG, completely or not at all (base/files.h).
void write_png(const std::filesystem::path& path, const Image& image);

}  // namespace macadam
