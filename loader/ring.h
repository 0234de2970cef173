#pragma once
// The prefetch ring: slots that producers fill in order and one consumer empties.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/input/batch.h"
#include "kernels/device.h"

namespace macadam {

/// The memory of one batch.
struct Slot {
  Buffer memory;
  Batch batch;
  uint8_t* images = nullptr;
  uint8_t* labels = nullptr;
  std::byte* programs = nullptr;
  std::vector<int> samples;
  std::vector<uint8_t> cached;
  int unfinished = 0;  // samples that producers still work on
};

/// Deals out the samples of an epoch ("tickets", in order) to any number of producer threads and
/// hands complete batches to one consumer, also in order. Producers sleep while every slot is full
/// or in use. All functions may be called from any thread.
class Ring {
 public:
  /// `slots` >= 1 slots for batches of `batch` images of height x width, in memory that `device`
  /// copies from without staging. With `limits`, for programs too.
  Ring(int slots, int batch, int height, int width, Device device,
       const std::optional<AugmentLimits>& limits = {});

  /// One sample to produce: `position` in the batch of `slot`, the `sample`-th of the epoch.
  struct Ticket {
    Slot* slot = nullptr;
    int position = 0;
    int64_t sample = 0;
  };

  /// Begins an epoch of `samples` at batch `first_batch`. Requires that no producer is at work.
  void open(int64_t epoch, int64_t first_batch, int64_t samples);
  /// The next ticket, when there is a slot for it; nothing once all are given out, one has failed
  /// or the ring was stopped.
  std::optional<Ticket> take_ticket();
  /// The ticket's sample lies in its slot.
  void finish(const Ticket& ticket);
  /// The ticket's sample cannot be had. Batches before it are still handed out.
  void fail(const Ticket& ticket, std::exception_ptr error);
  /// No producer is at work any more.
  void close();
  /// Makes take_ticket return nothing.
  void stop();

  /// Waits for the next batch; null at the end. Rethrows the error of the first failed sample in
  /// its batch's turn. Requires that not every slot is with the consumer.
  Slot* pop();
  /// Gives a slot of pop() back to the producers.
  void release(Slot* slot);
  /// Batches that pop() would return at once.
  int ready() const;

 private:
  Slot* take_free_slot();

  const int batch_;
  std::vector<Slot> slots_;

  mutable std::mutex mutex_;
  std::condition_variable producers_, consumer_;
  std::vector<Slot*> free_;
  std::deque<Slot*> filling_, ready_;  // in the order of the epoch
  int64_t epoch_ = 0, next_sample_ = 0, samples_ = 0;
  bool stopped_ = true, closed_ = true;
  int64_t failed_sample_ = 0;
  std::exception_ptr error_;
};

}  // namespace macadam
