#include "loader/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <set>
#include <utility>

#include "base/cores.h"
#include "base/error.h"
#include "base/to_size.h"
#include "image/image.h"
#include "loader/class_counts.h"
#include "loader/class_presence.h"
#include "loader/pack.h"

namespace macadam {

namespace {

using Severity = CheckIssue::Severity;

/// What one sample contributes to the report.
struct SampleFacts {
  bool readable = false;
  int height = 0, width = 0;
  uint64_t content = 0;  // hash of the decoded photo
  IdCounts ids{};
  std::array<uint64_t, 3> sum{}, sum_of_squares{};
  std::vector<CheckIssue> issues;
};

/// A 64-bit hash of size and pixels, so that a copy in another format is still the same content.
uint64_t hash_of(const Image& image) {
  constexpr uint64_t kPrime = 0x9E3779B97F4A7C15u;
  uint64_t hash = static_cast<uint64_t>(image.height) << 32 | static_cast<uint32_t>(image.width);
  const uint8_t* p = image.pixels.data();
  for (size_t left = image.pixels.size(); left > 0;) {
    const size_t count = std::min<size_t>(left, 8);
    uint64_t word = 0;
    std::memcpy(&word, p, count);
    hash = (hash ^ word) * kPrime;
    hash ^= hash >> 32;
    p += count;
    left -= count;
  }
  return hash;
}

void add_photo(const Image& photo, SampleFacts& facts) {
  facts.content = hash_of(photo);
  for (size_t p = 0; p < photo.pixels.size(); p += 3) {
    for (size_t c = 0; c < 3; ++c) {
      const uint64_t value = photo.pixels[p + c];
      facts.sum[c] += value;
      facts.sum_of_squares[c] += value * value;
    }
  }
}

/// `masks`: null where photos are alone.
SampleFacts inspect(const Sample& sample, const MaskCoding* masks, const LabelSet& labels,
                    bool strict) {
  SampleFacts facts;
  std::string fault;
  try {
    const Image photo = sample.pack
                            ? sample.pack->photo(*sample.record)
                            : read_rgb(sample.image, {}, {.fault = strict ? nullptr : &fault});
    if (!fault.empty()) facts.issues.push_back({Severity::warning, fault, sample.id});
    facts.height = photo.height;
    facts.width = photo.width;
    add_photo(photo, facts);
    facts.readable = !masks;
    if (!masks) return facts;
    const Image mask =
        sample.pack ? sample.pack->labels(*sample.record) : read_mask(sample.mask, *masks);
    if (mask.height != photo.height || mask.width != photo.width) {
      facts.issues.push_back({Severity::error,
                              fmt::format("mask has {} x {} pixels, its photo {} x {}", mask.width,
                                          mask.height, photo.width, photo.height),
                              fmt::format("{}, {}", sample.mask.string(), sample.image.string())});
      return facts;
    }
    if (const auto unknown = find_unknown_id(mask, labels)) {
      facts.issues.push_back({Severity::error,
                              fmt::format("label id {} at x={}, y={} is not in the label set {}{}",
                                          unknown->id, unknown->x, unknown->y, labels.name,
                                          looks_like_train_ids(*unknown, labels)
                                              ? " (0 to 18 and 255 are Cityscapes' train ids)"
                                              : ""),
                              sample.mask.string()});
    }
    for (const uint8_t id : mask.pixels) ++facts.ids[id];
    facts.readable = true;
  } catch (const InputError& error) {
    facts.issues.push_back({Severity::error, error.what(), sample.id});
  }
  return facts;
}

/// Sums over the samples of a split; R, G, B.
struct ColorSums {
  std::array<double, 3> sum{}, sum_of_squares{};
  double pixels = 0;
};

void add_sample(const SampleFacts& facts, const LabelSet& labels, SplitReport& report,
                ColorSums& colors) {
  if (!facts.readable) return;
  const bool first = report.samples++ == 0;
  report.min_height = first ? facts.height : std::min(report.min_height, facts.height);
  report.min_width = first ? facts.width : std::min(report.min_width, facts.width);
  report.max_height = std::max(report.max_height, facts.height);
  report.max_width = std::max(report.max_width, facts.width);
  for (size_t id = 0; id < facts.ids.size(); ++id) {
    if (!labels.known_id[id]) {
      report.unknown_pixels += facts.ids[id];
    } else if (labels.label_of_id[id] == kIgnore) {
      report.ignored_pixels += facts.ids[id];
    }
  }
  add_image(facts.ids, labels, report.classes);
  for (size_t c = 0; c < 3; ++c) {
    colors.sum[c] += static_cast<double>(facts.sum[c]);
    colors.sum_of_squares[c] += static_cast<double>(facts.sum_of_squares[c]);
  }
  colors.pixels += static_cast<double>(facts.height) * facts.width;
}

void finish_colors(const ColorSums& colors, SplitReport& report) {
  if (colors.pixels == 0) return;
  for (size_t c = 0; c < 3; ++c) {
    const double mean = colors.sum[c] / colors.pixels;
    const double variance = colors.sum_of_squares[c] / colors.pixels - mean * mean;
    report.mean[c] = mean / 255;
    report.std[c] = std::sqrt(std::max(variance, 0.0)) / 255;
  }
}

/// A sample of the whole data set: its split's position, itself, and how its mask is read (null: it
/// has none).
struct Entry {
  size_t split;
  const Sample* sample;
  const MaskCoding* masks;
};

void find_same_contents(const std::vector<Entry>& entries, const std::vector<SampleFacts>& facts,
                        const std::vector<SplitScan>& scans, std::vector<CheckIssue>& issues) {
  std::map<uint64_t, size_t> first_with;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!facts[i].readable) continue;
    const auto [known, is_new] = first_with.emplace(facts[i].content, i);
    if (is_new) continue;
    const Entry &a = entries[known->second], &b = entries[i];
    const std::string& a_split = scans[a.split].dataset.split;
    const std::string& b_split = scans[b.split].dataset.split;
    const bool leak = a.split != b.split;
    issues.push_back({leak ? Severity::error : Severity::warning,
                      leak ? fmt::format("one photo is in the splits {} and {}", a_split, b_split)
                           : fmt::format("one photo is twice in the split {}", a_split),
                      fmt::format("{}, {}", a.sample->image.string(), b.sample->image.string())});
  }
}

