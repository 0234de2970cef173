// The CUDA runtime behind kernels/device.h, and what only a GPU can tell of cuDNN's convolutions.

#if defined(MACADAM_HAS_CUDA)

#include <gtest/gtest.h>

#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/to_size.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/cudnn/graph.h"
#include "kernels/cuda/cudnn/plan_check.h"
#include "kernels/device.h"

namespace macadam {
namespace {

constexpr Device kGpu{DeviceKind::cuda, 0};

bool has_gpu() { return !cuda::list_devices().empty(); }

TEST(CudnnRuntime, WithoutAGpuCallsFailWithACauseAndARemedy) {
  if (has_gpu()) GTEST_SKIP() << "there is a GPU";
  EXPECT_EQ(list_devices().size(), 1u);
  EXPECT_THROW(parse_device("cuda"), InputError);
  EXPECT_EQ(parse_device("auto"), Device{});
  try {
    Stream stream(kGpu);
    FAIL() << "made a stream";
  } catch (const RunError& error) {
    const std::string text = error.what();
    EXPECT_TRUE(text.starts_with("CUDA: cudaSetDevice(0) failed: cuda")) << text;
    EXPECT_NE(text.find("--device cpu"), std::string::npos) << text;
  }
}

class Cuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_gpu()) GTEST_SKIP() << "no CUDA device";
    stream_.emplace(kGpu);
  }

  Stream& stream() { return *stream_; }

  Buffer upload(const std::vector<float>& values) {
    Buffer buffer(kGpu, values.size() * sizeof(float));
    copy_bytes(stream(), buffer.data(), values.data(), buffer.bytes());
    stream().synchronize();
    return buffer;
  }
  std::vector<std::byte> download(const Buffer& buffer) {
    std::vector<std::byte> bytes(buffer.bytes());
    copy_bytes(stream(), bytes.data(), buffer.data(), bytes.size());
    stream().synchronize();
    return bytes;
  }

 private:
  std::optional<Stream> stream_;
};

TEST_F(Cuda, ARecordingThatThrowsLeavesTheStreamFitForUse) {
  Buffer device = upload({1, 2, 3});
  const auto clear = [&] { zero_bytes(stream(), device.data(), device.bytes()); };
  EXPECT_THROW(CapturedGraph::record(stream(),
                                     [&] {
                                       clear();
                                       throw RunError("out of paper", "here", "refill");
                                     }),
               RunError);
  // A call that no recording may hold spoils it, and throws by itself.
  EXPECT_THROW(CapturedGraph::record(stream(), [&] { stream().synchronize(); }), RunError);
  EXPECT_NE(download(device), std::vector<std::byte>(device.bytes())) << "nothing ran";
  CapturedGraph::record(stream(), clear).launch(stream());
  EXPECT_EQ(download(device), std::vector<std::byte>(device.bytes()));
}

TEST_F(Cuda, BytesReturnFromTheDevice) {
  const size_t bytes = 1000003;
  Buffer pinned = Buffer::host_for(kGpu, bytes), device(kGpu, bytes);
  std::mt19937 random(1);
  for (size_t i = 0; i < bytes; ++i) pinned.data()[i] = static_cast<std::byte>(random());
  const std::vector<std::byte> sent(pinned.data(), pinned.data() + bytes);
  copy_bytes(stream(), device.data(), pinned.data(), bytes);
  EXPECT_EQ(download(device), sent);
  zero_bytes(stream(), device.data(), bytes);
  EXPECT_EQ(download(device), std::vector<std::byte>(bytes));
}

TEST_F(Cuda, EventsOrderTwoStreams) {
  Stream other(kGpu);
  Buffer pinned = Buffer::host_for(kGpu, 1 << 26), device(kGpu, 1 << 26), back(kGpu, 1 << 26);
  std::memset(pinned.data(), 7, pinned.bytes());
  for (int round = 0; round < 5; ++round) {
    zero_bytes(stream(), device.data(), device.bytes());
    copy_bytes(stream(), device.data(), pinned.data(), device.bytes());
    Event done(kGpu);
    done.record(stream());
    other.wait(done);
    copy_bytes(other, back.data(), device.data(), back.bytes());
    other.synchronize();
    ASSERT_EQ(download(back), std::vector<std::byte>(back.bytes(), std::byte{7}));
  }
}

