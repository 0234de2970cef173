#pragma once
// A network in use by many threads: replicas on streams of their own, each with plans for a few
// image sizes, all on one set of packed weights.

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/infer/classifier.h"

namespace macadam {

struct InferencePoolOptions {
  DType dtype = DType::f32;
  Normalization normalization;
  /// The batches that plans are made for: N x height x width x 3.
  std::vector<Shape> buckets;
  int replicas = 1;         // batches that run at once
  bool confidence = false;  // whether photos may want InferenceImage::confidence
  size_t memory_limit = 0;  // bytes, of what InferencePoolStatistics::bytes counts; 0: none
};

struct InferencePoolStatistics {
  size_t plans = 0;  // alive
  /// On the device: activations, scratch, images and masks of each plan, and packed weights, which
  /// plans share, once. Without Parameters.
  size_t bytes = 0;
  size_t packed_bytes = 0;  // of these, the weights
  int64_t batches = 0, images = 0;
  int64_t hits = 0;     // batches that found their plan made
  int64_t made = 0;     // plans
  int64_t dropped = 0;  // plans, to stay within the limit
};

class InferencePool {
 public:
  /// The network for a batch N x height x width x 3; it scores every pixel.
  using GraphBuilder = std::function<Graph(const Shape&)>;

  /// Makes no plan yet. `parameters` outlives the pool and keeps its values. Throws InputError
  /// without buckets.
  InferencePool(GraphBuilder build, Parameters& parameters, Device device,
                InferencePoolOptions options);
  ~InferencePool();

  /// The bucket of least size (N * height * width) that holds so many images of at most this
  /// height and width; the first of equals. Throws InputError when there is none.
  const Shape& bucket_for(int images, int height, int width) const;

  // Any number of threads may call the others at once.

  /// Classifies the photos as one batch of the bucket that holds them all; they may differ in size.
  /// Smaller photos are continued by their edge pixels and masks cut back (Classifier::run).
  /// Waits for a free replica, if possible one that has the plan; else the plan is made: that takes
  /// long (prepare()). Then the plans used least recently are dropped until the rest is within the
  /// memory limit; those that are running stay, so that at most what `replicas` batches need is
  /// held above it. Throws InputError when no bucket holds the photos, or the limit not even their
  /// plan.
  void run(std::span<const InferenceImage> images);
  /// Makes the plans of all buckets in all replicas, and runs each until it is at full speed.
  void prepare();
  InferencePoolStatistics statistics() const;

 private:
  /// A plan of a replica.
  struct Entry {
    std::unique_ptr<Classifier> classifier;
    uint64_t last_use = 0;
    int users = 0;  // 0: may be dropped
  };
  struct Replica;
  class Lease;

  size_t bucket_index(int images, int height, int width) const;
  std::unique_ptr<Classifier> make(Replica& replica, const Shape& bucket);
  /// Classifier::run(), with making_ unless it is steady.
  void run(Classifier& classifier, std::span<const InferenceImage> images);

  // With mutex_ held:
  size_t bytes() const;
  size_t packed_bytes() const;
  template <typename Visit>
  void for_each_plan(const Visit& visit) const;
  /// Takes out what is above the limit, for the caller to destroy without the mutex.
  std::vector<std::unique_ptr<Classifier>> take_surplus();

  const GraphBuilder build_;
  Parameters& parameters_;
  const Device device_;
  const InferencePoolOptions options_;
  PackedWeights weights_;  // asked with making_ held
  std::vector<std::unique_ptr<Replica>> replicas_;

  /// Held while a plan is made and in its first two runs, the second of which records a graph.
  /// cuDNN may synchronise the device when it makes plans and loads code, and whatever synchronises
  /// the device spoils all that is being recorded on it. Before mutex_.
  std::mutex making_;
  mutable std::mutex mutex_;  // of all below, Replica::busy, Replica::entries and Entry
  std::condition_variable freed_;
  InferencePoolStatistics counts_;
  uint64_t clock_ = 0;  // counts uses
};

}  // namespace macadam
