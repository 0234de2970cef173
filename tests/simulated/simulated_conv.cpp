#include "tests/simulated/simulated_conv.h"

#include <utility>
#include <vector>

#include "base/to_size.h"
#include "block_emulator.h"
#include "emulated_ops.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/reference/reference_ops.h"
#include "tests/simulated/device_wide.h"

namespace macadam::simulated {

namespace {

/// A convolution of the host whose calls wait for their turn, and which as cuDNN makes the gradient
/// of its weights in the dtype of the activations. As cuDNN may, it synchronises the
/// device at its first call in each direction.
class QueuedConvolution final : public Convolution {
 public:
  QueuedConvolution(std::unique_ptr<Convolution> inner, Stream& stream, DType dtype)
      : inner_(std::move(inner)), stream_(stream), dtype_(dtype) {}

  size_t workspace_bytes() const override { return inner_->workspace_bytes(); }
  size_t packed_bytes() const override { return inner_->packed_bytes(); }
  bool packs_like(const Convolution& other) const override {
    const auto* queued = dynamic_cast<const QueuedConvolution*>(&other);
    return queued != nullptr && inner_->packs_like(*queued->inner_);
  }
  std::string implementation() const override { return inner_->implementation(); }
  std::vector<Cast> casts(const Tensor& weights, const Tensor& bias, void* packed) const override {
    return inner_->casts(weights, bias, packed);
  }

  void pack(const Tensor& weights, const Tensor& bias, void* packed) override {
    queue([=, inner = inner_] { inner->pack(weights, bias, packed); });
  }
  void forward(const Tensor& x, const void* packed, const Tensor& y, void* workspace) override {
    load(forward_loaded_);
    queue([=, inner = inner_] { inner->forward(x, packed, y, workspace); });
  }
  void backward_data(const Tensor& dy, const void* packed, const Tensor& dx,
                     void* workspace) override {
    load(data_loaded_);
    queue([=, inner = inner_] { inner->backward_data(dy, packed, dx, workspace); });
  }
  DType weight_gradient_dtype() const override { return dtype_; }
  void backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw,
                        void* workspace) override {
    load(weights_loaded_);
    queue([=, inner = inner_] {
      if (dw.dtype == DType::f32) {
        inner->backward_weights(x, dy, dw, workspace);
        return;
      }
      std::vector<float> wide(to_size(dw.shape.elements()));
      const Tensor gradient(wide.data(), dw.shape, DType::f32);
      inner->backward_weights(x, dy, gradient, workspace);
      reference::make_elementwise_ops()->copy(gradient, dw, false);
    });
  }

 private:
  static void load(bool& loaded) {
    if (!std::exchange(loaded, true)) may_synchronize("loading a convolution's code");
  }
  void queue(std::function<void()> work) {
    static_cast<emulator::Queue*>(stream_.native())->push(std::move(work));
  }

  std::shared_ptr<Convolution> inner_;  // queued calls, and graphs of them, may outlive this
  Stream& stream_;
  DType dtype_;
  bool forward_loaded_ = false, data_loaded_ = false, weights_loaded_ = false;
};

/// oneDNN's where there is one and it knows the dtype here, else the reference's.
std::unique_ptr<ConvOps> host_conv_ops(DType dtype) {
#if defined(MACADAM_HAS_ONEDNN)
  if (dtype == DType::f32 || (dtype == DType::bf16 && cpu::has_bf16())) return cpu::make_conv_ops();
#endif
  static_cast<void>(dtype);
  return reference::make_conv_ops();
}

class SimulatedConvOps final : public ConvOps {
 public:
  explicit SimulatedConvOps(Stream& stream)
      : stream_(stream), emulated_(emulated::make_ops(stream).conv) {}

  std::unique_ptr<Convolution> make(const ConvDesc& desc) override {
    if (emulated::is_depthwise(desc)) return emulated_->make(desc);
    may_synchronize("making a convolution's plans");
    return std::make_unique<QueuedConvolution>(host_conv_ops(desc.dtype)->make(desc), stream_,
                                               desc.dtype);
  }

 private:
  Stream& stream_;
  std::unique_ptr<ConvOps> emulated_;
};

}  // namespace

std::unique_ptr<ConvOps> make_conv_ops(Stream& stream) {
  return std::make_unique<SimulatedConvOps>(stream);
}

}  // namespace macadam::simulated
