#pragma once
// Augmentation programs carried out on a backend, for tests.

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "kernels/augment_program.h"
#include "tests/kernels/backends.h"

namespace macadam::testing {

/// A byte image and its labels.
struct Picture {
  int height = 0, width = 0;
  std::vector<uint8_t> rgb, labels;

  bool operator==(const Picture&) const = default;
};

/// tests/golden/augment/photo.npy: 48 x 64 pixels.
Picture photo();
/// Any colours; labels of 0..18 in patches.
Picture random_picture(int height, int width, std::mt19937& random);

/// A program as it is written, and what it holds.
class WrittenProgram {
 public:
  explicit WrittenProgram(const AugmentBuilder& builder);

  const AugmentHeader& header() const { return header_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  AugmentLimits limits() const;

 private:
  std::vector<std::byte> bytes_;
  AugmentHeader header_;
};

/// Maps, pixel operations and stages of every kind, at random.
AugmentBuilder random_program(int height, int width, std::mt19937& random);

/// x of a call, densely; labels.
struct Prepared {
  std::vector<float> x;
  std::vector<uint8_t> labels;

  bool operator==(const Prepared&) const = default;
};

/// How x is wanted.
struct Wanted {
  Normalization normalization{.mean = {0, 0, 0}, .std = {1, 1, 1}, .range = 255};  // bytes
  DType dtype = DType::f32;
  int pixel_stride = 3;  // x is the last channels of every pixel
  bool spare = false;    // or the first, the others being spare
};

/// One program a picture; the pictures have one size.
Prepared augment(Backend& backend, std::span<const Picture> pictures,
                 std::span<const AugmentBuilder> programs, const Wanted& wanted = {});
/// One picture, back as bytes.
Picture augment(Backend& backend, const Picture& picture, const AugmentBuilder& program);

/// find_backend, and "Reference".
Backend* find_augmenting_backend(const std::string& name);

/// Tests on the backend that the parameter names; skipped where it is not there.
class AugmentingTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override;
  Picture run(const Picture& picture, const AugmentBuilder& program) {
    return augment(*backend_, picture, program);
  }

  Backend* backend_ = nullptr;
};

}  // namespace macadam::testing
