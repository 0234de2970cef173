#pragma once
// A photo on its way to a network: decoded once, or for the network's size alone where that is
// cheaper. What `macadam predict` and the server see of the same file is the same.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "engine/infer/classifier.h"
#include "image/image.h"

namespace macadam {

/// What is to be done with a photo.
struct PhotoUse {
  int height = 0, width = 0;  // of the network's images
  bool tile = false;          // windows over the photo as it is; else it is resized to that
  bool shown = false;         // the whole photo is laid under its mask
};

struct DecodedPhoto {
  int height = 0, width = 0;  // of the whole photo
  Image whole;                // empty where nobody looks at it
  Image at_network_size;      // empty with PhotoUse::tile
  std::string fault;          // DecodeOptions::fault

  /// What the network is shown.
  PhotoView seen() const;
};

/// At the network's size a photo is decoded as for training: a JPEG of at least twice that comes
/// reduced from its decoder (DecodeOptions). Throws InputError as decode_rgb does.
DecodedPhoto decode_photo(std::span<const uint8_t> bytes, std::string_view name,
                          const PhotoUse& use, const ImageLimits& limits = {});

/// The same of a photo that was decoded elsewhere.
DecodedPhoto fit_photo(Image photo, const PhotoUse& use);

}  // namespace macadam
