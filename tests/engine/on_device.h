#pragma once
// A device to test on, and numbers on their way there and back.

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/to_size.h"
#include "kernels/ops.h"
#if !defined(MACADAM_HAS_ONEDNN)
#include "kernels/reference/reference_ops.h"
#endif

namespace macadam::testing {

/// A device's context. Whatever shares it runs the same convolution kernels: on CUDA each picks its
/// own by timing them. In a build without oneDNN, as a GPU's may be, the CPU convolves by the
/// reference's loops: small networks alone.
inline std::shared_ptr<DeviceContext> on_device(Device device) {
  auto place = std::make_shared<DeviceContext>(device);
#if !defined(MACADAM_HAS_ONEDNN)
  if (!device.is_cuda()) place->ops.conv = make_reference_ops().conv;
#endif
  return place;
}

/// `values`, in host memory, to a tensor of the device, rounded to its dtype. Requires as many.
inline void upload(DeviceContext& place, std::span<const float> values, const Tensor& to) {
  require(static_cast<int64_t>(values.size()) == to.shape.elements(), "as many values");
  const Device device = place.stream.device();
  const Buffer staged(device, values.size_bytes());
  copy_bytes(place.stream, staged.data(), values.data(), staged.bytes());
  place.ops.elementwise->copy(Tensor(staged.data(), to.shape, DType::f32, device), to, false);
  place.stream.synchronize();
}

/// The values of a floating-point tensor of the device, densely.
inline std::vector<float> download(DeviceContext& place, const Tensor& from) {
  std::vector<float> values(to_size(from.shape.elements()));
  const Device device = place.stream.device();
  const Buffer staged(device, values.size() * sizeof(float));
  place.ops.elementwise->copy(from, Tensor(staged.data(), from.shape, DType::f32, device), false);
  copy_bytes(place.stream, values.data(), staged.data(), staged.bytes());
  place.stream.synchronize();
  return values;
}

/// Tests on the first CUDA device; skipped where there is none.
class CudaTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    Device device;
    try {
      device = parse_device("cuda");
    } catch (const InputError& error) {
      missing_ = error.what();
      return;
    }
    cuda_ = on_device(device);
  }
  static void TearDownTestSuite() { cuda_.reset(); }

  void SetUp() override {
    if (!cuda_) GTEST_SKIP() << missing_;
  }

  inline static std::shared_ptr<DeviceContext> cuda_;  // one a suite, so that few kernels are timed
  inline static std::string missing_;                  // why it is not there
};

}  // namespace macadam::testing