void find_shared_sequences(const std::vector<SplitReport>& splits,
                           std::vector<CheckIssue>& issues) {
  for (size_t a = 0; a < splits.size(); ++a) {
    for (size_t b = a + 1; b < splits.size(); ++b) {
      std::vector<std::string> shared;
      std::set_intersection(splits[a].sequences.begin(), splits[a].sequences.end(),
                            splits[b].sequences.begin(), splits[b].sequences.end(),
                            std::back_inserter(shared));
      for (const std::string& sequence : shared) {
        issues.push_back({Severity::warning,
                          fmt::format("sequence {} is in the splits {} and {}: neighbouring "
                                      "frames look alike, scores will be optimistic",
                                      sequence, splits[a].split, splits[b].split),
                          ""});
      }
    }
  }
}

/// The file ids (of a pack, labels) that occur in a split.
using Ids = std::array<bool, 256>;

void add_ids(const SampleFacts& facts, Ids& ids) {
  for (size_t id = 0; id < ids.size(); ++id) ids[id] = ids[id] || facts.ids[id] > 0;
}

void find_absent_classes(const CheckReport& whole, const SplitReport& report, const Ids& ids,
                         const Dataset& dataset, std::vector<CheckIssue>& issues) {
  if (report.samples == 0 || !report.labeled) return;
  const LabelSet& labels = whole.labels;
  if (const auto lack = find_lack_of_classes(report.split, ids, labels, is_pack(dataset.root))) {
    const bool dummies = whole.layout == Layout::cityscapes && report.split == "test";
    issues.push_back({dummies ? Severity::warning : Severity::error,
                      fmt::format("{} ({})", lack->what,
                                  dummies ? "the dummies of Cityscapes: nothing is scored on them"
                                          : lack->remedy),
                      dataset.root.string()});
    return;
  }
  for (size_t c = 0; c < report.classes.size(); ++c) {
    if (report.classes[c].pixels > 0) continue;
    issues.push_back(
        {Severity::warning,
         fmt::format("class {} has no pixel in the split {}", labels.class_names[c], report.split),
         ""});
  }
}

void add_pairing_issues(const SplitScan& scan, std::vector<CheckIssue>& issues) {
  for (const UnusableEntry& entry : scan.unusable) {
    issues.push_back({Severity::error, entry.what, entry.path.string()});
  }
  if (is_unlabeled(scan)) {
    issues.push_back({Severity::warning,
                      fmt::format("split {} has no masks: its {} photos are not scored",
                                  scan.dataset.split, scan.without_mask.size()),
                      scan.dataset.root.string()});
    return;
  }
  for (const Sample& sample : scan.without_mask) {
    issues.push_back({Severity::error, name_missing_mask(sample), sample.image.string()});
  }
  for (const auto& mask : scan.without_photo) {
    issues.push_back({Severity::warning, "mask without a photo", mask.string()});
  }
  if (scan.dataset.samples.empty()) {
    issues.push_back({Severity::error, fmt::format("split {} is empty", scan.dataset.split),
                      scan.dataset.root.string()});
  }
}

/// What is looked at in a split: its pairs, or its photos where it has nothing else.
const std::vector<Sample>& samples_of(const SplitScan& scan) {
  return is_unlabeled(scan) ? scan.without_mask : scan.dataset.samples;
}

/// The report of a split in which nothing was counted yet.
SplitReport begin_report(const SplitScan& scan, const LabelSet& labels) {
  SplitReport report;
  report.split = scan.dataset.split;
  report.labeled = !is_unlabeled(scan);
  report.classes.resize(labels.class_names.size());
  std::set<std::string> sequences;
  for (const Sample& sample : samples_of(scan)) {
    if (!sample.sequence.empty()) sequences.insert(sample.sequence);
  }
  report.sequences.assign(sequences.begin(), sequences.end());
  return report;
}

