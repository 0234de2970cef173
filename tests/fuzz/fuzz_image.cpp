// Images from anywhere: decoding ends with an image of the probed size or with an InputError.
// Good seeds: the files of tests/golden/images/.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "base/error.h"
#include "base/to_size.h"
#include "image/deflate.h"
#include "image/image.h"
#include "image/png.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

constexpr macadam::ImageLimits kLimits{1 << 20, 4096};

void check(const macadam::Image& image, const macadam::ImageInfo& info, int channels) {
  const bool as_probed = image.height == info.height && image.width == info.width &&
                         image.channels == channels && image.height <= kLimits.max_side &&
                         image.width <= kLimits.max_side;
  const auto values = macadam::to_size(image.height) * image.width * channels;
  if (!as_probed || image.pixels.size() != values) std::abort();
}

uint32_t big_endian(const uint8_t* p) {
  return uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | p[3];
}

/// Corrects the checksums of a PNG's chunks, as far as its lengths lead.
void repair_checksums(std::span<uint8_t> bytes) {
  if (!macadam::is_png(bytes)) return;
  for (size_t begin = 8; bytes.size() - begin >= 12;) {
    const size_t length = big_endian(&bytes[begin]);
    if (bytes.size() - begin - 12 < length) return;
    const uint32_t crc = macadam::crc32(bytes.subspan(begin + 4, 4 + length));
    for (size_t i = 0; i < 4; ++i) {
      bytes[begin + 8 + length + i] = static_cast<uint8_t>(crc >> (24 - 8 * i));
    }
    begin += 12 + length;
  }
}

}  // namespace

/// Without this, nearly every mutated PNG would fail its checksums and test nothing else.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  const size_t mutated = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 8 != 0) repair_checksums({data, mutated});
  return mutated;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> bytes(data, size);
  try {
    const macadam::ImageInfo info = macadam::probe_image(bytes, "fuzz", kLimits);
    check(macadam::decode_rgb(bytes, "fuzz", kLimits), info, 3);
    const macadam::DecodeOptions half{(info.height + 1) / 2, (info.width + 1) / 2};
    const macadam::Image reduced = macadam::decode_rgb(bytes, "fuzz", kLimits, half);
    if (reduced.height < half.min_height || reduced.width < half.min_width) std::abort();
    if (info.palette) {
      check(macadam::decode_label_indices(bytes, "fuzz", kLimits), info, 1);
    } else {
      check(macadam::decode_labels(bytes, "fuzz", kLimits), info, 1);
    }
  } catch (const macadam::InputError&) {
  }
  return 0;
}
