#include "loader/ring.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/to_size.h"

namespace macadam {

Ring::Ring(int slots, int batch, int height, int width, Device device,
           const std::optional<AugmentLimits>& limits)
    : batch_(batch), slots_(to_size(slots)) {
  const Shape image_shape{batch, height, width, 3}, label_shape{batch, height, width, 1};
  const auto image_bytes = to_size(image_shape.elements());
  const auto label_bytes = to_size(label_shape.elements());
  const size_t program_bytes = limits ? to_size(batch) * limits->bytes : 0;
  for (Slot& slot : slots_) {
    // Programs first: they are aligned.
    slot.memory = Buffer::host_for(device, program_bytes + image_bytes + label_bytes);
    slot.programs = slot.memory.data();
    slot.images = reinterpret_cast<uint8_t*>(slot.programs + program_bytes);
    slot.labels = slot.images + image_bytes;
    slot.samples.resize(to_size(batch));
    slot.batch.images = Tensor(slot.images, image_shape, DType::u8);
    slot.batch.labels = Tensor(slot.labels, label_shape, DType::u8);
    if (limits) slot.batch.programs = {slot.programs, *limits};
    slot.cached.resize(to_size(batch));
    slot.batch.cached = slot.cached.data();
    slot.batch.samples = slot.samples;
    free_.push_back(&slot);
  }
}

void Ring::open(int64_t epoch, int64_t first_batch, int64_t samples) {
  const std::lock_guard lock(mutex_);
  // What the last epoch left unread is dropped; slots with the consumer come back by release().
  for (std::deque<Slot*>* queue : {&filling_, &ready_}) {
    free_.insert(free_.end(), queue->begin(), queue->end());
    queue->clear();
  }
  epoch_ = epoch;
  next_sample_ = first_batch * batch_;
  samples_ = samples;
  stopped_ = closed_ = false;
  error_ = nullptr;
}

Slot* Ring::take_free_slot() {
  Slot* slot = free_.back();
  free_.pop_back();
  slot->batch.epoch = epoch_;
  slot->batch.index = next_sample_ / batch_;
  slot->batch.n = static_cast<int>(std::min<int64_t>(batch_, samples_ - next_sample_));
  slot->unfinished = slot->batch.n;
  filling_.push_back(slot);
  return slot;
}

std::optional<Ring::Ticket> Ring::take_ticket() {
  std::unique_lock lock(mutex_);
  while (true) {
    if (stopped_ || error_ || next_sample_ >= samples_) return std::nullopt;
    const auto position = static_cast<int>(next_sample_ % batch_);
    if (position == 0 && free_.empty()) {
      producers_.wait(lock);
      continue;
    }
    Slot* slot = position == 0 ? take_free_slot() : filling_.back();
    return Ticket{slot, position, next_sample_++};
  }
}

void Ring::finish(const Ticket& ticket) {
  const std::lock_guard lock(mutex_);
  --ticket.slot->unfinished;
  while (!filling_.empty() && filling_.front()->unfinished == 0) {
    ready_.push_back(filling_.front());
    filling_.pop_front();
    consumer_.notify_one();
  }
}

void Ring::fail(const Ticket& ticket, std::exception_ptr error) {
  const std::lock_guard lock(mutex_);
  // Tickets are given out in order, so all before this one are at work too: whichever fails
  // first in time, the first one in the epoch is reported.
  if (!error_ || ticket.sample < failed_sample_) {
    failed_sample_ = ticket.sample;
    error_ = std::move(error);
  }
  producers_.notify_all();
}

void Ring::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  consumer_.notify_all();
}

void Ring::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  producers_.notify_all();
}

Slot* Ring::pop() {
  std::unique_lock lock(mutex_);
  while (ready_.empty()) {
    if (closed_) {
      if (error_) std::rethrow_exception(error_);
      return nullptr;
    }
    require(!free_.empty() || !filling_.empty(), "a batch is released before all slots are taken");
    consumer_.wait(lock);
  }
  Slot* slot = ready_.front();
  ready_.pop_front();
  return slot;
}

int Ring::ready() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(ready_.size());
}

void Ring::release(Slot* slot) {
  const std::lock_guard lock(mutex_);
  free_.push_back(slot);
  producers_.notify_all();
}

}  // namespace macadam
