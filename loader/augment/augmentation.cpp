#include "loader/augment/augmentation.h"

#include <algorithm>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "loader/label_set.h"

namespace macadam {

namespace {

struct Sample {
  uint64_t seed;
  int64_t epoch;
  int index;

  RandomStream stream(uint32_t entry) const {
    return {seed, epoch, index, kAugmentPurpose + entry};
  }
};

/// How many entries there are, with those within others.
uint32_t entries(const AugmentEntry& entry) {
  uint32_t count = 1;
  if (const AugmentList* children = children_of(entry)) {
    for (const AugmentEntry& child : *children) count += entries(child);
  }
  return count;
}

bool any_entry(const AugmentList& list, const auto& holds) {
  return std::ranges::any_of(list, [&](const AugmentEntry& entry) {
    const AugmentList* children = children_of(entry);
    return holds(entry) || (children != nullptr && any_entry(*children, holds));
  });
}

/// Entries are numbered in the order in which they are written, and each has a stream of its own,
/// used or not: what one draws does not depend on the others.
class Drawing {
 public:
  Drawing(const Sample& sample, ImageSize size, const ImageStatistics* statistics,
          AugmentBuilder& builder)
      : sample_(sample), size_(size), statistics_(statistics), builder_(builder) {}

  void run(const AugmentList& list, uint32_t first) {
    for (const AugmentEntry& entry : list) {
      run(entry, first, false);
      first += entries(entry);
    }
  }

 private:
  /// chosen: by OneOf, whatever p says.
  void run(const AugmentEntry& entry, uint32_t number, bool chosen) {
    RandomStream random = sample_.stream(number);
    const bool runs = random.chance(entry.p) || chosen;
    if (!runs) return;
    std::visit(
        [&]<class T>(const T& transform) {
          if constexpr (std::is_same_v<T, OneOf>) {
            run_one(transform.transforms, number + 1, random);
          } else if constexpr (std::is_same_v<T, Compose>) {
            run(transform.transforms, number + 1);
          } else if constexpr (requires { transform.needs_statistics(); }) {
            static const ImageStatistics none;
            transform.write(transform.draw(random, size_), statistics_ ? *statistics_ : none,
                            builder_);
          } else if constexpr (requires { &T::write; }) {
            transform.write(transform.draw(random, size_), builder_);
          }
        },
        entry.transform);
  }

  void run_one(const AugmentList& list, uint32_t first, RandomStream& random) {
    std::vector<double> weights;
    for (const AugmentEntry& entry : list) weights.push_back(entry.p);
    const size_t chosen = random.choice(weights);
    for (size_t i = 0; i < chosen; ++i) first += entries(list[i]);
    run(list[chosen], first, true);
  }

  Sample sample_;
  ImageSize size_;
  const ImageStatistics* statistics_;
  AugmentBuilder& builder_;
};

}  // namespace

Augmentation::Augmentation(AugmentList list, ImageSize size)
    : list_(std::move(list)), size_(size), limits_(cost_of(list_, size).limits()) {}

bool Augmentation::windows() const {
  return std::ranges::any_of(list_, [](const AugmentEntry& entry) {
    return std::holds_alternative<RandomCrop>(entry.transform);
  });
}

bool Augmentation::needs_labels() const {
  return std::ranges::any_of(list_, [](const AugmentEntry& entry) {
    const auto* crop = std::get_if<RandomCrop>(&entry.transform);
    return crop != nullptr && crop->needs_labels();
  });
}

SourceWindow Augmentation::window(uint64_t seed, int64_t epoch, int index,
                                  const LabelMap& photo) const {
  const Sample sample{seed, epoch, index};
  double scale = 1;
  for (uint32_t i = 0; i < std::min<size_t>(list_.size(), 2); ++i) {
    const AugmentEntry& entry = list_[i];
    RandomStream random = sample.stream(i);
    if (!random.chance(entry.p)) continue;
    if (const auto* resize = std::get_if<RandomScale>(&entry.transform)) {
      scale = resize->draw(random);
    } else if (const auto* crop = std::get_if<RandomCrop>(&entry.transform)) {
      return crop->draw(random, scale, photo);
    }
  }
  return {.y = 0,
          .x = 0,
          .height = static_cast<double>(photo.height),
          .width = static_cast<double>(photo.width)};
}

void Augmentation::show(uint64_t seed, int64_t epoch, int sample, const Image& photo,
                        const Image& photo_labels, std::span<uint8_t> image,
                        std::span<uint8_t> labels) const {
  const SourceWindow part =
      window(seed, epoch, sample, {photo.height, photo.width, photo_labels.pixels});
  resize_bilinear(photo, part, size_.height, size_.width, 0, image);
  resize_nearest(photo_labels, part, size_.height, size_.width, kIgnore, labels);
}

bool Augmentation::needs_statistics() const {
  return any_entry(list_, [](const AugmentEntry& entry) {
    return std::visit(
        [](const auto& transform) {
          if constexpr (requires { transform.needs_statistics(); }) {
            return transform.needs_statistics();
          }
          return false;
        },
        entry.transform);
  });
}

void Augmentation::draw(uint64_t seed, int64_t epoch, int sample, const ImageStatistics* statistics,
                        AugmentBuilder& builder) const {
  require(builder.height() == size_.height && builder.width() == size_.width,
          "a program is for the network's size");
  require(statistics != nullptr || !needs_statistics(), "the list's transforms have statistics");
  any_entry(list_, [&](const AugmentEntry& entry) {  // all constant borders have the same fill
    const BorderFill* border = border_of(entry);
    const bool constant = border != nullptr && border->border == Border::constant;
    if (constant) builder.fill(border->value, static_cast<uint8_t>(border->mask_value));
    return constant;
  });
  Drawing({seed, epoch, sample}, size_, statistics, builder).run(list_, 0);
}

void Augmentation::write_program(uint64_t seed, int64_t epoch, int sample,
                                 std::span<const uint8_t> rgb, std::span<std::byte> out) const {
  std::optional<ImageStatistics> statistics;
  if (needs_statistics()) statistics = statistics_of(rgb);
  AugmentBuilder builder(size_.height, size_.width);
  draw(seed, epoch, sample, statistics ? &*statistics : nullptr, builder);
  require(builder.within(limits_), "a program stays within what its list allows");
  builder.write(out);
}

}  // namespace macadam
