#pragma once
// A network at work on batches of photos in host memory: one plan, what feeds it, and the choice of
// the class.

#include <cstdint>
#include <set>
#include <span>

#include "engine/plan/plan.h"
#include "engine/plan/replay.h"
#include "kernels/augment.h"

namespace macadam {

/// A photo as it is shown to the network: height x width x 3 bytes of host memory.
struct PhotoView {
  std::span<const uint8_t> rgb;
  int height = 0, width = 0;
};

/// A photo of the network's size, height x width, and where its mask goes, in host memory.
struct InferenceImage {
  std::span<const uint8_t> rgb;  // height x width x 3
  std::span<uint8_t> classes;    // height x width, written
  /// height x width, written: round(255 * the softmax probability of the class). Empty: not wanted.
  std::span<uint8_t> confidence{};
};

/// Of all these buffers together.
size_t bytes_of(const std::set<const Buffer*>& memory);

struct ClassifierOptions {
  DType dtype = DType::f32;
  Normalization normalization;
  bool confidence = false;       // whether run() can give InferenceImage::confidence
  ArenaMemory* arena = nullptr;  // PlanOptions::arena
};

class Classifier {
 public:
  /// `graph` decides batch and size and scores every pixel. `weights`: PlanOptions::weights; what
  /// was not packed before is when this returns. `parameters` and `context` outlive it.
  Classifier(const Graph& graph, Parameters& parameters, PackedWeights& weights,
             DeviceContext& context, const ClassifierOptions& options);

  /// Writes each photo's classes; returns when they are there. The last up-sampling and the choice
  /// of the class are one kernel: scores at full size are never in memory. On CUDA uploads, network
  /// and downloads are one captured graph. Places of the batch without a photo are computed on what
  /// was there before. Requires at most as many photos as the batch has; confidence wanted only
  /// with ClassifierOptions'.
  void run(std::span<const InferenceImage> images);

  /// Runs until it is at full speed, whatever it is asked for: from then on it loads no code and
  /// records nothing.
  void warm_up();

  // The same in parts, for masks that are made of more than one score a pixel:

  // run() comes after all of their work is done, as Stream::synchronize() says.

  /// Makes what of the photo lies at and after (top, left) the image at `place` of the batch,
  /// continued to the right and below by edge pixels. Requires that it begins in the photo.
  void put(int place, const PhotoView& photo, int top = 0, int left = 0);
  /// Brings the images to the device; after it put() may be called again.
  void upload();
  /// Queues the network on the images, or on their mirror images, and gives its scores: those of
  /// its last layer but the up-sampling, NxhxwxC, until the next call.
  const Tensor& score(bool mirrored);
  /// Those of one image: 1xhxwxC.
  Tensor scores(int place) const;

  /// N x height x width x 3 of the images.
  const Shape& shape() const { return batch_; }
  const Plan& plan() const { return plan_; }
  /// Adds the memory on the device: images, masks, and those of the plan that others may share.
  void add_memory(std::set<const Buffer*>& memory) const;

 private:
  void fill(int place, const PhotoView& photo, int top, int left);
  /// The images in the device's memory.
  Tensor images() const;
  /// Queues all the work of a batch.
  void classify();
  void forward(bool mirrored);

  DeviceContext& context_;
  ClassifierOptions options_;
  Plan plan_;  // without the last up-sampling
  Shape batch_;
  Buffer host_images_, host_classes_, host_confidence_;
  // Empty where the device's memory is the host's.
  Buffer device_images_, device_classes_, device_confidence_;
  Event uploaded_;
  Replay classifying_, scoring_, scoring_mirrored_;
};

}  // namespace macadam
