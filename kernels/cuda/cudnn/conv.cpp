// Convolutions on cuDNN: plans are searched and timed when a convolution is made, then only run.

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/cache_file.h"
#include "base/error.h"
#include "base/round_up.h"
#include "base/to_size.h"
#include "kernels/cuda/conv_epilogue.h"
#include "kernels/cuda/cuda_check.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/cudnn/tuner.h"
#include "kernels/cuda/stopwatch.h"
#include "kernels/split_conv.h"

namespace macadam::cuda {

namespace {

constexpr size_t aligned(size_t bytes) { return round_up(bytes, kMemoryAlignment); }

std::byte* aligned(void* data) {
  const auto address = reinterpret_cast<size_t>(data);
  return static_cast<std::byte*>(data) + (aligned(address) - address);
}

/// The paths of one convolution; gradients only where they were asked for.
struct ConvPaths {
  std::optional<ConvPath> forward, data, weights;

  std::optional<ConvPath>& of(ConvDirection direction) {
    return direction == ConvDirection::forward ? forward
           : direction == ConvDirection::data  ? data
                                               : weights;
  }
};

class CudnnConvolution final : public Convolution {
 public:
  CudnnConvolution(std::shared_ptr<const CudnnDevice> device, Stream& stream, const ConvDesc& desc,
                   const ConvPaths& paths)
      : device_(std::move(device)),
        stream_(stream),
        elementwise_(make_elementwise_ops(stream)),
        desc_(desc),
        paths_(paths) {
    const auto execution = [&](const std::optional<ConvPath>& path) {
      std::optional<CudnnExecution> result;
      if (path) result.emplace(*device_, path->plan, path->pass);
      return result;
    };
    forward_ = execution(paths.forward);
    data_ = execution(paths.data);
    weights_ = execution(paths.weights);
  }

  // Callers align to 64 bytes; the rest of an alignment is added on top.
  size_t workspace_bytes() const override {
    size_t bytes = 0;
    if (paths_.forward) bytes = std::max(bytes, paths_.forward->plan->workspace_bytes());
    if (paths_.data) bytes = std::max(bytes, paths_.data->plan->workspace_bytes());
    if (paths_.weights) {
      bytes = std::max(bytes, narrow_gradient_bytes() + paths_.weights->plan->workspace_bytes());
    }
    return bytes == 0 ? 0 : bytes + kMemoryAlignment;
  }

  size_t packed_bytes() const override {
    const size_t bias = has_epilogue(desc_) ? desc_.out_channels * size_of(desc_.dtype) : 0;
    return bias_offset() + bias;
  }

  std::string implementation() const override {
    std::string text = "cuDNN " + cudnn_version();
    const auto add = [&](ConvDirection direction, const std::optional<ConvPath>& path) {
      if (path) text += fmt::format(", {} {}", name_of(direction), path->name());
    };
    add(ConvDirection::forward, paths_.forward);
    add(ConvDirection::data, paths_.data);
    add(ConvDirection::weights, paths_.weights);
    return text;
  }

  void pack(const Tensor& weights, const Tensor& bias, void* packed) override {
    for (const Cast& cast : all_casts(weights, bias, packed)) {
      elementwise_->copy(cast.from, cast.to, false);
    }
    if (packs_zeros()) {
      zero_bytes(stream_, static_cast<std::byte*>(packed) + bias_offset(),
                 desc_.out_channels * size_of(desc_.dtype));
    }
  }

  std::vector<Cast> casts(const Tensor& weights, const Tensor& bias, void* packed) const override {
    return packs_zeros() ? std::vector<Cast>() : all_casts(weights, bias, packed);
  }

  void forward(const Tensor& x, const void* packed, const Tensor& y, void* workspace) override {
    require_shapes(x, y);
    require(forward_.has_value(), "a convolution with a forward plan");
    void* weights = const_cast<void*>(packed);
    void* bias = static_cast<std::byte*>(weights) + bias_offset();
    const bool fused = has_epilogue(desc_) && !paths_.forward->epilogue;
    forward_->run({x.data, weights, y.data, fused ? bias : nullptr}, aligned(workspace));
    stream_.count_launch();
    if (paths_.forward->epilogue) add_bias(stream_, y, bias, desc_.activation);
  }

  void backward_data(const Tensor& dy, const void* packed, const Tensor& dx,
                     void* workspace) override {
    require_shapes(dx, dy);
    require(data_.has_value(), "a convolution made with backward and input_gradient");
    data_->run({dx.data, const_cast<void*>(packed), dy.data, nullptr}, aligned(workspace));
    stream_.count_launch();
  }

  /// The plan of the weight gradient alone: dw in the convolution's dtype, since cuDNN has none
  /// that writes fp32 from 16-bit inputs. `workspace`: the plan's.
  void run_weights_plan(const Tensor& x, const Tensor& dy, void* dw, void* workspace) {
    require_shapes(x, dy);
    require(weights_.has_value(), "a convolution made with backward");
    weights_->run({x.data, dw, dy.data, nullptr}, workspace);
    stream_.count_launch();
  }

