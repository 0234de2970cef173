#include "run/photo.h"

#include "image/resize.h"

namespace macadam {

PhotoView DecodedPhoto::seen() const {
  const Image& image = at_network_size.pixels.empty() ? whole : at_network_size;
  return {image.pixels, image.height, image.width};
}

DecodedPhoto decode_photo(std::span<const uint8_t> bytes, std::string_view name,
                          const PhotoUse& use, const ImageLimits& limits) {
  const ImageInfo info = probe_image(bytes, name, limits);
  DecodedPhoto photo;
  photo.height = info.height;
  photo.width = info.width;
  const auto read = [&](int min_height, int min_width) {
    return decode_rgb(bytes, name, limits, {min_height, min_width, &photo.fault});
  };
  const bool reduced = !use.tile && info.format == ImageFormat::jpeg &&
                       info.height >= 2 * use.height && info.width >= 2 * use.width;
  if (use.tile || use.shown || !reduced) photo.whole = read(0, 0);
  if (reduced) {
    photo.at_network_size = resize_bilinear(read(use.height, use.width), use.height, use.width);
  } else if (!use.tile) {
    photo.at_network_size = resize_bilinear(photo.whole, use.height, use.width);
  }
  return photo;
}

DecodedPhoto fit_photo(Image photo, const PhotoUse& use) {
  DecodedPhoto fitted;
  fitted.height = photo.height;
  fitted.width = photo.width;
  if (!use.tile) fitted.at_network_size = resize_bilinear(photo, use.height, use.width);
  if (use.tile || use.shown) fitted.whole = std::move(photo);
  return fitted;
}

}  // namespace macadam
