#include "kernels/cuda/cudnn_graph.h"

#include <cudnn.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <span>
#include <utility>

#include "kernels/cuda/cuda_check.h"
#include "kernels/error.h"

static_assert(CUDNN_VERSION >= 90800, "cuDNN 9.8 or newer is needed: plans from device properties");

namespace macadam::cuda {

namespace {

/// Identifiers of the tensors of every graph.
enum Uid : int64_t { uid_x = 1, uid_w, uid_y, uid_bias, uid_conv, uid_biased };

constexpr int64_t tensor_alignment = 16;

std::string last_error() {
  std::array<char, 1024> text{};
  cudnnGetLastErrorString(text.data(), text.size());
  std::string line(text.data());
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

void check_cudnn(cudnnStatus_t status, std::string_view call, std::string_view remedy) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw RunError(fmt::format("cuDNN: {} failed with {}", call, cudnnGetErrorString(status)),
                 last_error(), remedy);
}

constexpr std::string_view report_remedy =
    "run with CUDNN_LOGLEVEL_DBG=2 CUDNN_LOGDEST_DBG=stderr and report what cuDNN says";

/// The enum that names T to cuDNN's attribute functions.
template <typename T>
constexpr cudnnBackendAttributeType_t attribute_type = [] {
  if constexpr (std::is_same_v<T, int64_t>) return CUDNN_TYPE_INT64;
  if constexpr (std::is_same_v<T, float>) return CUDNN_TYPE_FLOAT;
  if constexpr (std::is_same_v<T, bool>) return CUDNN_TYPE_BOOLEAN;
  if constexpr (std::is_same_v<T, char>) return CUDNN_TYPE_CHAR;
  if constexpr (std::is_same_v<T, cudnnHandle_t>) return CUDNN_TYPE_HANDLE;
  if constexpr (std::is_same_v<T, cudnnDataType_t>) return CUDNN_TYPE_DATA_TYPE;
  if constexpr (std::is_same_v<T, cudnnConvolutionMode_t>) return CUDNN_TYPE_CONVOLUTION_MODE;
  if constexpr (std::is_same_v<T, cudnnPointwiseMode_t>) return CUDNN_TYPE_POINTWISE_MODE;
  if constexpr (std::is_same_v<T, cudnnBackendHeurMode_t>) return CUDNN_TYPE_HEUR_MODE;
  if constexpr (std::is_same_v<T, cudnnBackendNumericalNote_t>) return CUDNN_TYPE_NUMERICAL_NOTE;
  if constexpr (std::is_same_v<T, cudnnBackendBehaviorNote_t>) return CUDNN_TYPE_BEHAVIOR_NOTE;
}();

/// Owns one backend descriptor. Setters return *this, so that a descriptor reads as a list.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type) {
    check_cudnn(cudnnBackendCreateDescriptor(type, &raw_), "cudnnBackendCreateDescriptor",
                report_remedy);
  }
  Descriptor(Descriptor&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~Descriptor() {
    if (raw_ != nullptr) cudnnBackendDestroyDescriptor(raw_);
  }

  cudnnBackendDescriptor_t raw() const { return raw_; }

  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                  const void* values) {
    check_cudnn(cudnnBackendSetAttribute(raw_, name, type, count, values),
                fmt::format("cudnnBackendSetAttribute({})", static_cast<int>(name)), report_remedy);
    return *this;
  }
  template <typename T>
  Descriptor& set(cudnnBackendAttributeName_t name, const T& value) {
    return set(name, attribute_type<T>, 1, &value);
  }
  template <size_t N>
  Descriptor& set(cudnnBackendAttributeName_t name, const std::array<int64_t, N>& values) {
    return set(name, CUDNN_TYPE_INT64, N, values.data());
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.raw_);
  }

  Descriptor& finalize() {
    check_cudnn(cudnnBackendFinalize(raw_), "cudnnBackendFinalize", report_remedy);
    return *this;
  }

  template <typename T>
  T get(cudnnBackendAttributeName_t name) const {
    T value{};
    int64_t count = 0;
    check_cudnn(cudnnBackendGetAttribute(raw_, name, attribute_type<T>, 1, &count, &value),
                fmt::format("cudnnBackendGetAttribute({})", static_cast<int>(name)), report_remedy);
    return value;
  }
  /// As many values as there are, at most `capacity`.
  template <typename T>
  std::vector<T> get_list(cudnnBackendAttributeName_t name, int64_t capacity) const {
    std::vector<T> values(static_cast<size_t>(capacity));
    int64_t count = 0;
    check_cudnn(
        cudnnBackendGetAttribute(raw_, name, attribute_type<T>, capacity, &count, values.data()),
        fmt::format("cudnnBackendGetAttribute({})", static_cast<int>(name)), report_remedy);
    values.resize(static_cast<size_t>(std::min(count, capacity)));
    return values;
  }
  /// How many values an attribute has.
  int64_t count(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type) const {
    int64_t count = 0;
    check_cudnn(cudnnBackendGetAttribute(raw_, name, type, 0, &count, nullptr),
                fmt::format("cudnnBackendGetAttribute({})", static_cast<int>(name)), report_remedy);
    return count;
  }

 private:
  cudnnBackendDescriptor_t raw_ = nullptr;
};

cudnnDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::f32: return CUDNN_DATA_FLOAT;
    case DType::bf16: return CUDNN_DATA_BFLOAT16;
    case DType::f16: return CUDNN_DATA_HALF;
    case DType::u8: break;
  }
  throw std::logic_error("requirement violated: a floating-point dtype");
}

/// A dense tensor of channels-last memory. cuDNN names dimensions in NCHW order whatever the
/// layout, so the NHWC layout shows in the strides alone; weights {K,R,S,C} are {n,h,w,c} here.
Descriptor tensor(Uid uid, const Shape& shape, DType dtype, bool is_virtual = false) {
  const int64_t n = shape.n, h = shape.h, w = shape.w, c = shape.c;
  Descriptor descriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  descriptor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, static_cast<int64_t>(uid))
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, data_type(dtype))
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, tensor_alignment)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, std::array<int64_t, 4>{n, c, h, w})
      .set(CUDNN_ATTR_TENSOR_STRIDES, std::array<int64_t, 4>{h * w * c, 1, w * c, c})
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, is_virtual)
      .finalize();
  return descriptor;
}

Descriptor convolution(const ConvDesc& desc) {
  Descriptor descriptor(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  const int64_t stride = desc.stride, dilation = desc.dilation;
  const Padding& pad = desc.padding;
  descriptor.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t{2})
      .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION)
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, std::array<int64_t, 2>{pad.top, pad.left})
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, std::array<int64_t, 2>{pad.bottom, pad.right})
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, std::array<int64_t, 2>{stride, stride})
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, std::array<int64_t, 2>{dilation, dilation})
      .finalize();
  return descriptor;
}

/// The operations of a pass: a convolution, and behind it bias and ReLU where the pass has them.
struct Operations {
  std::deque<Descriptor> parts;  // all that the operations refer to, and themselves
  std::vector<cudnnBackendDescriptor_t> list;

  const Descriptor& keep(Descriptor part) { return parts.emplace_back(std::move(part)); }
  void add(Descriptor operation) {
    operation.finalize();
    list.push_back(keep(std::move(operation)).raw());
  }
  /// y = x + b, or y = relu(x) without b.
  void pointwise(cudnnPointwiseMode_t mode, const Descriptor& x, const Descriptor* b,
                 const Descriptor& y) {
    Descriptor math(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    math.set(CUDNN_ATTR_POINTWISE_MODE, mode)
        .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT)
        .finalize();
    Descriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, keep(std::move(math)))
        .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    if (b != nullptr) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *b);
    add(std::move(operation));
  }
};