  DType weight_gradient_dtype() const override { return desc_.dtype; }

  void backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw,
                        void* workspace) override {
    require(dw.shape == desc_.weights() && dw.dense(), "a weight gradient {K,kh,kw,C/g}");
    std::byte* memory = aligned(workspace);
    if (dw.dtype == desc_.dtype) {
      run_weights_plan(x, dy, dw.data, memory + narrow_gradient_bytes());
    } else {
      run_weights_plan(x, dy, memory, memory + narrow_gradient_bytes());
      elementwise_->copy(Tensor(memory, dw.shape, desc_.dtype, stream_.device()), dw, false);
    }
  }

 private:
  void require_shapes(const Tensor& x, const Tensor& y) const {
    require(x.shape == desc_.input && x.dtype == desc_.dtype && x.dense(),
            "x as the convolution was made for");
    require(y.shape == desc_.output() && y.dtype == desc_.dtype && y.dense(),
            "y as the convolution was made for");
  }
  /// An activation without a bias runs with one of zeros.
  bool packs_zeros() const { return has_epilogue(desc_) && !desc_.bias; }

  std::vector<Cast> all_casts(const Tensor& weights, const Tensor& bias, void* packed) const {
    require(weights.shape == desc_.weights() && weights.dense(), "weights {K,kh,kw,C/g}");
    std::vector<Cast> casts{
        {weights, Tensor(packed, weights.shape, desc_.dtype, stream_.device())}};
    if (desc_.bias) {
      require(bias.shape == Shape{1, 1, 1, desc_.out_channels}, "a bias {1,1,1,K}");
      std::byte* target = static_cast<std::byte*>(packed) + bias_offset();
      casts.push_back({bias, Tensor(target, bias.shape, desc_.dtype, stream_.device())});
    }
    return casts;
  }
  /// Where the bias lies behind the packed weights.
  size_t bias_offset() const {
    return aligned(to_size(desc_.weights().elements()) * size_of(desc_.dtype));
  }
  /// Workspace for the weight gradient in 16 bits.
  size_t narrow_gradient_bytes() const { return desc_.dtype == DType::f32 ? 0 : bias_offset(); }

  std::shared_ptr<const CudnnDevice> device_;
  Stream& stream_;
  std::unique_ptr<ElementwiseOps> elementwise_;  // casts weights and their gradient
  ConvDesc desc_;
  ConvPaths paths_;
  std::optional<CudnnExecution> forward_, data_, weights_;
};

/// Times paths on the GPU, as captured replays, which is how they will run (launched one by one,
/// short kernels measure the host), and on random data: kernels run faster on zeros.
class TimedTrials final : public ConvTrials {
 public:
  TimedTrials(std::shared_ptr<const CudnnDevice> device, Stream& stream, const ConvDesc& desc)
      : device_(std::move(device)), stream_(stream), desc_(desc), stopwatch_(stream) {}

  /// Memory for any of the candidates, with random values in all that a convolution reads.
  void prepare(ConvDirection direction, std::span<const ConvPath> candidates) override {
    size_t workspace = 0, packed = 0;
    for (const ConvPath& path : candidates) {
      const CudnnConvolution conv(device_, stream_, desc_, only(direction, path));
      workspace = std::max(workspace, conv.workspace_bytes());
      packed = std::max(packed, conv.packed_bytes());
    }
    if (workspace_.bytes() < workspace) workspace_ = Buffer(stream_.device(), workspace);
    if (packed_) return;
    x_ = random(desc_.input, desc_.dtype, 1);
    y_ = random(desc_.output(), desc_.dtype, 2);
    packed_ = Buffer(stream_.device(), packed);
    fill_random(stream_, packed_.data(), desc_.dtype,
                static_cast<int64_t>(packed / size_of(desc_.dtype)), 3);
    dw_ = Buffer(stream_.device(), size_of(desc_.dtype) * to_size(desc_.weights().elements()));
  }

  void warm_up(ConvDirection direction, const ConvPath& path) override {
    CudnnConvolution conv(device_, stream_, desc_, only(direction, path));
    milliseconds(direction, conv, 1);  // loads the kernels: the device waits
    float once = milliseconds(direction, conv, 1);
    for (float passed = 0; passed < kWarmUpMilliseconds;) {
      const float rest = kWarmUpMilliseconds - passed;
      const int repeats = std::clamp(static_cast<int>(rest / once), 1, kMostWarmUpRepeats);
      once = milliseconds(direction, conv, repeats);
      passed += once * static_cast<float>(repeats);
    }
  }

  float measure(ConvDirection direction, const ConvPath& path) override {
    CudnnConvolution conv(device_, stream_, desc_, only(direction, path));
    milliseconds(direction, conv, 1);  // loads the kernels
    const float once = milliseconds(direction, conv, 1);
    const int repeats = std::clamp(static_cast<int>(kTrialMilliseconds / once), 2, kMostRepeats);
    CapturedGraph graph = CapturedGraph::record(stream_, [&] { run(direction, conv, repeats); });
    graph.launch(stream_);  // the first launch uploads it
    stopwatch_.start();
    graph.launch(stream_);
    return std::max(stopwatch_.stop() / static_cast<float>(repeats), kLeastMilliseconds);
  }

