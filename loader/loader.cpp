#include "loader/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <numeric>
#include <string>
#include <utility>

#include "base/cores.h"
#include "base/error.h"
#include "base/to_size.h"
#include "loader/sampling.h"

namespace macadam {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::vector<int> file_order(int count) {
  std::vector<int> order(to_size(count));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

}  // namespace

Loader::Loader(Dataset dataset, LabelSet labels, const LoaderOptions& options)
    : dataset_(std::move(dataset)),
      labels_(std::move(labels)),
      options_(options),
      cache_(dataset_.samples.size(), options.cache_bytes) {
  require(options.height > 0 && options.width > 0, "height and width are positive");
  require(options.batch > 0 && options.slots > 0, "batch and slots are positive");
  require(options.threads >= 0, "threads is not negative");
  require(options.rank >= 0 && options.rank < options.ranks, "the rank is one of the ranks");
  const auto count = static_cast<int64_t>(dataset_.samples.size());
  const std::string where = fmt::format("{}, split \"{}\"", dataset_.root.string(), dataset_.split);
  if (count == 0) throw InputError("no samples", where, "choose another split");
  const int64_t global_batch = int64_t{options.batch} * options.ranks;
  if (options.drop_last && count < global_batch) {
    throw InputError(fmt::format("{} samples do not fill a batch of {}", count, global_batch),
                     where, "lower batch or add samples");
  }
  const auto share = rank_share(file_order(static_cast<int>(count)), options.rank, options.ranks,
                                options.batch, options.drop_last);
  used_samples_ = static_cast<int64_t>(share.size());
  if (used_samples_ == 0) {
    throw InputError(fmt::format("{} samples for {} ranks", count, options.ranks), where,
                     "use fewer ranks");
  }
  batches_ = (used_samples_ + options.batch - 1) / options.batch;
  team_ = options.threads > 0 ? options.threads : usable_cores();
  pixels_ = to_size(options.height) * to_size(options.width);
  std::optional<AugmentLimits> limits;
  if (options.augmentation) {
    programs_ = !options.augmentation->list().empty();
    if (programs_) limits = options.augmentation->limits();
    require(options.device_cache == nullptr ||
                !(options.augmentation->windows() || options.augmentation->needs_statistics()),
            "what is in a device cache is not looked at");
  }
  ring_.emplace(options.slots, options.batch, options.height, options.width, options.device,
                limits);
}

Loader::~Loader() { stop(); }

void Loader::stop() {
  ring_->stop();
  if (producer_.joinable()) producer_.join();
}

void Loader::start(int64_t epoch, int64_t first) {
  require(first >= 0 && first <= batches_, "the first batch lies in the epoch");
  stop();
  give_back();
  const auto count = static_cast<int>(dataset_.samples.size());
  epoch_ = epoch;
  order_ =
      rank_share(options_.shuffle ? permutation(options_.seed, epoch, count) : file_order(count),
                 options_.rank, options_.ranks, options_.batch, options_.drop_last);
  {
    const std::lock_guard lock(stats_mutex_);
    stats_ = {};
    cache_hits_ = 0;
  }
  ring_->open(epoch, first, used_samples_);
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
  const int index = order_[to_size(ticket.sample)];
  const auto position = to_size(ticket.position);
  slot.samples[position] = index;
  const bool on_device = options_.device_cache != nullptr && options_.device_cache->holds(index);
  slot.cached[position] = on_device ? 1 : 0;
  bool hit = on_device;
  try {
    if (!on_device) {
      hit = fill(index, {slot.images + position * 3 * pixels_, 3 * pixels_},
                 {slot.labels + position * pixels_, pixels_});
    }
    augment(slot, position, index);
  } catch (const std::bad_alloc&) {
    throw RunError("not enough memory to load a sample", sample(index).image.string(),
                   "lower the loader's cache, threads or slots");
  }

  const std::lock_guard lock(stats_mutex_);
  stats_.load_seconds += seconds_since(begin);
  ++stats_.samples;
  cache_hits_ += hit ? 1 : 0;
}

bool Loader::fill(int index, std::span<uint8_t> image, std::span<uint8_t> labels) {
  if (options_.augmentation && options_.augmentation->windows()) {
    return fill_from_window(index, image, labels);
  }
  if (const DecodedSample* cached = cache_.find(index)) {
    std::ranges::copy(cached->photo.pixels, image.begin());
    std::ranges::copy(cached->labels.pixels, labels.begin());
    return true;
  }
  std::string fault;
  load_sample(sample(index), dataset_.masks, labels_, options_.height, options_.width,
              options_.reduced_decoding, image, labels, options_.on_fault ? &fault : nullptr);
  tell(index, fault);
  // What the device is about to keep is not asked for again.
  const DeviceCache* device = options_.device_cache;
  const bool leaves = device != nullptr && device->has_room_for(index);
  if (!leaves && cache_.has_room(4 * pixels_)) {
    DecodedSample copy{Image(options_.height, options_.width, 3),
                       Image(options_.height, options_.width, 1)};
    std::ranges::copy(image, copy.photo.pixels.begin());
    std::ranges::copy(labels, copy.labels.pixels.begin());
    cache_.keep(index, copy);
  }
  return false;
}

bool Loader::fill_from_window(int index, std::span<uint8_t> image, std::span<uint8_t> labels) {
  const DecodedSample* source = cache_.find(index);
  const bool hit = source != nullptr;
  DecodedSample fresh;
  if (!hit) {
    std::string fault;
    fresh =
        read_sample(sample(index), dataset_.masks, labels_, options_.on_fault ? &fault : nullptr);
    tell(index, fault);
    source = cache_.keep(index, fresh);
    if (source == nullptr) source = &fresh;
  }
  options_.augmentation->show(options_.seed, epoch_, index, source->photo, source->labels, image,
                              labels);
  return hit;
}

void Loader::tell(int index, const std::string& fault) {
  if (fault.empty()) return;
  const std::lock_guard lock(told_mutex_);
  if (told_.insert(index).second) options_.on_fault(fault);
}

void Loader::augment(Slot& slot, size_t position, int index) {
  if (!programs_) return;
  const size_t bytes = slot.batch.programs.limits.bytes;
  options_.augmentation->write_program(options_.seed, epoch_, index,
                                       {slot.images + position * 3 * pixels_, 3 * pixels_},
                                       {slot.programs + position * bytes, bytes});
}

void Loader::pad(Slot& slot) const {
  const auto valid = to_size(slot.batch.n);
  const size_t missing = to_size(options_.batch) - valid;
  std::fill_n(slot.images + valid * 3 * pixels_, missing * 3 * pixels_, uint8_t{0});
  std::fill_n(slot.labels + valid * pixels_, missing * pixels_, kIgnore);
  std::fill_n(slot.cached.begin() + static_cast<ptrdiff_t>(valid), missing, uint8_t{0});
  const size_t bytes = slot.batch.programs.limits.bytes;
  for (size_t i = valid; programs_ && i < valid + missing; ++i) {
    AugmentBuilder(options_.height, options_.width).write({slot.programs + i * bytes, bytes});
  }
  std::fill_n(slot.samples.begin() + static_cast<ptrdiff_t>(valid), missing, -1);
}

void Loader::give_back() {
  if (taken_ != nullptr) ring_->release(std::exchange(taken_, nullptr));
}

const Batch& Loader::next() {
  give_back();
  const auto begin = Clock::now();
  taken_ = ring_->pop();
  require(taken_ != nullptr, "a batch is left in the epoch");
  const std::lock_guard lock(stats_mutex_);
  stats_.wait_seconds += seconds_since(begin);
  return taken_->batch;
}

SourceStats Loader::stats() const {
  const std::lock_guard lock(stats_mutex_);
  SourceStats stats = stats_;
  stats.ready = ring_->ready();
  return stats;
}

int64_t Loader::cache_hits() const {
  const std::lock_guard lock(stats_mutex_);
  return cache_hits_;
}

std::string Loader::sample_name(int index) const {
  const bool known = index >= 0 && to_size(index) < dataset_.samples.size();
  return known ? sample(index).image.string() : "padding";
}

}  // namespace macadam
