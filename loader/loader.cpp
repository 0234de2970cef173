#include "loader/loader.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <numeric>
#include <string>
#include <utility>

#include "kernels/error.h"
#include "loader/image.h"
#include "loader/pack.h"
#include "loader/resize.h"
#include "loader/sampling.h"

namespace macadam {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::vector<int> file_order(int count) {
  std::vector<int> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

}  // namespace

BatchLease::BatchLease(BatchLease&& other) noexcept
    : ring_(std::move(other.ring_)), slot_(std::exchange(other.slot_, nullptr)) {}

BatchLease& BatchLease::operator=(BatchLease&& other) noexcept {
  if (this != &other) {
    release();
    ring_ = std::move(other.ring_);
    slot_ = std::exchange(other.slot_, nullptr);
  }
  return *this;
}

void BatchLease::release() noexcept {
  if (slot_) ring_->release(std::exchange(slot_, nullptr));
  ring_.reset();
}

Loader::Loader(Dataset dataset, LabelSet labels, const LoaderOptions& options)
    : dataset_(std::move(dataset)), labels_(std::move(labels)), options_(options) {
  require(options.height > 0 && options.width > 0, "height and width are positive");
  require(options.batch > 0 && options.slots > 0, "batch and slots are positive");
  require(options.threads >= 0, "threads is not negative");
  const auto count = static_cast<int64_t>(dataset_.samples.size());
  const std::string where = fmt::format("{}, split \"{}\"", dataset_.root.string(), dataset_.split);
  if (count == 0) throw InputError("no samples", where, "choose another split");
  if (options.drop_last && count < options.batch) {
    throw InputError(fmt::format("{} samples do not fill a batch of {}", count, options.batch),
                     where, "lower batch or add samples");
  }
  steps_ = (options.drop_last ? count : count + options.batch - 1) / options.batch;
  used_samples_ = std::min(count, steps_ * options.batch);
  team_ = options.threads > 0 ? options.threads : omp_get_num_procs();
  pixels_ = static_cast<size_t>(options.height) * static_cast<size_t>(options.width);
  ring_ = std::make_shared<Ring>(options.slots, options.batch, options.height, options.width,
                                 options.device);
  cache_.resize(std::min(dataset_.samples.size(), options.cache_bytes / (4 * pixels_)));
}

Loader::~Loader() { stop(); }

void Loader::stop() {
  ring_->stop();
  if (producer_.joinable()) producer_.join();
}

void Loader::start(int64_t epoch, int64_t first_batch) {
  require(first_batch >= 0 && first_batch <= steps_, "the first batch lies in the epoch");
  stop();
  const auto count = static_cast<int>(dataset_.samples.size());
  epoch_ = epoch;
  order_ = options_.shuffle ? permutation(options_.seed, epoch, count) : file_order(count);
  {
    const std::lock_guard lock(stats_mutex_);
    stats_ = {};
  }
  ring_->open(epoch, first_batch, used_samples_);
  producer_ = std::thread([this] { produce(); });
}

void Loader::produce() {
  // A team of peers that take samples from one counter: no thread waits for another, a batch
  // smaller than the team still keeps all busy, and with a full ring all sleep.
#pragma omp parallel num_threads(team_)
  while (const auto ticket = ring_->take_ticket()) {
    try {
      load(*ticket);
      ring_->finish(*ticket);
    } catch (...) {
      ring_->fail(*ticket, std::current_exception());
    }
  }
  ring_->close();
}

void Loader::load(const Ring::Ticket& ticket) {
  const auto begin = Clock::now();
  Slot& slot = *ticket.slot;
  if (ticket.position == 0) pad(slot);
  const int index = order_[static_cast<size_t>(ticket.sample)];
  const auto position = static_cast<size_t>(ticket.position);
  slot.samples[position] = index;
  slot.flips[position] = draw_flip(options_.seed, epoch_, index, options_.flip_probability) ? 1 : 0;
  const std::span<uint8_t> image(slot.images + position * 3 * pixels_, 3 * pixels_);
  const std::span<uint8_t> labels(slot.labels + position * pixels_, pixels_);

  const Sample& sample = dataset_.samples[static_cast<size_t>(index)];
  // A sample comes once an epoch, so no two threads ever share an entry of the cache.
  std::vector<uint8_t>* cached =
      static_cast<size_t>(index) < cache_.size() ? &cache_[static_cast<size_t>(index)] : nullptr;
  const bool hit = cached && !cached->empty();
  try {
    if (hit) {
      std::copy_n(cached->begin(), image.size(), image.begin());
      std::copy_n(cached->begin() + static_cast<ptrdiff_t>(image.size()), labels.size(),
                  labels.begin());
    } else {
      load_sample(sample, dataset_.masks, labels_, options_.height, options_.width,
                  options_.reduced_decoding, image, labels);
      if (cached) {
        cached->reserve(4 * pixels_);
        cached->assign(image.begin(), image.end());
        cached->insert(cached->end(), labels.begin(), labels.end());
      }
    }
  } catch (const std::bad_alloc&) {
    throw RunError("not enough memory to load a sample", sample.image.string(),
                   "lower the loader's cache, threads or slots");
  }

  const std::lock_guard lock(stats_mutex_);
  stats_.load_seconds += seconds_since(begin);
  ++stats_.samples;
  stats_.cache_hits += hit ? 1 : 0;
}

void Loader::pad(Slot& slot) const {
  const auto valid = static_cast<size_t>(slot.batch.n);
  const size_t missing = static_cast<size_t>(options_.batch) - valid;
  std::fill_n(slot.images + valid * 3 * pixels_, missing * 3 * pixels_, uint8_t{0});
  std::fill_n(slot.labels + valid * pixels_, missing * pixels_, kIgnore);
  std::fill_n(slot.flips + valid, missing, uint8_t{0});
  std::fill_n(slot.samples.begin() + static_cast<ptrdiff_t>(valid), missing, -1);
}

BatchLease Loader::next() {
  const auto begin = Clock::now();
  Slot* slot = ring_->pop();
  const std::lock_guard lock(stats_mutex_);
  stats_.wait_seconds += seconds_since(begin);
  return slot ? BatchLease(ring_, slot) : BatchLease();
}

LoaderStats Loader::stats() const {
  const std::lock_guard lock(stats_mutex_);
  return stats_;
}

void load_sample(const Sample& sample, const MaskCoding& masks, const LabelSet& label_set,
                 int height, int width, bool reduced_decoding, std::span<uint8_t> image,
                 std::span<uint8_t> labels) {
  if (sample.pack) {
    sample.pack->check_label_set(label_set.name, label_set.void_is_class, label_set.class_names);
    sample.pack->load(*sample.record, height, width, reduced_decoding, image, labels);
    return;
  }
  const Image mask = read_mask(sample.mask, masks);
  const ImageFile file(sample.image);
  const std::string name = sample.image.string();
  const ImageInfo info = probe_image(file.bytes(), name);
  if (mask.height != info.height || mask.width != info.width) {
    const bool turned = info.orientation != 1 && mask.height == info.width;
    throw InputError(fmt::format("mask has {} x {} pixels, its photo {} x {}", mask.width,
                                 mask.height, info.width, info.height),
                     fmt::format("{}, {}", sample.mask.string(), name),
                     turned ? "turn the mask: the photo's EXIF orientation is applied"
                            : "give both the same size");
  }
  const DecodeOptions options = reduced_decoding ? DecodeOptions{height, width} : DecodeOptions{};
  const Image photo = decode_rgb(file.bytes(), name, {}, options);
  resize_bilinear(photo, height, width, image);
  if (const auto unknown = resize_to_labels(mask, label_set, height, width, labels)) {
    throw_unknown_id(*unknown, sample.mask, label_set);
  }
}

}  // namespace macadam
