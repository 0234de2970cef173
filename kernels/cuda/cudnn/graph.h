#pragma once
// What the convolutions need of cuDNN's graph API, without cuDNN's types: those stay behind
// cudnn_descriptor.h. A graph here is one convolution pass, with bias and ReLU fused where asked.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/conv.h"
#include "kernels/device.h"

namespace macadam::cuda {

/// One operation graph of a convolution. All read and write the operands of ConvOperands.
enum class ConvPass : uint8_t {
  forward,            // y = conv(x, w)
  forward_bias,       // y = conv(x, w) + bias
  forward_bias_relu,  // y = max(conv(x, w) + bias, 0)
  data,               // x = gradient of the input, given y
  weights,            // w = gradient of the weights, given x and y
};

/// "forward", "forward+bias", "forward+bias+relu", "data gradient", "weight gradient".
std::string_view name_of(ConvPass pass);

/// Bytes; cuDNN's plans are made for operands that lie so.
inline constexpr int64_t kOperandAlignment = 16;

/// Bytes of workspace that a convolution should do with. Plans of 16 bits stay far below it. In
/// fp32 many are for NCHW and copy the tensors on both sides: 2 GiB for 8 images of 512x1024 in 64
/// channels, as much as those tensors themselves. What wants more leaves data gradients with simple
/// engines that need no workspace.
inline constexpr size_t kWorkspaceLimit = size_t{2} << 30;

/// Elements of a convolution's input or output up to which cuDNN has deterministic engines with
/// tensor cores for every pass; of more it sums the weight gradient in 16 bits or leaves them idle.
inline constexpr int64_t kMostElements = int64_t{1} << 31;

/// Device addresses, aligned to operand_alignment, dense NHWC (weights KRSC), all in the
/// convolution's dtype.
struct ConvOperands {
  void* x = nullptr;
  void* w = nullptr;
  void* y = nullptr;
  void* bias = nullptr;

  bool operator==(const ConvOperands&) const = default;
};

/// A device that cuDNN plans for: the GPU of a stream, or only the description of a GPU. Plans made
/// for a description cannot run. Move-only; must outlive its plans.
class CudnnDevice {
 public:
  /// Throws RunError when cuDNN cannot start on the GPU.
  explicit CudnnDevice(Stream& stream);
  /// `json`: the properties as cuDNN serialises them (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION).
  /// Needs no GPU and no driver. Throws RunError when cuDNN does not accept the description.
  static CudnnDevice described(std::string_view json);

  CudnnDevice(CudnnDevice&&) noexcept;
  CudnnDevice& operator=(CudnnDevice&&) noexcept;
  ~CudnnDevice();

  /// The device's properties as JSON, for described(), also on another machine.
  std::string json() const;

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  CudnnDevice();
  std::unique_ptr<Impl> impl_;
};

/// What tells a plan from the others of its graph: enough to build it again.
struct PlanRecipe {
  /// A choice that an engine leaves open, by cuDNN's number for it: tile size, splits, stages, …
  struct Knob {
    int type = 0;
    int64_t value = 0;
    bool operator==(const Knob&) const = default;
  };
  int64_t engine = 0;
  std::vector<Knob> knobs;

  bool operator==(const PlanRecipe&) const = default;
};

/// One engine, finalised for one graph on one device. Immutable.
class CudnnPlan {
 public:
  struct Impl;
  explicit CudnnPlan(std::unique_ptr<Impl> impl);
  CudnnPlan(CudnnPlan&&) noexcept;
  CudnnPlan& operator=(CudnnPlan&&) noexcept;
  ~CudnnPlan();

  size_t workspace_bytes() const;
  /// "engine 34".
  std::string name() const;
  PlanRecipe recipe() const;
  const Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// Up to `limit` plans that finalise for `pass` of the convolution `desc`, the most promising first
/// (heuristics mode A, then FALLBACK). Left out are engines that are not deterministic, that reduce
/// in less than fp32, or, for fp32, that round the inputs (TF32). Engines that compile their
/// kernels here and now, which takes seconds, serve where there is no other, and plans with more
/// workspace than `most_workspace` where there are not even those. When there is no plan, the
/// result is empty and `why`, if given, receives cuDNN's last reason.
std::vector<CudnnPlan> find_plans(const CudnnDevice& device, const ConvDesc& desc, ConvPass pass,
                                  size_t limit, size_t most_workspace = kWorkspaceLimit,
                                  std::string* why = nullptr);

/// The plan of a recipe, in a small part of the time that find_plans() takes. None when cuDNN does
/// not build it (any more), or when find_plans() would have left its engine out.
std::optional<CudnnPlan> build_plan(const CudnnDevice& device, const ConvDesc& desc, ConvPass pass,
                                    const PlanRecipe& recipe);

/// Runs a plan. cuDNN's variant pack is rebuilt only when an address changed since the last call.
class CudnnExecution {
 public:
  CudnnExecution(const CudnnDevice& device, std::shared_ptr<const CudnnPlan> plan, ConvPass pass);
  CudnnExecution(CudnnExecution&&) noexcept;
  CudnnExecution& operator=(CudnnExecution&&) noexcept;
  ~CudnnExecution();

  const CudnnPlan& plan() const { return *plan_; }
  /// `workspace`: plan().workspace_bytes() bytes of device memory, 256-byte aligned.
  void run(const ConvOperands& operands, void* workspace);

 private:
  struct Pack;
  const CudnnDevice* device_;
  std::shared_ptr<const CudnnPlan> plan_;
  ConvPass pass_;
  std::unique_ptr<Pack> pack_;
};

/// "9.19.0", of the library that is loaded.
std::string cudnn_version();

}  // namespace macadam::cuda
