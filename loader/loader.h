#pragma once
// Feeds training and evaluation: a team of threads decodes, resizes and labels samples ahead of
// the consumer into a ring of slots in pinned memory.

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/to_size.h"
#include "engine/input/batch_source.h"
#include "engine/input/device_cache.h"
#include "kernels/device.h"
#include "loader/augment/augmentation.h"
#include "loader/dataset.h"
#include "loader/label_set.h"
#include "loader/ring.h"
#include "loader/sample_cache.h"

namespace macadam {

struct LoaderOptions {
  int height = 0, width = 0;  // that the network sees
  int batch = 1;
  int threads = 0;  // 0 = all cores
  int slots = 3;    // batches in memory, with the one in use
  uint64_t seed = 1;
  bool shuffle = false;
  std::shared_ptr<const Augmentation> augmentation;  // for this height and width; none if null
  bool drop_last = false;                            // leave out a last batch that is not full
  int rank = 0, ranks = 1;  // which share of every epoch (rank_share, loader/sampling.h)
  size_t cache_bytes = 0;   // decoded samples that may stay in memory, as many as fit
  const DeviceCache* device_cache = nullptr;  // of this split's samples; they are not loaded again
  bool reduced_decoding = true;  // JPEGs as small as the network's size allows (DecodeOptions)
  Device device;                 // that batches are copied to
  /// Where set, JPEGs with faults that cost no pixel are taken, and it is told of each file once,
  /// by one thread at a time; else they are errors (DecodeOptions::fault).
  std::function<void(const std::string&)> on_fault;
};

/// Batches of a split, in an order and with an augmentation that depend on nothing but the options'
/// seed and the epoch: the same bytes for any number of threads, and after starting at any batch.
class Loader final : public BatchSource {
 public:
  /// Allocates the ring. Throws InputError when the split has no samples, or with drop_last fewer
  /// than a batch a rank. Requires positive sizes, batch and slots, 0 <= rank <
  /// ranks, and no device cache beside an augmentation that draws windows or needs statistics.
  Loader(Dataset dataset, LabelSet labels, const LoaderOptions& options);
  ~Loader() override;
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  int64_t batches() const override { return batches_; }
  const Dataset& dataset() const { return dataset_; }
  const LabelSet& labels() const { return labels_; }
  const LoaderOptions& options() const { return options_; }

  /// Requires first <= batches(). Calling it before the consumer is ready hides the time of the
  /// first batch.
  void start(int64_t epoch, int64_t first) override;
  void start(int64_t epoch) { start(epoch, 0); }

  /// Throws the InputError or RunError of a sample that cannot be loaded, in its batch's turn:
  /// unreadable file, mask of another size than the photo, id that the label set does not know.
  const Batch& next() override;

  SourceStats stats() const override;
  /// Samples since start() that were copied from the cache, or left to the device's.
  int64_t cache_hits() const;
  std::string sample_name(int sample) const override;

 private:
  void stop();
  void give_back();
  void produce();
  void load(const Ring::Ticket& ticket);
  /// Brings a sample to its place in a slot. Returns whether it was in the cache.
  bool fill(int index, std::span<uint8_t> image, std::span<uint8_t> labels);
  bool fill_from_window(int index, std::span<uint8_t> image, std::span<uint8_t> labels);
  void tell(int index, const std::string& fault);
  void augment(Slot& slot, size_t position, int index);
  void pad(Slot& slot) const;
  const Sample& sample(int index) const { return dataset_.samples[to_size(index)]; }

  Dataset dataset_;
  LabelSet labels_;
  LoaderOptions options_;
  int team_ = 1;
  size_t pixels_ = 0;      // of one sample
  bool programs_ = false;  // there is something to augment
  int64_t used_samples_ = 0, batches_ = 0;
  std::optional<Ring> ring_;
  Slot* taken_ = nullptr;  // of the batch that next() gave last
  SampleCache cache_;
  std::mutex told_mutex_;
  std::set<int> told_;  // samples whose fault was told

  int64_t epoch_ = 0;
  std::vector<int> order_;
  std::thread producer_;
  mutable std::mutex stats_mutex_;
  SourceStats stats_;
  int64_t cache_hits_ = 0;
};

}  // namespace macadam
