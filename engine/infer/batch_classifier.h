#pragma once
// Photos in host memory to masks there, a batch at a time, through one plan.

#include <cstdint>
#include <span>

#include "engine/plan/plan.h"
#include "engine/plan/replay.h"
#include "kernels/augment.h"

namespace macadam {

/// A photo and where its mask goes, both in host memory.
struct InferenceImage {
  int height = 0, width = 0;
  std::span<const uint8_t> rgb;  // height x width x 3
  std::span<uint8_t> classes;    // height x width, written
};

class BatchClassifier {
 public:
  /// `graph` decides batch and size and scores every pixel. `weights_of`: PlanOptions::weights_of.
  /// Packs what weights it does not share. `parameters`, `stream` and `ops` outlive it.
  BatchClassifier(const Graph& graph, Parameters& parameters, Stream& stream, Ops& ops, DType dtype,
                  const Normalization& normalization, const Plan* weights_of = nullptr);

  /// Writes each photo's classes; returns when they are there. A photo smaller than the network's
  /// input is continued to the right and below by its edge pixels, and its mask is cut back. The
  /// last up-sampling and the choice of the class are one kernel: scores at full size are never in
  /// memory. On CUDA uploads, network and downloads are one captured graph. Places of the batch
  /// without a photo are computed on what was there before. Requires at most as many photos as the
  /// batch has, none larger than its images.
  void run(std::span<const InferenceImage> images);

  /// Whether the next run() only replays: Replay::steady().
  bool steady() const { return replay_.steady(stream_); }

  const Plan& plan() const { return plan_; }
  /// Bytes on the device, without packed weights.
  size_t bytes() const;

 private:
  void fill(const InferenceImage& image, size_t place);
  void cut_back(const InferenceImage& image, size_t place) const;
  /// Queues all the work of a batch.
  void launch();

  Stream& stream_;
  Ops& ops_;
  Normalization normalization_;
  Plan plan_;  // without the last up-sampling
  Shape batch_;
  Buffer host_images_, host_classes_;
  Buffer device_images_, device_classes_;  // empty where the device's memory is the host's
  Replay replay_;
};

}  // namespace macadam