TEST_F(Cuda, TooMuchMemoryIsAnErrorAndLeavesTheDeviceUsable) {
  EXPECT_THROW(Buffer(kGpu, size_t{1} << 50), RunError);
  EXPECT_NO_THROW(Buffer(kGpu, 1024));
}

/// A convolution with its memory, on random data.
struct BoundConv {
  ConvDesc desc;
  std::unique_ptr<Convolution> conv;
  Buffer x, w, bias, y, dx, dw, packed, workspace;

  void run() const {
    const auto dense = [&](const Buffer& data, const Shape& shape, DType dtype) {
      return Tensor(data.data(), shape, dtype, kGpu);
    };
    const Shape vector{1, 1, 1, desc.out_channels};
    const Tensor in = dense(x, desc.input, desc.dtype), out = dense(y, desc.output(), desc.dtype);
    conv->pack(dense(w, desc.weights(), DType::f32), dense(bias, vector, DType::f32),
               packed.data());
    conv->forward(in, packed.data(), out, workspace.data());
    conv->backward_data(out, packed.data(), dense(dx, desc.input, desc.dtype), workspace.data());
    conv->backward_weights(in, out, dense(dw, desc.weights(), DType::f32), workspace.data());
  }
};

class CudaConv : public Cuda {
 protected:
  BoundConv bind(ConvOps& ops) {
    BoundConv bound;
    bound.desc.input = {2, 64, 96, 32};
    bound.desc.out_channels = 64;
    bound.desc.padding = Padding::all(1);
    bound.desc.bias = bound.desc.backward = true;
    bound.desc.activation = Activation::relu;
    bound.desc.dtype = DType::f32;
    bound.conv = ops.make(bound.desc);
    bound.x = random(bound.desc.input);
    bound.w = random(bound.desc.weights());
    bound.bias = random({1, 1, 1, 64});
    bound.y = random(bound.desc.output());
    bound.dx = random(bound.desc.input);
    bound.dw = random(bound.desc.weights());
    bound.packed = Buffer(kGpu, bound.conv->packed_bytes());
    bound.workspace = Buffer(kGpu, bound.conv->workspace_bytes());
    return bound;
  }
  std::vector<std::vector<std::byte>> results(const BoundConv& bound) {
    return {download(bound.y), download(bound.dx), download(bound.dw)};
  }

 private:
  Buffer random(const Shape& shape) {
    std::normal_distribution<float> value;
    std::vector<float> values(to_size(shape.elements()));
    for (float& v : values) v = value(random_);
    return upload(values);
  }
  std::mt19937 random_{1};
};

TEST_F(CudaConv, RunsInARecordedGraphWithTheSameBits) {
  const auto ops = cuda::make_conv_ops(stream());
  const BoundConv bound = bind(*ops);
  bound.run();
  const auto first = results(bound);
  bound.run();
  EXPECT_EQ(results(bound), first) << "a second run differs: " << bound.conv->implementation();

  CapturedGraph graph = CapturedGraph::record(stream(), [&] { bound.run(); });
  for (const Buffer* out : {&bound.y, &bound.dx, &bound.dw}) {
    zero_bytes(stream(), out->data(), out->bytes());
  }
  graph.launch(stream());
  EXPECT_EQ(results(bound), first) << "the replay differs";
}

TEST_F(CudaConv, OneShapeKeepsItsPlans) {
  const auto ops = cuda::make_conv_ops(stream());
  const BoundConv one = bind(*ops), other = bind(*ops);
  EXPECT_EQ(one.conv->implementation(), other.conv->implementation());
  EXPECT_TRUE(one.conv->implementation().starts_with("cuDNN " + cuda::cudnn_version()));
  EXPECT_NE(one.conv->implementation().find("engine"), std::string::npos);
}

TEST_F(CudaConv, TheDescriptionOfThisGpuGivesPlansWithoutIt) {
  const std::string json = cuda::CudnnDevice(stream()).json();
  RecordProperty("device", json);
  ConvDesc desc;
  desc.input = {4, 64, 128, 64};
  desc.out_channels = 64;
  desc.padding = Padding::all(1);
  desc.dtype = DType::f16;
  desc.backward = true;
  EXPECT_EQ(cuda::check_plans(desc, json).size(), 3u);
}

}  // namespace
}  // namespace macadam

#endif
