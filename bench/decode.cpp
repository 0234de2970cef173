// Decoding a driving scene of 2048x1024 in memory, PNG and JPEG, beside stb_image and libpng; and
// encoding what predict writes of it, beside stb_image_write. The scene is a procedural street,
// blurred a little. Every row of the PNG to decode is filtered by Paeth's rule, as 97 to 99 in 100
// rows of Cityscapes' frames are.
//
// Interleave and repeat to compare on a machine that does other things too:
//   bench_decode --benchmark_enable_random_interleaving=true --benchmark_repetitions=9
//                --benchmark_report_aggregates_only=true

#include <benchmark/benchmark.h>
#ifdef MACADAM_HAS_LIBPNG
#include <png.h>
#endif

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#include <stb/stb_image.h>
#include <stb/stb_image_write.h>

#include "base/to_size.h"
#include "image/image.h"
#include "synth/synth.h"

namespace macadam::bench {
namespace {

constexpr int kHeight = 1024, kWidth = 2048;

using File = std::vector<uint8_t>;

void append(void* context, void* data, int size) {
  const auto* first = static_cast<const uint8_t*>(data);
  auto* file = static_cast<File*>(context);
  file->insert(file->end(), first, first + size);
}

/// What a lens does to a scene: along rows, five pixels run into one.
std::vector<uint8_t> photograph(const std::vector<uint8_t>& scene) {
  constexpr int kReach = 2, kChannels = 3;
  std::vector<uint8_t> photo(scene.size());
  const auto last = static_cast<ptrdiff_t>(scene.size()) - 1;
  for (ptrdiff_t i = 0; i <= last; ++i) {
    int sum = 0;
    for (int k = -kReach; k <= kReach; ++k) {
      sum += scene[to_size(std::clamp<ptrdiff_t>(i + k * kChannels, 0, last))];
    }
    photo[to_size(i)] = static_cast<uint8_t>(sum / (2 * kReach + 1));
  }
  return photo;
}

struct Files {
  File png, gray_png, jpeg;
  Image ids, colors, overlay;  // what predict writes
};

Files make_files() {
  const SynthScene scene = render_street(kHeight, kWidth, 1, 1);
  const std::vector<uint8_t> photo = photograph(scene.rgb);
  Files files;
  stbi_write_force_png_filter = 4;
  stbi_write_png_compression_level = 6;
  stbi_write_png_to_func(append, &files.png, kWidth, kHeight, 3, photo.data(), 3 * kWidth);
  stbi_write_force_png_filter = 0;
  stbi_write_png_to_func(append, &files.gray_png, kWidth, kHeight, 1, scene.labels.data(), kWidth);
  stbi_write_jpg_to_func(append, &files.jpeg, kWidth, kHeight, 3, photo.data(), 90);
  stbi_write_force_png_filter = -1;
  stbi_write_png_compression_level = 8;  // as it comes
  files.ids = Image(kHeight, kWidth, 1);
  files.ids.pixels = scene.labels;
  files.colors = files.overlay = Image(kHeight, kWidth, 3);
  for (size_t i = 0; i < photo.size(); ++i) {
    const auto color = static_cast<uint8_t>(scene.labels[i / 3] * (29 + 62 * (i % 3)));
    files.colors.pixels[i] = color;
    files.overlay.pixels[i] = static_cast<uint8_t>((photo[i] + color) / 2);
  }
  return files;
}

const Files& files() {
  static const Files made = make_files();
  return made;
}

Image by_stb(const File& file, int channels) {
  int width = 0, height = 0, stored = 0;
  stbi_uc* pixels = stbi_load_from_memory(file.data(), static_cast<int>(file.size()), &width,
                                          &height, &stored, channels);
  if (!pixels) throw std::runtime_error(stbi_failure_reason());
  Image image(height, width, channels);
  std::copy_n(pixels, image.pixels.size(), image.pixels.data());
  stbi_image_free(pixels);
  return image;
}

#ifdef MACADAM_HAS_LIBPNG
Image by_libpng(const File& file, int channels) {
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_memory(&header, file.data(), file.size())) {
    throw std::runtime_error(header.message);
  }
  header.format = channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  Image image(static_cast<int>(header.height), static_cast<int>(header.width), channels);
  if (!png_image_finish_read(&header, nullptr, image.pixels.data(), 0, nullptr)) {
    throw std::runtime_error(header.message);
  }
  return image;
}
#endif

File encoded_by_stb(const Image& image) {
  File file;
  stbi_write_png_to_func(append, &file, image.width, image.height, image.channels,
                         image.pixels.data(), image.width * image.channels);
  return file;
}

void encode(benchmark::State& state, const Image& image, File (*encoder)(const Image&)) {
  File file;
  for (auto _ : state) benchmark::DoNotOptimize((file = encoder(image)).data());
  state.counters["file_MB"] = static_cast<double>(file.size()) / 1e6;
  state.counters["Mpixels/s"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * kHeight * kWidth / 1e6,
                         benchmark::Counter::kIsRate);
}

void decode(benchmark::State& state, const File& file, const std::function<Image()>& decoder) {
  for (auto _ : state) benchmark::DoNotOptimize(decoder().pixels.data());
  state.counters["file_MB"] = static_cast<double>(file.size()) / 1e6;
  state.counters["Mpixels/s"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * kHeight * kWidth / 1e6,
                         benchmark::Counter::kIsRate);
}

void add(const std::string& name, const File& file, const std::function<Image()>& decoder) {
  benchmark::RegisterBenchmark(name.c_str(), decode, std::cref(file), decoder)
      ->Unit(benchmark::kMillisecond);
}

void add_encoders(const std::string& picture, const Image& image) {
  const auto add_one = [&](const std::string& name, File (*encoder)(const Image&)) {
    benchmark::RegisterBenchmark((picture + name).c_str(), encode, std::cref(image), encoder)
        ->Unit(benchmark::kMillisecond);
  };
  add_one("/macadam", encode_png);
  add_one("/stb", encoded_by_stb);
}

/// Pixels that differ would make a comparison of times void.
void require_same(const Image& ours, const Image& theirs, const std::string& what) {
  if (ours == theirs) return;
  throw std::runtime_error(what + ": the decoders disagree");
}

void add_all() {
  const File &png = files().png, &mask = files().gray_png, &jpeg = files().jpeg;
  const auto rgb = [](const File& file) { return decode_rgb(file, "photo"); };
  const auto labels = [](const File& file) { return decode_labels(file, "mask"); };
  require_same(rgb(png), by_stb(png, 3), "stb_image, PNG");
  require_same(labels(mask), by_stb(mask, 1), "stb_image, mask");
  add("png_rgb/macadam", png, [&, rgb] { return rgb(png); });
  add("png_rgb/stb", png, [&] { return by_stb(png, 3); });
  add("png_mask/macadam", mask, [&, labels] { return labels(mask); });
  add("png_mask/stb", mask, [&] { return by_stb(mask, 1); });
#ifdef MACADAM_HAS_LIBPNG
  require_same(rgb(png), by_libpng(png, 3), "libpng, PNG");
  require_same(labels(mask), by_libpng(mask, 1), "libpng, mask");
  add("png_rgb/libpng", png, [&] { return by_libpng(png, 3); });
  add("png_mask/libpng", mask, [&] { return by_libpng(mask, 1); });
#endif
  add("jpeg/macadam", jpeg, [&, rgb] { return rgb(jpeg); });
  add("jpeg/stb", jpeg, [&] { return by_stb(jpeg, 3); });
  for (const int reduction : {2, 4}) {
    add("jpeg/macadam_reduced_" + std::to_string(reduction), jpeg, [&, reduction] {
      return decode_rgb(jpeg, "photo", {}, {kHeight / reduction, kWidth / reduction});
    });
  }
  require_same(by_stb(encode_png(files().overlay), 3), files().overlay, "stb_image, written PNG");
  add_encoders("write_ids", files().ids);
  add_encoders("write_colors", files().colors);
  add_encoders("write_overlay", files().overlay);
}

}  // namespace
}  // namespace macadam::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  macadam::bench::add_all();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
