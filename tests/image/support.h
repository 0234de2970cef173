#pragma once
// What tests of images and data sets share: made-up images, and PNGs of any colour type.

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "image/image.h"
#include "tests/base/temporary_folder.h"

namespace macadam::testing {

/// Pseudo-random pixels, the same for the same seed.
Image noise(int height, int width, int channels, uint32_t seed);

/// A mask whose ids are pseudo-random in [0, ids).
Image noise_mask(int height, int width, int ids, uint32_t seed);

/// Neighbours that are alike, with jumps, so that each of Paeth's three is taken.
Image wandering(int height, int width, int channels, uint32_t seed);

/// Writes a PNG, making its folders.
void put_png(const std::filesystem::path& path, const Image& image);

void put_bytes(const std::filesystem::path& path, std::span<const uint8_t> bytes);
void put_text(const std::filesystem::path& path, std::string_view text);
std::vector<uint8_t> get_bytes(const std::filesystem::path& path);

/// A PNG with the given header and rows of raw bytes (no filter); with `palette` (RGB triples) if
/// not empty. The header is not checked, so that it may lie.
std::vector<uint8_t> make_png(uint32_t width, uint32_t height, int bits, int color,
                              const std::vector<std::vector<uint8_t>>& rows,
                              const std::vector<uint8_t>& palette = {});

/// What a PNG of the tests consists of. Nothing is checked, so that it may lie.
struct PngParts {
  uint32_t width = 0, height = 0;
  int bits = 8, color = 2, interlace = 0;
  std::vector<uint8_t> raw = {};      // rows with their filter types; less than 64 KiB
  std::vector<uint8_t> palette = {};  // RGB triples
  size_t piece = 65'535;              // the most bytes of pixel data in a chunk
};
std::vector<uint8_t> make_png(const PngParts& parts);

// The types of PNG's filters.
inline constexpr int kNone = 0, kSub = 1, kUp = 2, kAverage = 3, kPaeth = 4;

/// PNG's predictor of Paeth (section 9.4), in the specification's words.
int paeth_predictor(int a, int b, int c);

/// Filters rows as an encoder does: filters[y] for row y, repeated.
std::vector<uint8_t> filter_as_specified(const std::vector<uint8_t>& pixels, size_t rows,
                                         size_t row_bytes, size_t pixel_bytes,
                                         const std::vector<int>& filters);

/// What stb_image makes of a PNG or BMP, as RGB; throws when it fails.
Image decode_by_stb(std::span<const uint8_t> bytes);

/// The PNG that stb_image_write makes.
std::vector<uint8_t> make_png_by_stb(const Image& image);

/// A JPEG and a BMP of an RGB image.
std::vector<uint8_t> make_jpeg(const Image& image, int quality);
std::vector<uint8_t> make_bmp(const Image& image);

/// Runs `action`, which must throw an InputError, and checks that its message is one line with all
/// of `parts`.
void expect_input_error(const std::function<void()>& action, const std::vector<std::string>& parts);

/// CamVid-like folders: `count` samples in `split`, ids below `ids`.
void put_camvid(const std::filesystem::path& root, const std::string& split, int count, int height,
                int width, int ids = 12, uint32_t seed = 1);

}  // namespace macadam::testing