 private:
  /// An idle GPU takes its clocks up over a tenth of a second or more.
  static constexpr float kWarmUpMilliseconds = 200;
  static constexpr float kTrialMilliseconds = 3;
  static constexpr int kMostRepeats = 20, kMostWarmUpRepeats = 200;
  static constexpr float kLeastMilliseconds = 1e-4f;

  /// Queues so many runs of the plan, with no more of what surrounds it than bias and activation.
  void run(ConvDirection direction, CudnnConvolution& conv, int repeats) {
    const Tensor x(x_.data(), desc_.input, desc_.dtype, stream_.device());
    const Tensor y(y_.data(), desc_.output(), desc_.dtype, stream_.device());
    for (int i = 0; i < repeats; ++i) {
      switch (direction) {
        case ConvDirection::forward: conv.forward(x, packed_.data(), y, workspace_.data()); break;
        case ConvDirection::data:
          conv.backward_data(y, packed_.data(), x, workspace_.data());
          break;
        case ConvDirection::weights:
          conv.run_weights_plan(x, y, dw_.data(), aligned(workspace_.data()));
          break;
      }
    }
  }

  /// Of one run launched by itself, on average; more than 0.
  float milliseconds(ConvDirection direction, CudnnConvolution& conv, int repeats) {
    stopwatch_.start();
    run(direction, conv, repeats);
    return std::max(stopwatch_.stop() / static_cast<float>(repeats), kLeastMilliseconds);
  }

  static ConvPaths only(ConvDirection direction, const ConvPath& path) {
    ConvPaths paths;
    paths.of(direction) = path;
    return paths;
  }

  Buffer random(const Shape& shape, DType dtype, uint32_t seed) {
    Buffer buffer(stream_.device(), to_size(shape.elements()) * size_of(dtype));
    fill_random(stream_, buffer.data(), dtype, shape.elements(), seed);
    return buffer;
  }

  std::shared_ptr<const CudnnDevice> device_;
  Stream& stream_;
  ConvDesc desc_;
  Stopwatch stopwatch_;
  Buffer x_, y_, packed_, dw_, workspace_;
};

/// What plans depend on besides their convolution. The driver compiles some of them.
std::string text_of(Device device) {
  const DeviceInfo info = device_info(device);
  int driver = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  return fmt::format("{}, compute capability {}.{}, driver {}.{}, cuDNN {}", info.name,
                     info.compute_capability / 10, info.compute_capability % 10, driver / 1000,
                     driver / 10 % 100, cudnn_version());
}

class CudnnConvOps final : public ConvOps {
 public:
  explicit CudnnConvOps(Stream& stream)
      : stream_(stream),
        device_(std::make_shared<const CudnnDevice>(stream)),
        tuner_(device_, PlanCache(cache_folder(), text_of(stream.device()))) {}

  std::unique_ptr<Convolution> make(const ConvDesc& desc) override {
    require(
        desc.groups > 0 && desc.input.c % desc.groups == 0 && desc.out_channels % desc.groups == 0,
        "channels that the groups divide");
    const Shape output = desc.output();
    require(output.h > 0 && output.w > 0, "a convolution with a non-empty output");
    // cuDNN has few engines for these and slow ones. They are not timed against the kernel here,
    // which packs the weights in another order than they do: a direction could not change sides
    // without a second copy of the weights.
    if (is_depthwise(desc)) return make_depthwise(stream_, desc);
    const std::vector<int> pieces = batch_pieces(desc, kMostElements);
    if (pieces.size() == 1) return make_whole(desc);
    return make_split_convolution(
        desc, pieces, [this](const ConvDesc& piece) { return make_whole(piece); },
        make_elementwise_ops(stream_), stream_.device());
  }

 private:
  std::unique_ptr<Convolution> make_whole(const ConvDesc& desc) {
    TimedTrials trials(device_, stream_, desc);
    const auto choose = [&](ConvDirection direction) {
      return tuner_.choose(desc, direction, trials);
    };
    ConvPaths paths;
    paths.forward = choose(ConvDirection::forward);
    if (desc.backward) paths.weights = choose(ConvDirection::weights);
    if (desc.backward && desc.input_gradient) paths.data = choose(ConvDirection::data);
    return std::make_unique<CudnnConvolution>(device_, stream_, desc, paths);
  }

  Stream& stream_;
  std::shared_ptr<const CudnnDevice> device_;
  ConvTuner tuner_;
};

}  // namespace

std::unique_ptr<ConvOps> make_conv_ops(Stream& stream) {
  return std::make_unique<CudnnConvOps>(stream);
}

std::string library_version() { return "cuDNN " + cudnn_version(); }

}  // namespace macadam::cuda
