#include "server/service/segmentation.h"

#include <fmt/format.h>

#include <vector>

#include "base/error.h"
#include "base/to_size.h"
#include "engine/infer/windows.h"
#include "server/http/http_error.h"

namespace macadam {

namespace {

uint64_t count_of(std::chrono::nanoseconds time) { return static_cast<uint64_t>(time.count()); }

WindowGrid windows_of(const SegmentationRequest& request, const DecodedPhoto& photo) {
  const ModelInfo& info = request.model->info();
  return {photo.height, photo.width, info.height, info.width};
}

/// Of the sums over a photo's windows.
size_t memory_of_windows(const SegmentationRequest& request, const DecodedPhoto& photo) {
  if (!request.tile) return 0;
  const int rows = windows_of(request, photo).band(request.model->max_batch());
  return to_size(rows) * to_size(photo.width) * to_size(request.model->classes()) * sizeof(float);
}

/// Of a photo as it waits, and of what will be made of it.
size_t memory_of(const SegmentationRequest& request, const DecodedPhoto& photo) {
  const PredictionWishes& wishes = request.wishes;
  const size_t pixels = to_size(photo.height) * to_size(photo.width);
  // As they are made, and as they are kept.
  const size_t scores = wishes.scores ? 2 * to_size(request.model->classes()) * sizeof(float) : 0;
  return photo.whole.pixels.size() + photo.at_network_size.pixels.size() +
         memory_of_windows(request, photo) +
         pixels * (1 + (wishes.confidence ? 1 : 0) + scores + request.answer_bytes);
}

}  // namespace

class Segmentation::PhotoJob : public Job {
 public:
  PhotoJob(SegmentationRequest request, DecodedPhoto photo, ByteBudget::Hold memory,
           std::chrono::nanoseconds decode, WorkerPool& pool, Then then)
      : request_(std::move(request)), pool_(pool), then_(std::move(then)) {
    result_.memory = std::move(memory);
    result_.photo = std::move(photo);
    result_.decode = decode;
    deadline = request_.deadline;
    // Windows and mirror images are many images each: nobody should wait for them.
    if (!request_.tile && !request_.wishes.flip) group = request_.model.get();
  }

  bool abandoned() const override { return request_.abandoned && request_.abandoned(); }

  ServedModel& model() const { return *request_.model; }

  PredictionTask task() {
    return {result_.photo.seen(), result_.photo.height, result_.photo.width,
            request_.wishes,      &result_.prediction,  [this] { return gives_up(); }};
  }

  void ended() override {
    result_.end = end;
    result_.fault = std::move(fault);
    result_.batch = batch;
    if (end == JobEnd::done || end == JobEnd::failed) {
      result_.queue = begun - queued;
      result_.infer = finished - begun;
    }
    const auto shared = std::make_shared<SegmentationResult>(std::move(result_));
    const auto finish = [shared, then = std::move(then_)] { then(*shared); };
    if (end == JobEnd::stopped) {
      finish();  // the pool ends too
    } else {
      pool_.post(finish);
    }
  }

 private:
  SegmentationRequest request_;
  WorkerPool& pool_;
  Then then_;
  SegmentationResult result_;
};

Segmentation::Segmentation(const SegmentationOptions& options)
    : options_(options),
      memory_(options.memory),
      pool_(options.threads),
      batcher_(options.batches, run_batch) {}

void Segmentation::stop() {
  pool_.stop();  // nothing is decoded any more
  batcher_.stop();
}

void Segmentation::run_batch(int replica, std::span<Job* const> jobs) {
  std::vector<PredictionTask> tasks;
  for (Job* const job : jobs) tasks.push_back(static_cast<PhotoJob*>(job)->task());
  ServedModel& model = static_cast<PhotoJob*>(jobs.front())->model();
  const auto begun = Clock::now();
  model.run(replica, tasks);
  model.count_batch(static_cast<int>(jobs.size()), count_of(Clock::now() - begun));
}

void Segmentation::check_windows(const SegmentationRequest& request,
                                 const DecodedPhoto& photo) const {
  if (!request.tile) return;
  if (const int64_t windows = windows_of(request, photo).count(); windows > options_.windows) {
    throw HttpError(413, fmt::format("the photo has {} windows of the network's size, and may have "
                                     "{}: send it smaller, or without tile",
                                     windows, options_.windows));
  }
  if (const size_t bytes = memory_of_windows(request, photo); bytes > options_.memory) {
    throw HttpError(413, fmt::format("the windows of a photo so wide need {} MiB, and may need {}: "
                                     "send it smaller, or without tile",
                                     bytes >> 20, options_.memory >> 20));
  }
}

void Segmentation::decode(SegmentationRequest request, const Then& then) {
  SegmentationResult result;
  const auto begun = Clock::now();
  if (request.deadline <= begun) {
    result.end = JobEnd::expired;
  } else if (request.abandoned && request.abandoned()) {
    result.end = JobEnd::abandoned;
  } else {
    try {
      DecodedPhoto photo = request.decode(options_.limits);
      // Only as many photos as there are threads are decoded before they are weighed.
      check_windows(request, photo);
      auto memory = memory_.hold(memory_of(request, photo));
      if (!memory) throw NoMemoryError("the server holds as many photos as it can, try again");
      batcher_.submit(std::make_unique<PhotoJob>(std::move(request), std::move(photo),
                                                 std::move(memory), Clock::now() - begun, pool_,
                                                 then));
      return;
    } catch (...) {
      result.end = JobEnd::failed;
      result.photo_fault = std::current_exception();
    }
  }
  then(result);
}

void Segmentation::run(SegmentationRequest request, Then then) {
  require(request.model != nullptr, "a photo has a model");
  pool_.post([this, request = std::move(request), then = std::move(then)]() mutable {
    decode(std::move(request), then);
  });
}

}  // namespace macadam
