#pragma once
// From an encoded photo to a mask, through the stages that overlap: decoding on threads of its own,
// the network in batches, and whatever is done with the mask on the same threads as decoding.

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "image/image.h"
#include "run/photo.h"
#include "server/http/byte_budget.h"
#include "server/service/batcher.h"
#include "server/service/served_model.h"
#include "server/service/worker_pool.h"

namespace macadam {

struct SegmentationOptions {
  BatcherOptions batches;
  int threads = 2;     // that decode and encode
  ImageLimits limits;  // of photos
  /// Bytes of photos and masks of all requests together, from decoding to the answer.
  size_t memory = size_t{2} << 30;
  int64_t windows = 1024;  // of a photo
};

/// What is wanted of one photo.
struct SegmentationRequest {
  std::shared_ptr<ServedModel> model;
  std::string name;  // of the photo, in errors
  /// Gives the photo; throws InputError or HttpError when it cannot be had. Called on a thread of
  /// the pool.
  std::function<DecodedPhoto(const ImageLimits&)> decode;
  PredictionWishes wishes;
  bool tile = false;
  /// Of what is made of the prediction, a pixel, at most: a byte or three before they are
  /// compressed.
  size_t answer_bytes = 3;
  Clock::time_point deadline = Clock::time_point::max();
  std::function<bool()> abandoned;
};

struct SegmentationResult {
  JobEnd end = JobEnd::stopped;
  /// What was wrong: with the photo, which is the client's affair, or else with this program.
  std::exception_ptr photo_fault;
  std::string fault;
  DecodedPhoto photo;
  Prediction prediction;
  ByteBudget::Hold memory;  // of photo, prediction and answer
  std::chrono::nanoseconds decode{0}, queue{0}, infer{0};
  int batch = 0;  // photos that the network saw together

  StageTimes times(std::chrono::nanoseconds encode) const { return {queue, decode, infer, encode}; }
};

class Segmentation {
 public:
  explicit Segmentation(const SegmentationOptions& options);
  ~Segmentation() { stop(); }
  Segmentation(const Segmentation&) = delete;
  Segmentation& operator=(const Segmentation&) = delete;

  /// What waits ends as `stopped`, and so does what comes later, on the thread that brings it.
  void stop();

  using Then = std::function<void(SegmentationResult&)>;
  /// Begins, and calls `then` once when it has ended, on a thread of the pool (or on the calling
  /// one when this ends); `then` must not throw.
  void run(SegmentationRequest request, Then then);
  /// Runs other work on the threads of the pool.
  void post(std::function<void()> work) { pool_.post(std::move(work)); }
  /// Of photos and masks; bodies that were unpacked count too.
  ByteBudget& memory() { return memory_; }
  /// Photos that wait for a network.
  size_t waiting() const { return batcher_.waiting(); }

 private:
  class PhotoJob;

  static void run_batch(int replica, std::span<Job* const> jobs);
  /// Throws HttpError (413) for a photo with more windows than allowed, or whose windows alone need
  /// more than all of the memory.
  void check_windows(const SegmentationRequest& request, const DecodedPhoto& photo) const;
  void decode(SegmentationRequest request, const Then& then);

  const SegmentationOptions options_;
  ByteBudget memory_;
  WorkerPool pool_;
  Batcher batcher_;
};

}  // namespace macadam