Operations operations(const ConvDesc& desc, ConvPass pass) {
  const bool biased = pass == ConvPass::forward_bias || pass == ConvPass::forward_bias_relu;
  const bool relu = pass == ConvPass::forward_bias_relu;
  const Shape output = desc.output();
  Operations ops;
  const Descriptor& conv = ops.keep(convolution(desc));
  const Descriptor& x = ops.keep(tensor(uid_x, desc.input, desc.dtype));
  const Descriptor& w = ops.keep(tensor(uid_w, desc.weights(), desc.dtype));
  const Descriptor& y = ops.keep(tensor(uid_y, output, desc.dtype));

  if (pass == ConvPass::data) {
    Descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR);
    operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, conv)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, y)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, w)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, x)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, 1.0f)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, 0.0f);
    ops.add(std::move(operation));
    return ops;
  }
  if (pass == ConvPass::weights) {
    Descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR);
    operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, conv)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, y)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, x)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, w)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, 1.0f)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA, 0.0f);
    ops.add(std::move(operation));
    return ops;
  }

  // Between fused operations values stay in fp32.
  const Descriptor& sum = biased ? ops.keep(tensor(uid_conv, output, DType::f32, true)) : y;
  Descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, conv)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, sum)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, 1.0f)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, 0.0f);
  ops.add(std::move(operation));
  if (biased) {
    const Descriptor& bias = ops.keep(tensor(uid_bias, {1, 1, 1, desc.out_channels}, desc.dtype));
    const Descriptor& biased_sum =
        relu ? ops.keep(tensor(uid_biased, output, DType::f32, true)) : y;
    ops.pointwise(CUDNN_POINTWISE_ADD, sum, &bias, biased_sum);
    if (relu) ops.pointwise(CUDNN_POINTWISE_RELU_FWD, biased_sum, nullptr, y);
  }
  return ops;
}

/// What cuDNN says about an engine.
struct Engine {
  int64_t id = 0;
  bool acceptable = true;      // keeps the promises of find_plans()
  bool compiles_late = false;  // its plans are compiled when they are finalised, in seconds
};

Engine engine_of(const Descriptor& config, DType dtype) {
  const Descriptor descriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t raw = descriptor.raw();
  int64_t filled = 0;
  check_cudnn(cudnnBackendGetAttribute(config.raw(), CUDNN_ATTR_ENGINECFG_ENGINE,
                                       CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &filled, &raw),
              "cudnnBackendGetAttribute(ENGINECFG_ENGINE)", report_remedy);
  Engine engine;
  engine.id = descriptor.get<int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
  for (const auto note : descriptor.get_list<cudnnBackendNumericalNote_t>(
           CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT)) {
    switch (note) {
      case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
      case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13: engine.acceptable = false; break;
      case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:  // on fp32 inputs: TF32
      case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
      case CUDNN_NUMERICAL_NOTE_FFT:
        if (dtype == DType::f32) engine.acceptable = false;
        break;
      default: break;
    }
  }
  for (const auto note : descriptor.get_list<cudnnBackendBehaviorNote_t>(
           CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_BEHAVIOR_NOTE_TYPE_COUNT)) {
    if (note == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION) engine.compiles_late = true;
  }
  return engine;
}

}  // namespace

std::string_view name_of(ConvPass pass) {
  switch (pass) {
    case ConvPass::forward: return "forward";
    case ConvPass::forward_bias: return "forward+bias";
    case ConvPass::forward_bias_relu: return "forward+bias+relu";
    case ConvPass::data: return "data gradient";
    case ConvPass::weights: return "weight gradient";
  }
  throw std::logic_error("requirement violated: a convolution pass");
}

std::string cudnn_version() {
  const size_t version = cudnnGetVersion();
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

// --- CudnnDevice

struct CudnnDevice::Impl {
  cudnnHandle_t handle = nullptr;         // of a stream's GPU
  std::unique_ptr<Descriptor> described;  // of a description

  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (handle != nullptr) cudnnDestroy(handle);
  }
};

CudnnDevice::CudnnDevice() : impl_(std::make_unique<Impl>()) {}

