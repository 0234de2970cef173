#include "loader/mask.h"

#include <fmt/format.h>

#include <unordered_map>

#include "base/error.h"
#include "base/to_size.h"

namespace macadam {

namespace {

uint32_t key_of(const uint8_t* rgb) {
  return uint32_t{rgb[0]} << 16 | uint32_t{rgb[1]} << 8 | rgb[2];
}

Image decode_colors(std::span<const uint8_t> bytes, std::string_view name, const MaskCoding& coding,
                    const ImageLimits& limits) {
  const ImageInfo info = probe_image(bytes, name, limits);
  if (info.format != ImageFormat::png || (info.bits != 8 && !info.palette)) {
    throw InputError("a mask of colours must be an 8-bit PNG", name,
                     "save it as one; JPEG is lossy: its colours would be wrong");
  }
  if (info.channels < 3) {
    throw InputError("mask_format = \"colors\" needs coloured masks, this one is grey", name,
                     "use mask_format = \"ids\" for greyscale masks of ids");
  }
  std::unordered_map<uint32_t, uint8_t> id_of;
  for (const auto& entry : coding.colors) id_of[key_of(entry.color.data())] = entry.id;

  const Image image = decode_rgb(bytes, name, limits);
  Image mask(image.height, image.width, 1);
  // Neighbours mostly have one colour: the last one found is tried first.
  auto found = id_of.end();
  for (size_t p = 0; p < mask.pixels.size(); ++p) {
    const uint8_t* rgb = image.pixels.data() + 3 * p;
    const uint32_t key = key_of(rgb);
    if (found == id_of.end() || found->first != key) found = id_of.find(key);
    if (found == id_of.end()) {
      const auto width = to_size(mask.width);
      throw InputError(fmt::format("colour [{}, {}, {}] at x={}, y={} belongs to no class", rgb[0],
                                   rgb[1], rgb[2], p % width, p / width),
                       name, "give it to a class of dataset.toml or add it to ignore_colors");
    }
    mask.pixels[p] = found->second;
  }
  return mask;
}

}  // namespace

Image decode_mask(std::span<const uint8_t> bytes, std::string_view name, const MaskCoding& coding,
                  const ImageLimits& limits) {
  switch (coding.format) {
    case MaskFormat::ids: return decode_labels(bytes, name, limits);
    case MaskFormat::indices: return decode_label_indices(bytes, name, limits);
    case MaskFormat::colors: return decode_colors(bytes, name, coding, limits);
  }
  return {};
}

Image read_mask(const std::filesystem::path& path, const MaskCoding& coding,
                const ImageLimits& limits) {
  return decode_mask(ImageFile(path).bytes(), path.string(), coding, limits);
}

}  // namespace macadam
