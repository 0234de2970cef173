#include "image/image.h"

#include <fmt/format.h>

#include <array>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/round_up.h"
#include "base/to_size.h"
#include "image/bmp_runs.h"
#include "image/exif.h"
#include "image/jpeg.h"
#include "image/png.h"
#include "image/png_pixels.h"
#include "image/stb.h"

namespace macadam {

namespace {

constexpr const char* kCopyAgain = "copy or download the file again";

bool is_bmp(std::span<const uint8_t> bytes) {
  return bytes.size() >= 2 && bytes[0] == 'B' && bytes[1] == 'M';
}

/// stb_image fills what a BMP lacks with zeros. Layout: BITMAPFILEHEADER (offset of the pixels at
/// byte 10), then a header whose size (byte 14) tells the old form from the usual one.
void verify_bmp_size(std::span<const uint8_t> bytes, const ImageInfo& info, std::string_view name) {
  const auto little_endian = [&](size_t at, size_t count) {
    uint64_t value = 0;
    for (size_t i = count; i-- > 0;)
      value = value << 8 | (at + i < bytes.size() ? bytes[at + i] : 0);
    return value;
  };
  const bool old_form = little_endian(14, 4) == 12;
  const uint64_t bits_a_pixel = little_endian(old_form ? 24 : 28, 2);
  const uint64_t bits_a_row = bits_a_pixel * static_cast<uint64_t>(info.width);
  const uint64_t stride = round_up(bits_a_row, 32) / 8;
  const uint64_t rows = static_cast<uint64_t>(info.height);
  const uint64_t needed = little_endian(10, 4) + (rows - 1) * stride + (bits_a_row + 7) / 8;
  if (bytes.size() < needed) throw InputError("BMP file is truncated", name, kCopyAgain);
}

ImageInfo png_info(const PngHeader& header) {
  ImageInfo info;
  info.format = ImageFormat::png;
  info.height = static_cast<int>(header.height);
  info.width = static_cast<int>(header.width);
  info.bits = header.bits;
  info.palette = header.color == PngColor::palette;
  info.channels = info.palette ? 3 : header.samples();
  return info;
}

ImageInfo jpeg_info(const JpegHeader& header, int orientation) {
  ImageInfo info;
  info.format = ImageFormat::jpeg;
  info.height = header.height;
  info.width = header.width;
  info.channels = header.channels;
  info.orientation = orientation;
  if (swaps_sides(orientation)) std::swap(info.height, info.width);
  return info;
}

Image decode_whole_jpeg(std::span<const uint8_t> bytes, const ImageInfo& info,
                        std::string_view name, const DecodeOptions& options) {
  std::string oddity;
  Image image = decode_jpeg(bytes, reduction_of(info, options), name, oddity);
  if (oddity.empty()) return image;
  const std::string what = fmt::format("JPEG file has a fault that costs no pixel ({})", oddity);
  if (options.fault == nullptr) {
    throw InputError(what, name,
                     "save it again, or take it: loader.strict = false in a configuration, "
                     "--no-strict with check and pack");
  }
  *options.fault = fmt::format("{}: {}", what, name);
  return image;
}

/// BMPs without run lengths, and the PNGs that png_pixels.h leaves out.
Image decode_other(std::span<const uint8_t> bytes, const ImageInfo& info, std::string_view name) {
  if (info.format == ImageFormat::png) read_png_chunks(bytes, name);  // stb compares no checksums
  if (info.format == ImageFormat::bmp) verify_bmp_size(bytes, info, name);
  // 16-bit RGBA takes 8 bytes a pixel, stb doubles a block that proves too short, and small images
  // need some room for more than their pixels.
  const size_t padded_pixels = (to_size(info.height) + 64) * (to_size(info.width) + 64);
  const size_t max_block = 20 * padded_pixels + 2 * bytes.size();
  std::string why = "two sizes in one file";
  Image image = stb::decode_rgb(bytes, max_block, why);
  if (image.height != info.height || image.width != info.width) {
    throw InputError(fmt::format("image is truncated or damaged ({})", why), name, kCopyAgain);
  }
  return image;
}

}  // namespace

int reduction_of(const ImageInfo& info, const DecodeOptions& options) {
  if (info.format != ImageFormat::jpeg || options.min_height <= 0 || options.min_width <= 0) {
    return 1;
  }
  int reduction = 8;
  while (reduction > 1 && ((info.height + reduction - 1) / reduction < options.min_height ||
                           (info.width + reduction - 1) / reduction < options.min_width)) {
    reduction /= 2;
  }
  return reduction;
}

void check_limits(int64_t height, int64_t width, std::string_view name, const ImageLimits& limits) {
  if (width <= limits.max_side && height <= limits.max_side &&
      width * height <= limits.max_pixels) {
    return;
  }
  throw InputError(fmt::format("image claims {} x {} pixels", width, height), name,
                   fmt::format("at most {} pixels and {} a side are read; scale it down",
                               limits.max_pixels, limits.max_side));
}

ImageInfo probe_image(std::span<const uint8_t> bytes, std::string_view name,
                      const ImageLimits& limits) {
  if (bytes.empty()) throw InputError("image file is empty (0 bytes)", name, kCopyAgain);
  if (bytes.size() > ImageFile::kMaxBytes) {
    throw InputError("image file is larger than 1 GiB", name, "compress it or scale it down");
  }
  if (is_png(bytes)) {
    const PngHeader header = read_png_header(bytes, name);
    check_limits(header.height, header.width, name, limits);
    return png_info(header);
  }
  if (is_jpeg(bytes)) {
    const JpegHeader header = read_jpeg_header(bytes, name);
    check_limits(header.height, header.width, name, limits);
    return jpeg_info(header, exif_orientation(bytes));
  }
  if (!is_bmp(bytes)) {
    refuse_git_lfs_pointer(std::as_bytes(bytes), name);
    throw InputError("not a JPEG, PNG or BMP image", name, "convert it to PNG or JPEG");
  }
  if (has_bmp_runs(bytes)) {
    const BmpRunsHeader header = read_bmp_runs_header(bytes, name);
    check_limits(header.height, header.width, name, limits);
    return {
        .format = ImageFormat::bmp, .height = header.height, .width = header.width, .channels = 3};
  }
  const auto size = stb::bmp_size(bytes);
  if (!size || size->height <= 0 || size->width <= 0) {
    throw InputError("image header is truncated or damaged", name, kCopyAgain);
  }
  check_limits(size->height, size->width, name, limits);
  ImageInfo info;
  info.format = ImageFormat::bmp;
  info.height = size->height;
  info.width = size->width;
  info.channels = size->channels;
  return info;
}

ImageInfo probe_image(const std::filesystem::path& path, const ImageLimits& limits) {
  return probe_image(ImageFile(path).bytes(), path.string(), limits);
}

Image decode_rgb(std::span<const uint8_t> bytes, std::string_view name, const ImageLimits& limits,
                 const DecodeOptions& options) {
  const ImageInfo info = probe_image(bytes, name, limits);
  if (info.format == ImageFormat::jpeg) {
    return upright(decode_whole_jpeg(bytes, info, name, options), info.orientation);
  }
  if (info.format == ImageFormat::png) {
    const PngHeader header = read_png_header(bytes, name);
    if (reads_png_pixels(header)) return decode_png_rgb(bytes, header, name);
  }
  if (info.format == ImageFormat::bmp && has_bmp_runs(bytes)) return decode_bmp_runs(bytes, name);
  return decode_other(bytes, info, name);
}

Image read_rgb(const std::filesystem::path& path, const ImageLimits& limits,
               const DecodeOptions& options) {
  return decode_rgb(ImageFile(path).bytes(), path.string(), limits, options);
}

Image decode_labels(std::span<const uint8_t> bytes, std::string_view name,
                    const ImageLimits& limits) {
  const ImageInfo info = probe_image(bytes, name, limits);
  const auto refuse = [&](std::string_view found, std::string_view remedy) {
    throw InputError(fmt::format("a mask must be a greyscale PNG of class ids, this is {}", found),
                     name, remedy);
  };
  if (info.format == ImageFormat::jpeg) {
    refuse(
        "a JPEG image",
        "JPEG is lossy: its labels would be wrong; save the mask as PNG from what it was made of");
  }
  if (info.format != ImageFormat::png) refuse("a BMP image", "save the ids themselves as PNG");
  if (info.palette) {
    refuse("a PNG with a colour palette",
           "if the palette's indices are the ids, set mask_format = \"indices\" in dataset.toml, "
           "if its colours stand for classes, \"colors\"");
  }
  if (info.bits > 8) {
    refuse(fmt::format("a {}-bit PNG", info.bits), "save the ids themselves with 8 bits");
  }
  const PngHeader header = read_png_header(bytes, name);
  if (info.channels == 1 && !header.interlaced) return decode_png_ids(bytes, header, name);
  const Image image = decode_rgb(bytes, name, limits);
  // As RGB, grey values of fewer than 8 bits are stretched to 0 to 255.
  const int stretch = 255 / ((1 << info.bits) - 1);
  Image mask(image.height, image.width, 1);
  for (size_t p = 0; p < mask.pixels.size(); ++p) {
    const uint8_t* rgb = image.pixels.data() + 3 * p;
    if (rgb[0] != rgb[1] || rgb[0] != rgb[2]) {
      const auto width = to_size(mask.width);
      refuse(fmt::format("a coloured one: [{}, {}, {}] at x={}, y={}", rgb[0], rgb[1], rgb[2],
                         p % width, p / width),
             "give the file with the ids, not its coloured picture; or set mask_format = "
             "\"colors\" in dataset.toml and give every class its color");
    }
    mask.pixels[p] = static_cast<uint8_t>(rgb[0] / stretch);
  }
  return mask;
}

Image read_labels(const std::filesystem::path& path, const ImageLimits& limits) {
  return decode_labels(ImageFile(path).bytes(), path.string(), limits);
}

Image decode_label_indices(std::span<const uint8_t> bytes, std::string_view name,
                           const ImageLimits& limits) {
  const ImageInfo info = probe_image(bytes, name, limits);
  if (!info.palette) {
    throw InputError(
        "mask_format = \"indices\" needs PNG masks with a colour palette, this has none", name,
        "use \"ids\" for greyscale masks of ids, \"colors\" for coloured ones");
  }
  const PngHeader header = read_png_header(bytes, name);
  if (!reads_png_pixels(header)) {
    throw InputError("an interlaced PNG cannot be a mask", name, "save it without interlacing");
  }
  return decode_png_ids(bytes, header, name);
}

void write_png(const std::filesystem::path& path, const Image& image) {
  const std::vector<uint8_t> bytes = encode_png(image);
  const std::array parts{std::as_bytes(std::span(bytes))};
  write_file_atomically(path, parts);
}

}  // namespace macadam
