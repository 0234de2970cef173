#include "image/gray16.h"

#include "base/error.h"
#include "image/png.h"
#include "image/png_pixels.h"

namespace macadam {

Gray16 decode_gray16(std::span<const uint8_t> bytes, std::string_view name,
                     const ImageLimits& limits) {
  const ImageInfo info = probe_image(bytes, name, limits);
  const bool is_png = info.format == ImageFormat::png;
  if (!is_png || info.palette || info.channels != 1) {
    throw InputError("not a greyscale PNG of numbers", name, "save the numbers themselves as one");
  }
  const PngHeader header = read_png_header(bytes, name);
  if (header.interlaced) {
    throw InputError("an interlaced PNG is not read here", name, "save it without interlacing");
  }
  Gray16 image{info.height, info.width, {}};
  if (header.bits == 16) {
    image.pixels = decode_png_gray16(bytes, header, name);
  } else {
    const Image narrow = decode_png_ids(bytes, header, name);
    image.pixels.assign(narrow.pixels.begin(), narrow.pixels.end());
  }
  return image;
}

Gray16 read_gray16(const std::filesystem::path& path, const ImageLimits& limits) {
  return decode_gray16(ImageFile(path).bytes(), path.string(), limits);
}

}  // namespace macadam
