#include "run/contact_sheet.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/folder.h"
#include "base/rgb.h"
#include "base/to_size.h"
#include "report/picture.h"
#include "report/sheet.h"
#include "run/batch_viewer.h"

namespace macadam {

namespace {

constexpr int kEpochs = 3, kTileWidth = 512;

std::vector<ClassScore> legend_of(const LabelSet& labels) {
  std::vector<ClassScore> classes;
  for (size_t c = 0; c < labels.class_names.size(); ++c) {
    classes.push_back({labels.class_names[c], labels.palette[c], 0, 0, 0});
  }
  return classes;
}

}  // namespace

void write_contact_sheets(const Dataset& dataset, const LabelSet& labels,
                          const LoaderOptions& options, int count,
                          const std::filesystem::path& folder, Observer& observer) {
  LoaderOptions one = options;
  one.batch = one.slots = one.threads = 1;
  one.shuffle = one.drop_last = false;
  one.cache_bytes = 0;
  one.device = Device{};
  Loader augmented(dataset, labels, one);
  one.augmentation.reset();
  Loader plain(dataset, labels, one);
  BatchViewer viewer(options.height, options.width);
  const std::vector<ClassScore> classes = legend_of(labels);
  const std::vector<Rgb> palette = palette_of(classes);

  std::filesystem::create_directories(folder);
  mark_predictions(folder);
  const auto all = static_cast<int64_t>(dataset.samples.size());
  const int64_t sheets = std::min<int64_t>(count, all);
  for (int64_t i = 0; i < sheets; ++i) {
    const int64_t index = i * all / sheets;
    std::vector<std::vector<TitledPicture>> rows(2);
    std::vector<Image> masks;
    for (int64_t epoch = -1; epoch < kEpochs; ++epoch) {
      Loader& loader = epoch < 0 ? plain : augmented;
      loader.start(std::max<int64_t>(epoch, 0), index);
      const DecodedSample seen = viewer.view(loader.next());
      const std::string title = epoch < 0 ? "photo" : fmt::format("epoch {}", epoch + 1);
      const Image photo = reduce(seen.photo, kTileWidth);
      masks.push_back(reduce(seen.labels, kTileWidth));
      rows[0].push_back({title, photo});
      rows[1].push_back({title + ", labels", overlay(photo, masks.back(), palette)});
    }
    const Sample& sample = dataset.samples[to_size(index)];
    const std::filesystem::path file = folder / (sample.id + ".png");
    std::filesystem::create_directories(file.parent_path());
    write_png(file, picture_sheet(rows, masks, classes));
    observer.on_progress("contact sheets", i + 1, sheets);
  }
}

}  // namespace macadam