CudnnDevice::CudnnDevice(Stream& stream) : CudnnDevice() {
  check(cudaSetDevice(stream.device().index), "cudaSetDevice");
  check_cudnn(
      cudnnCreate(&impl_->handle), "cudnnCreate",
      "check that the driver and cuDNN match this CUDA version (nvidia-smi), or use --device cpu");
  check_cudnn(cudnnSetStream(impl_->handle, static_cast<cudaStream_t>(stream.native())),
              "cudnnSetStream", report_remedy);
}

CudnnDevice CudnnDevice::described(std::string_view json) {
  CudnnDevice device;
  device.impl_->described = std::make_unique<Descriptor>(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  device.impl_->described->set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                               static_cast<int64_t>(json.size()), json.data());
  check_cudnn(cudnnBackendFinalize(device.impl_->described->raw()), "finalizing device properties",
              "describe the GPU with the keys that CudnnDevice::json() writes");
  return device;
}

CudnnDevice::CudnnDevice(CudnnDevice&&) noexcept = default;
CudnnDevice& CudnnDevice::operator=(CudnnDevice&&) noexcept = default;
CudnnDevice::~CudnnDevice() = default;

std::string CudnnDevice::json() const {
  const auto text_of = [](const Descriptor& properties) {
    const auto text = properties.get_list<char>(
        CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
        properties.count(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR));
    return std::string(text.data(), strnlen(text.data(), text.size()));
  };
  if (impl_->described) return text_of(*impl_->described);
  Descriptor properties(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  properties.set(CUDNN_ATTR_DEVICEPROP_HANDLE, impl_->handle).finalize();
  return text_of(properties);
}

// --- CudnnPlan

struct CudnnPlan::Impl {
  Descriptor config{CUDNN_BACKEND_ENGINECFG_DESCRIPTOR};
  Descriptor plan{CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR};
  int64_t engine = 0;
  size_t workspace_bytes = 0;
};

CudnnPlan::CudnnPlan(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CudnnPlan::CudnnPlan(CudnnPlan&&) noexcept = default;
CudnnPlan& CudnnPlan::operator=(CudnnPlan&&) noexcept = default;
CudnnPlan::~CudnnPlan() = default;
size_t CudnnPlan::workspace_bytes() const { return impl_->workspace_bytes; }
std::string CudnnPlan::name() const { return fmt::format("engine {}", impl_->engine); }

namespace {

/// The engine configurations that one heuristic proposes, best first; none when it has no answer.
std::vector<Descriptor> configurations(const CudnnDevice::Impl& device, const Descriptor& graph,
                                       cudnnBackendHeurMode_t mode, std::string& why) {
  Descriptor heuristic(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph).set(CUDNN_ATTR_ENGINEHEUR_MODE, mode);
  if (device.described) heuristic.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *device.described);
  if (cudnnBackendFinalize(heuristic.raw()) != CUDNN_STATUS_SUCCESS) {
    why = last_error();
    return {};
  }
  const int64_t count =
      heuristic.count(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR);
  std::vector<Descriptor> configs;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (int64_t i = 0; i < count; ++i) {
    raw.push_back(configs.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).raw());
  }
  int64_t filled = 0;
  check_cudnn(cudnnBackendGetAttribute(heuristic.raw(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                       CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &filled, raw.data()),
              "cudnnBackendGetAttribute(ENGINEHEUR_RESULTS)", report_remedy);
  configs.erase(configs.begin() + static_cast<std::ptrdiff_t>(filled), configs.end());
  return configs;
}

/// The plan of `config`, or null and why cuDNN has none.
std::unique_ptr<CudnnPlan::Impl> finalize_plan(const CudnnDevice::Impl& device, Descriptor config,
                                               int64_t engine, std::string& why) {
  auto impl = std::make_unique<CudnnPlan::Impl>();
  impl->engine = engine;
  impl->config = std::move(config);
  impl->plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, impl->config);
  if (device.handle != nullptr) impl->plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, device.handle);
  if (device.described) impl->plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *device.described);
  if (cudnnBackendFinalize(impl->plan.raw()) != CUDNN_STATUS_SUCCESS) {
    why = last_error();
    return nullptr;
  }
  impl->workspace_bytes =
      static_cast<size_t>(impl->plan.get<int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE));
  return impl;
}

}  // namespace

