#include "loader/class_counts.h"

#include <algorithm>
#include <exception>
#include <numeric>

#include "base/cores.h"
#include "base/to_size.h"
#include "loader/mask.h"
#include "loader/pack.h"

namespace macadam {

namespace {

/// Masks between two calls of `progress`.
constexpr size_t kMasksAtOnce = 64;

IdCounts count_ids(const Sample& sample, const MaskCoding& masks, const LabelSet& labels) {
  const Image mask =
      sample.pack ? sample.pack->labels(*sample.record) : read_mask(sample.mask, masks);
  if (const auto unknown = find_unknown_id(mask, labels)) {
    throw_unknown_id(*unknown, sample.mask, labels);
  }
  IdCounts ids{};
  for (const uint8_t id : mask.pixels) ++ids[id];
  return ids;
}

}  // namespace

void add_image(const IdCounts& ids, const LabelSet& labels, std::vector<ClassFrequency>& classes) {
  std::vector<uint64_t> pixels(classes.size());
  for (size_t id = 0; id < ids.size(); ++id) {
    const uint8_t label = labels.label_of_id[id];
    if (labels.known_id[id] && label != kIgnore) pixels[label] += ids[id];
  }
  const uint64_t labeled = std::accumulate(pixels.begin(), pixels.end(), uint64_t{0});
  for (size_t c = 0; c < pixels.size(); ++c) {
    if (pixels[c] == 0) continue;
    classes[c].pixels += pixels[c];
    ++classes[c].images;
    classes[c].image_pixels += labeled;
  }
}

std::vector<ClassFrequency> count_classes(const Dataset& dataset, const LabelSet& labels,
                                          int threads,
                                          const std::function<void(int64_t, int64_t)>& progress) {
  const std::vector<Sample>& samples = dataset.samples;
  const int team = threads > 0 ? threads : usable_cores();
  std::vector<ClassFrequency> classes(to_size(labels.classes()));
  for (size_t first = 0; first < samples.size(); first += kMasksAtOnce) {
    const size_t count = std::min(kMasksAtOnce, samples.size() - first);
    std::vector<IdCounts> found(count);
    std::vector<std::exception_ptr> failures(count);
#pragma omp parallel for schedule(dynamic, 1) num_threads(team)
    for (size_t i = 0; i < count; ++i) {
      try {
        found[i] = count_ids(samples[first + i], dataset.masks, labels);
      } catch (...) {
        failures[i] = std::current_exception();
      }
    }
    for (size_t i = 0; i < count; ++i) {
      if (failures[i]) std::rethrow_exception(failures[i]);
      add_image(found[i], labels, classes);
    }
    if (progress) {
      progress(static_cast<int64_t>(first + count), static_cast<int64_t>(samples.size()));
    }
  }
  return classes;
}

}  // namespace macadam
