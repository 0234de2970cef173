// EXIF segments from anywhere, in front of nothing and within a JPEG: an orientation from 1 to 8
// comes out. Good seeds: the photos in tests/golden/images/.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "image/exif.h"

namespace {

void check(std::span<const uint8_t> jpeg) {
  const int orientation = macadam::exif_orientation(jpeg);
  if (orientation < 1 || orientation > 8) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  check({data, size});
  // The bytes as the TIFF block of a segment that is as long as it says.
  constexpr size_t kMaxSegment = 60'000;
  const size_t used = size < kMaxSegment ? size : kMaxSegment;
  const size_t length = used + 8;
  std::vector<uint8_t> jpeg{0xFF,
                            0xD8,
                            0xFF,
                            0xE1,
                            static_cast<uint8_t>(length >> 8),
                            static_cast<uint8_t>(length),
                            'E',
                            'x',
                            'i',
                            'f',
                            0,
                            0};
  jpeg.insert(jpeg.end(), data, data + used);
  check(jpeg);
  return 0;
}