std::vector<CudnnPlan> find_plans(const CudnnDevice& device, const ConvDesc& desc, ConvPass pass,
                                  size_t limit, std::string* why) {
  const CudnnDevice::Impl& impl = device.impl();
  const Operations ops = operations(desc, pass);
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
            static_cast<int64_t>(ops.list.size()), ops.list.data());
  if (impl.handle != nullptr) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, impl.handle);

  std::string reason = "no engine supports the graph";
  std::vector<CudnnPlan> plans;
  const auto keep = [&](Descriptor config, int64_t engine) {
    if (auto plan = finalize_plan(impl, std::move(config), engine, reason)) {
      plans.emplace_back(std::move(plan));
    }
    return plans.size() < limit;
  };
  const auto search = [&] {
    std::vector<std::pair<Descriptor, int64_t>> late;
    for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
      for (Descriptor& config : configurations(impl, graph, mode, reason)) {
        const Engine engine = engine_of(config, desc.dtype);
        if (!engine.acceptable) {
          reason = "every engine that fits is inexact or not deterministic";
        } else if (engine.compiles_late) {
          late.emplace_back(std::move(config), engine.id);
        } else if (!keep(std::move(config), engine.id)) {
          return;
        }
      }
    }
    if (!plans.empty()) return;
    for (auto& [config, engine] : late) {
      if (!keep(std::move(config), engine)) return;
    }
  };
  if (cudnnBackendFinalize(graph.raw()) == CUDNN_STATUS_SUCCESS) {
    search();
  } else {
    reason = last_error();
  }
  if (plans.empty() && why != nullptr) *why = reason;
  return plans;
}

// --- CudnnExecution

struct CudnnExecution::Pack {
  ConvOperands operands;
  void* workspace = nullptr;
  Descriptor descriptor{CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR};
};

CudnnExecution::CudnnExecution(const CudnnDevice& device, std::shared_ptr<const CudnnPlan> plan,
                               ConvPass pass)
    : device_(&device), plan_(std::move(plan)), pass_(pass) {}
CudnnExecution::CudnnExecution(CudnnExecution&&) noexcept = default;
CudnnExecution& CudnnExecution::operator=(CudnnExecution&&) noexcept = default;
CudnnExecution::~CudnnExecution() = default;

void CudnnExecution::run(const ConvOperands& operands, void* workspace) {
  if (!pack_ || pack_->operands != operands || pack_->workspace != workspace) {
    std::array<int64_t, 4> uids{uid_x, uid_w, uid_y, uid_bias};
    std::array<void*, 4> addresses{operands.x, operands.w, operands.y, operands.bias};
    const bool biased = pass_ == ConvPass::forward_bias || pass_ == ConvPass::forward_bias_relu;
    const int64_t used = biased ? 4 : 3;
    for (size_t i = 0; i < static_cast<size_t>(used); ++i) {
      require(reinterpret_cast<uintptr_t>(addresses[i]) % tensor_alignment == 0,
              "tensors of a convolution are 16-byte aligned");
    }
    auto pack = std::make_unique<Pack>();
    pack->operands = operands;
    pack->workspace = workspace;
    pack->descriptor.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, used, uids.data())
        .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, used, addresses.data())
        .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace)
        .finalize();
    pack_ = std::move(pack);
  }
  check_cudnn(cudnnBackendExecute(device_->impl().handle, plan_->impl().plan.raw(),
                                  pack_->descriptor.raw()),
              fmt::format("cudnnBackendExecute({}, {})", name_of(pass_), plan_->name()),
              report_remedy);
}

}  // namespace macadam::cuda
