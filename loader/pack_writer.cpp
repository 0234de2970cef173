#include "loader/pack_writer.h"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <exception>
#include <span>
#include <utility>

#include "base/cores.h"
#include "base/error.h"
#include "base/files.h"
#include "base/round_up.h"
#include "base/to_size.h"
#include "image/deflate.h"
#include "image/image.h"
#include "image/jpeg_writer.h"
#include "loader/loader.h"
#include "loader/pack.h"
#include "loader/run_length.h"

namespace macadam {

namespace {

namespace fs = std::filesystem;

/// A sample as it goes into the file.
struct PackedSample {
  PackRecord record;
  std::vector<uint8_t> photo, labels;
  std::array<uint64_t, 256> pixels_of_label{};
  std::string fault;  // of its photo; empty if none
};

/// As a name that is the same wherever the data set lies.
std::string source_name(const fs::path& file, const fs::path& root) {
  const fs::path relative = file.lexically_relative(root);
  return (relative.empty() ? file : relative).generic_string();
}

std::pair<int, int> own_size(const Sample& sample) {
  if (sample.pack) {
    const PackRecord& record = *sample.record;
    return {static_cast<int>(record.height), static_cast<int>(record.width)};
  }
  const ImageInfo info = probe_image(sample.image);
  return {info.height, info.width};
}

PackedSample pack_sample(const Sample& sample, const Dataset& dataset, const LabelSet& labels,
                         const PackOptions& options) {
  const bool reduced = options.height > 0;
  const auto [height, width] =
      reduced ? std::pair(options.height, options.width) : own_size(sample);
  const size_t pixels = to_size(height) * to_size(width);
  Image photo(height, width, 3);
  PackedSample packed;
  packed.labels.resize(pixels);
  load_sample(sample, dataset.masks, labels, height, width, reduced, photo.pixels, packed.labels,
              options.strict ? nullptr : &packed.fault);
  packed.photo =
      options.jpeg_quality > 0 ? encode_jpeg(photo, options.jpeg_quality) : std::move(photo.pixels);
  for (const uint8_t label : packed.labels) ++packed.pixels_of_label[label];
  if (options.labels == LabelCoding::runs) packed.labels = encode_runs(packed.labels);

  PackRecord& record = packed.record;
  record.id = sample.id;
  record.sequence = sample.sequence;
  record.image = source_name(sample.image, dataset.root);
  record.mask = source_name(sample.mask, dataset.root);
  record.height = static_cast<uint32_t>(height);
  record.width = static_cast<uint32_t>(width);
  record.photo_size = packed.photo.size();
  record.labels_size = packed.labels.size();
  record.photo_checksum = crc32(packed.photo);
  record.labels_checksum = crc32(packed.labels);
  return packed;
}

uint64_t aligned(uint64_t offset) { return round_up(offset, kPackAlignment); }

/// The file as it grows.
class PackFile {
 public:
  PackFile(const fs::path& path, PackIndex index) : file_(path), index_(std::move(index)) {}

  void add(const PackedSample& sample, PackSplit& split) {
    end_ = aligned(end_);
    split.records.push_back(sample.record);
    split.records.back().offset = end_;
    for (const auto* part : {&sample.photo, &sample.labels}) append(*part);
    for (size_t c = 0; c < split.class_pixels.size(); ++c) {
      split.class_pixels[c] += sample.pixels_of_label[c];
    }
    split.ignored_pixels += sample.pixels_of_label[kIgnore];
  }

  /// Returns the size of the file.
  uint64_t finish() {
    const std::vector<uint8_t> bytes = encode_pack_index(index_);
    end_ = aligned(end_);
    const std::vector<uint8_t> header = encode_pack_header(bytes, end_);
    append(bytes);
    file_.write_at(0, std::as_bytes(std::span(header)));
    file_.commit();
    return end_;
  }

  PackIndex& index() { return index_; }

 private:
  void append(const std::vector<uint8_t>& bytes) {
    file_.write_at(end_, std::as_bytes(std::span(bytes)));
    end_ += bytes.size();
  }

  AtomicFile file_;
  PackIndex index_;
  uint64_t end_ = kPackHeaderSize;
};

/// A sample of the whole data set, and the position of its split.
struct Entry {
  size_t split;
  const Sample* sample;
};

}  // namespace

PackSummary write_pack(const fs::path& root, const LabelSet& labels, const fs::path& out,
                       const PackOptions& options,
                       const std::function<void(int64_t, int64_t)>& progress) {
  std::vector<Dataset> datasets;
  PackSummary summary;
  for (const std::string& split : list_splits(root)) {
    const SplitScan scan = scan_split(root, split);
    if (is_unlabeled(scan)) {
      summary.skipped.push_back(
          fmt::format("split {}, whose {} photos have no masks", split, scan.without_mask.size()));
    } else {
      datasets.push_back(open_dataset(root, split));
    }
  }
  if (datasets.empty()) {
    throw InputError("data set has no split with masks", root.string(),
                     "it needs folders train, val, test");
  }
  PackIndex index;
  index.name = datasets.front().name;
  index.layout = datasets.front().layout;
  index.photos = options.jpeg_quality > 0 ? PhotoCoding::jpeg : PhotoCoding::raw;
  index.labels = options.labels;
  index.label_set = labels;
  std::vector<Entry> entries;
  for (size_t s = 0; s < datasets.size(); ++s) {
    index.splits.push_back({datasets[s].split, {}, {}, 0});
    index.splits.back().class_pixels.resize(labels.class_names.size());
    for (const Sample& sample : datasets[s].samples) entries.push_back({s, &sample});
  }

  PackFile file(out, std::move(index));
  const auto count = static_cast<int64_t>(entries.size());
  const int team = options.threads > 0 ? options.threads : usable_cores();
  std::exception_ptr failure;  // of the ordered part alone
  std::atomic<bool> failed{false};
  // Samples are made in any order and written in theirs; each thread holds one.
#pragma omp parallel for ordered schedule(dynamic, 1) num_threads(team)
  for (int64_t i = 0; i < count; ++i) {
    const Entry& entry = entries[to_size(i)];
    PackedSample packed;
    std::exception_ptr error;
    if (!failed) {
      try {
        packed = pack_sample(*entry.sample, datasets[entry.split], labels, options);
      } catch (...) {
        error = std::current_exception();
      }
    }
#pragma omp ordered
    if (!failed) {
      try {
        try {
          if (error) std::rethrow_exception(error);
          file.add(packed, file.index().splits[entry.split]);
          ++summary.samples;
          if (!packed.fault.empty()) summary.faults.push_back(std::move(packed.fault));
        } catch (const InputError& damage) {
          if (!options.skip_damaged) throw;
          summary.skipped.emplace_back(damage.what());
        }
        if (progress) progress(i + 1, count);
      } catch (...) {
        failure = std::current_exception();
        failed = true;
      }
    }
  }
  if (failure) std::rethrow_exception(failure);
  summary.bytes = file.finish();
  return summary;
}

}  // namespace macadam
