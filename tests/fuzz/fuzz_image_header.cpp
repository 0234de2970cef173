// What a server believes of a photo before it decodes it: a size within the limits, an orientation,
// and nothing allocated that the header alone asks for. Good seeds: tests/golden/images/.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "base/error.h"
#include "image/exif.h"
#include "image/image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace macadam;
  const std::span<const uint8_t> bytes(data, size);
  constexpr ImageLimits kLimits{1 << 20, 4096};
  try {
    const ImageInfo info = probe_image(bytes, "fuzz", kLimits);
    const bool within = info.height > 0 && info.width > 0 && info.height <= kLimits.max_side &&
                        info.width <= kLimits.max_side &&
                        int64_t{info.height} * info.width <= kLimits.max_pixels &&
                        info.channels >= 1 && info.channels <= 4;
    if (!within) std::abort();
  } catch (const InputError&) {
  }
  const int orientation = exif_orientation(bytes);
  if (orientation < 1 || orientation > 8) std::abort();
  return 0;
}
