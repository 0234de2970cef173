#pragma once
// 2-D convolution (cross-correlation, as in every deep-learning library), NHWC.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/activation.h"
#include "kernels/elementwise.h"
#include "kernels/tensor.h"

namespace macadam {

/// Zero padding in pixels on each side; explicit because TF-style networks pad asymmetrically.
struct Padding {
  int left = 0, right = 0, top = 0, bottom = 0;

  static Padding all(int p) { return {p, p, p, p}; }
  bool operator==(const Padding&) const = default;
};

struct ConvDesc {
  Shape input;
  int out_channels = 0;
  int kernel_h = 3, kernel_w = 3;
  int stride = 1;
  int dilation = 1;
  Padding padding{};
  int groups = 1;
  bool bias = false;
  // y = activation(conv + bias), forward only. NaN passes, but through oneDNN's ReLUs and
  // hardsigmoid on the CPU.
  Activation activation = Activation::identity;
  DType dtype = DType::f32;    // of x, y and their gradients; arithmetic accumulates in fp32
  bool backward = false;       // the backward functions will be called
  bool input_gradient = true;  // ... backward_data among them

  Shape output() const;
  /// {K, kernel_h, kernel_w, C / groups}: the layout of weights and their gradient, fp32.
  Shape weights() const;
  /// Multiply-adds of one forward pass.
  int64_t macs() const;
  /// "bf16 3x3 convolution of 1x8x384x32 to 32 channels", with what is unusual behind it.
  std::string text() const;
};

/// What a convolution computes: y, the gradient of x, that of the weights. That of the bias is
/// EpilogueOps'.
enum class ConvPass { forward, data_gradient, weight_gradient };

/// "forward", "data gradient", "weight gradient".
std::string_view name_of(ConvPass pass);

/// One convolution compiled for one shape, dtype and device. Construction may be slow (plans are
/// chosen); calls allocate nothing. Tensors are dense; `workspace` has workspace_bytes() and
/// `packed` has packed_bytes(), both 64-byte aligned device memory of the caller.
class Convolution {
 public:
  virtual ~Convolution() = default;

  virtual size_t workspace_bytes() const = 0;
  virtual size_t packed_bytes() const = 0;
  /// Whether `other`, which the same ops made of a ConvDesc that differs in the input's batch,
  /// height and width alone, reads what pack() writes here. Layouts need not depend on these.
  virtual bool packs_like(const Convolution& other) const {
    return packed_bytes() == other.packed_bytes();
  }
  /// Which implementation runs, for people: "oneDNN brgconv:avx512_core_amx", "cuDNN engine 34".
  virtual std::string implementation() const = 0;
  /// The same of one pass, where passes have implementations of their own. Requires that the
  /// convolution was made with it.
  virtual std::string implementation_of(ConvPass pass) const {
    static_cast<void>(pass);
    return implementation();
  }

  /// Rewrites fp32 weights {K,kh,kw,C/g} and bias {1,1,1,K} (null data without bias) into the
  /// layout and dtype that the other functions read. Call after every change of the weights.
  virtual void pack(const Tensor& weights, const Tensor& bias, void* packed) = 0;
  /// The casts that pack() consists of, where it does nothing else; else none. Many layers' casts
  /// are one launch (ElementwiseOps::cast_all).
  virtual std::vector<Cast> casts(const Tensor& weights, const Tensor& bias, void* packed) const {
    static_cast<void>(weights);
    static_cast<void>(bias);
    static_cast<void>(packed);
    return {};
  }
  /// y = activation(conv(x) + bias).
  virtual void forward(const Tensor& x, const void* packed, const Tensor& y, void* workspace) = 0;
  /// dx = gradient of the input, given dy of the convolution's own output (before the activation).
  virtual void backward_data(const Tensor& dy, const void* packed, const Tensor& dx,
                             void* workspace) = 0;
  /// What dw may be in besides fp32: the dtype in which the device makes it. To fp32 from there it
  /// is a cast, and many layers' are one launch.
  virtual DType weight_gradient_dtype() const { return DType::f32; }
  /// dw {K,kh,kw,C/g}, in fp32 or weight_gradient_dtype(), overwritten.
  virtual void backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw,
                                void* workspace) = 0;
};

class ConvOps {
 public:
  virtual ~ConvOps() = default;
  /// Throws RunError naming the shape when no implementation supports it.
  virtual std::unique_ptr<Convolution> make(const ConvDesc& desc) = 0;
};

}  // namespace macadam
