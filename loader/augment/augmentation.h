#pragma once
// Draws what is done to each sample of a run: which part of the photo is seen, and the program of
// everything else. A pure function of (seed, epoch, sample), so that samples may be drawn in any
// order and on any thread.

#include <cstdint>
#include <span>

#include "kernels/augment_program.h"
#include "loader/augment/list.h"
#include "loader/augment/statistics.h"

namespace macadam {

class Augmentation {
 public:
  /// size: what the network sees; the one that the list was parsed for.
  Augmentation(AugmentList list, ImageSize size);

  const AugmentList& list() const { return list_; }

  /// What the programs hold at most.
  const AugmentLimits& limits() const { return limits_; }

  /// True when samples show parts of their photos.
  bool windows() const;
  /// True when window() looks at the mask.
  bool needs_labels() const;
  /// The part of the photo that is brought to the network's size: the whole one without windows().
  /// Requires labels of the photo's size where needs_labels().
  SourceWindow window(uint64_t seed, int64_t epoch, int sample, const LabelMap& photo) const;

  /// Brings window() of a photo and its labels to the network's size: image (height x width x 3)
  /// and labels (height x width). What lies beyond the photo is black, and ignored.
  void show(uint64_t seed, int64_t epoch, int sample, const Image& photo, const Image& photo_labels,
            std::span<uint8_t> image, std::span<uint8_t> labels) const;

  /// True when draw() looks at statistics of the photo.
  bool needs_statistics() const;
  /// Writes the program of a sample. statistics: of the photo at the network's size, before any
  /// transform; may be null where none are needed. Requires a fresh builder for the network's size.
  void draw(uint64_t seed, int64_t epoch, int sample, const ImageStatistics* statistics,
            AugmentBuilder& builder) const;
  /// The same into `out`, of limits().bytes. rgb: the photo at the network's size; not looked at
  /// unless needs_statistics().
  void write_program(uint64_t seed, int64_t epoch, int sample, std::span<const uint8_t> rgb,
                     std::span<std::byte> out) const;

 private:
  AugmentList list_;
  ImageSize size_;
  AugmentLimits limits_;
};

}  // namespace macadam