/// The class counts of a pack's index are those of its labels.
void compare_counts(const Pack& pack, const std::vector<SplitReport>& reports,
                    std::vector<CheckIssue>& issues) {
  const std::vector<PackSplit>& splits = pack.index().splits;
  for (size_t s = 0; s < splits.size(); ++s) {
    const bool whole = reports[s].samples == static_cast<int64_t>(splits[s].records.size());
    const bool same =
        std::equal(reports[s].classes.begin(), reports[s].classes.end(),
                   splits[s].class_pixels.begin(), splits[s].class_pixels.end(),
                   [](const ClassFrequency& c, uint64_t pixels) { return c.pixels == pixels; });
    if (!whole || (same && reports[s].ignored_pixels == splits[s].ignored_pixels)) continue;
    issues.push_back(
        {Severity::error,
         fmt::format("the pack's class counts of the split {} are wrong", splits[s].name),
         pack.path().string()});
  }
}

std::vector<SampleFacts> inspect_all(const std::vector<Entry>& entries, const LabelSet& labels,
                                     int threads, bool strict, const Progress& progress) {
  std::vector<SampleFacts> facts(entries.size());
  const auto count = static_cast<int64_t>(entries.size());
  const int team = threads > 0 ? threads : usable_cores();
  int64_t done = 0;
  std::mutex mutex;
  std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic) num_threads(team)
  for (int64_t i = 0; i < count; ++i) {
    try {
      const Entry& entry = entries[to_size(i)];
      facts[to_size(i)] = inspect(*entry.sample, entry.masks, labels, strict);
      const std::lock_guard lock(mutex);
      ++done;
      if (progress) progress(done, count);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
  return facts;
}

}  // namespace

uint64_t SplitReport::labeled_pixels() const {
  return std::accumulate(classes.begin(), classes.end(), uint64_t{0},
                         [](uint64_t sum, const ClassFrequency& c) { return sum + c.pixels; });
}

double SplitReport::share(int label) const {
  const uint64_t all = labeled_pixels();
  if (all == 0) return 0;
  return static_cast<double>(classes[to_size(label)].pixels) / static_cast<double>(all);
}

int64_t CheckReport::errors() const {
  return std::count_if(issues.begin(), issues.end(),
                       [](const CheckIssue& issue) { return issue.severity == Severity::error; });
}

int64_t CheckReport::warnings() const { return static_cast<int64_t>(issues.size()) - errors(); }

CheckReport check_dataset(const std::filesystem::path& root, const LabelSet& wanted, int threads,
                          const Progress& progress, bool strict) {
  std::vector<SplitScan> scans;
  for (const std::string& split : list_splits(root)) scans.push_back(scan_split(root, split));
  if (scans.empty()) {
    throw InputError("data set has no split", root.string(), "it needs folders train, val, test");
  }
  return check_splits(scans, root, wanted, threads, progress, strict);
}

CheckReport check_splits(const std::vector<SplitScan>& scans, const std::filesystem::path& root,
                         const LabelSet& wanted, int threads, const Progress& progress,
                         bool strict) {
  require(!scans.empty(), "splits to be checked");
  CheckReport report;
  const std::unique_ptr<const Pack> pack =
      is_pack(root) ? std::make_unique<const Pack>(root) : nullptr;
  if (pack) pack->check_label_set(wanted.name, wanted.void_is_class, wanted.class_names);
  const LabelSet& labels = pack ? pack->index().label_set : wanted;  // they map other ids
  report.labels = labels;
  report.name = scans.front().dataset.name;
  report.layout = scans.front().dataset.layout;

  std::vector<Entry> entries;
  for (size_t s = 0; s < scans.size(); ++s) {
    const MaskCoding* masks = is_unlabeled(scans[s]) ? nullptr : &scans[s].dataset.masks;
    for (const Sample& sample : samples_of(scans[s])) entries.push_back({s, &sample, masks});
  }
  const std::vector<SampleFacts> facts = inspect_all(entries, labels, threads, strict, progress);

  std::vector<ColorSums> colors(scans.size());
  std::vector<Ids> ids(scans.size());
  for (const SplitScan& scan : scans) {
    report.splits.push_back(begin_report(scan, labels));
    add_pairing_issues(scan, report.issues);
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    const size_t s = entries[i].split;
    add_sample(facts[i], labels, report.splits[s], colors[s]);
    add_ids(facts[i], ids[s]);
    report.issues.insert(report.issues.end(), facts[i].issues.begin(), facts[i].issues.end());
  }
  for (size_t s = 0; s < scans.size(); ++s) {
    finish_colors(colors[s], report.splits[s]);
    find_absent_classes(report, report.splits[s], ids[s], scans[s].dataset, report.issues);
  }
  if (pack) compare_counts(*pack, report.splits, report.issues);
  find_same_contents(entries, facts, scans, report.issues);
  find_shared_sequences(report.splits, report.issues);
  std::stable_sort(
      report.issues.begin(), report.issues.end(),
      [](const CheckIssue& a, const CheckIssue& b) { return a.severity < b.severity; });
  return report;
}

}  // namespace macadam
