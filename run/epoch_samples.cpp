#include "run/epoch_samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/files.h"
#include "base/folder.h"
#include "base/to_size.h"
#include "image/image.h"
#include "report/picture.h"

namespace macadam {

namespace fs = std::filesystem;

namespace {

/// The folder of a sample, which no other one of the epoch has; names of samples may hold folders.
fs::path folder_of(const fs::path& epochs, std::string id, int number,
                   const std::set<fs::path>& taken) {
  std::ranges::replace(id, '/', '_');
  fs::path folder = epochs / id;
  if (!name_fits(folder) || taken.contains(folder)) {
    folder = epochs / fmt::format("sample_{}", number);
  }
  while (taken.contains(folder)) folder += "_";
  return folder;
}

Image image_of(const EvaluatedSample& sample, int channels, const std::vector<uint8_t>& bytes) {
  Image image(sample.height, sample.width, channels);
  std::ranges::copy(bytes, image.pixels.begin());
  return image;
}

void write_indices(const fs::path& file, const Image& image, std::span<const Rgb> palette) {
  const std::vector<uint8_t> png = encode_png(image, palette);
  write_file_atomically(file, {reinterpret_cast<const char*>(png.data()), png.size()});
}

}  // namespace

void write_epoch_samples(const fs::path& folder, const Dataset& dataset, const LabelSet& labels,
                         int64_t epoch, const Evaluation& evaluation) {
  const fs::path epochs = folder / "samples" / "epochs";
  std::vector<Rgb> palette = labels.palette;
  palette.resize(256, kIgnoredColor);
  std::set<fs::path> taken;  // the same every time: the samples are
  for (const EvaluatedSample& sample : evaluation.samples) {
    const fs::path place =
        folder_of(epochs, dataset.samples[to_size(sample.sample)].id, sample.sample, taken);
    taken.insert(place);
    if (!fs::exists(place / "truth.png")) {
      std::error_code error;
      fs::create_directories(place, error);  // what is wrong shows when a file is written
      mark_predictions(folder / "samples");
      write_png(place / "photo.png", image_of(sample, 3, sample.rgb));
      write_indices(place / "truth.png", image_of(sample, 1, sample.labels), palette);
    }
    write_indices(place / fmt::format("{:04}.png", epoch), image_of(sample, 1, sample.classes),
                  palette);
  }
}

}  // namespace macadam
