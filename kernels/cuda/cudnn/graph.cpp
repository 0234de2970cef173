#include "kernels/cuda/cudnn/graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/to_size.h"
#include "kernels/cuda/cuda_check.h"
#include "kernels/cuda/cudnn/descriptor.h"
#include "kernels/cuda/cudnn/operations.h"

namespace macadam::cuda {

namespace {

/// What cuDNN says about an engine.
struct Engine {
  int64_t id = 0;
  bool acceptable = true;      // keeps the promises of find_plans()
  bool compiles_late = false;  // its plans are compiled when they are finalised, in seconds
};

Engine engine_of(const Descriptor& descriptor, DType dtype) {
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
              "cudnnSetStream", kReportRemedy);
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

PlanRecipe CudnnPlan::recipe() const {
  PlanRecipe recipe{impl_->engine, {}};
  for (const Descriptor& choice : impl_->config.get_descriptors(
           CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR,
           CUDNN_KNOB_TYPE_COUNTS)) {
    recipe.knobs.push_back(
        {static_cast<int>(choice.get<cudnnBackendKnobType_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE)),
         choice.get<int64_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE)});
  }
  return recipe;
}

namespace {

/// The graph of one pass, finalised unless cuDNN refused it.
struct OperationGraph {
  OperationGraph(const CudnnDevice::Impl& device, const ConvDesc& desc, ConvPass pass)
      : operations(operations_of(desc, pass)) {
    descriptor.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                   static_cast<int64_t>(operations.list.size()), operations.list.data());
    if (device.handle != nullptr) descriptor.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, device.handle);
    if (cudnnBackendFinalize(descriptor.raw()) != CUDNN_STATUS_SUCCESS) refused = last_error();
  }

  Operations operations;
  Descriptor descriptor{CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR};
  std::string refused;  // cuDNN's reason
};

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
  return heuristic.get_descriptors(
      CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
      heuristic.count(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR));
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
      to_size(impl->plan.get<int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE));
  return impl;
}

}  // namespace

std::vector<CudnnPlan> find_plans(const CudnnDevice& device, const ConvDesc& desc, ConvPass pass,
                                  size_t limit, size_t most_workspace, std::string* why) {
  const CudnnDevice::Impl& impl = device.impl();
  const OperationGraph graph(impl, desc, pass);

  std::string reason = "no engine supports the graph";
  std::vector<CudnnPlan> plans, large;
  const auto keep = [&](Descriptor config, int64_t engine) {
    if (auto plan = finalize_plan(impl, std::move(config), engine, reason)) {
      auto& list = plan->workspace_bytes <= most_workspace ? plans : large;
      if (list.size() < limit) list.emplace_back(std::move(plan));
    }
    return plans.size() < limit;
  };
  const auto search = [&] {
    std::vector<std::pair<Descriptor, int64_t>> late;
    for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
      for (Descriptor& config : configurations(impl, graph.descriptor, mode, reason)) {
        const auto engines =
            config.get_descriptors(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR, 1);
        const Engine engine = engine_of(engines.at(0), desc.dtype);
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
  if (graph.refused.empty()) {
    search();
  } else {
    reason = graph.refused;
  }
  if (plans.empty()) plans = std::move(large);
  if (plans.empty() && why != nullptr) *why = reason;
  return plans;
}

std::optional<CudnnPlan> build_plan(const CudnnDevice& device, const ConvDesc& desc, ConvPass pass,
                                    const PlanRecipe& recipe) {
  const CudnnDevice::Impl& impl = device.impl();
  const OperationGraph graph(impl, desc, pass);
  if (!graph.refused.empty()) return std::nullopt;

  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  engine.set(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph.descriptor);
  if (impl.described) engine.set(CUDNN_ATTR_ENGINE_DEVICEPROP, *impl.described);
  // From here on cuDNN may say no to values that another version wrote.
  if (!engine.accepts(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, recipe.engine) || !engine.finalizes() ||
      !engine_of(engine, desc.dtype).acceptable) {
    return std::nullopt;
  }
  std::vector<Descriptor> knobs;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (const PlanRecipe::Knob& knob : recipe.knobs) {
    Descriptor& choice = knobs.emplace_back(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
    if (!choice.accepts(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE,
                        static_cast<cudnnBackendKnobType_t>(knob.type)) ||
        !choice.accepts(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, knob.value) || !choice.finalizes()) {
      return std::nullopt;
    }
    raw.push_back(choice.raw());
  }
  Descriptor config(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  config.set(CUDNN_ATTR_ENGINECFG_ENGINE, engine);
  if (!raw.empty()) {
    config.set(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR,
               static_cast<int64_t>(raw.size()), raw.data());
  }
  std::string why;
  if (!config.finalizes()) return std::nullopt;
  auto plan = finalize_plan(impl, std::move(config), recipe.engine, why);
  if (!plan) return std::nullopt;
  return CudnnPlan(std::move(plan));
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
    for (size_t i = 0; i < to_size(used); ++i) {
      require(reinterpret_cast<uintptr_t>(addresses[i]) % kOperandAlignment == 0,
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
  const cudnnStatus_t status = cudnnBackendExecute(device_->impl().handle, plan_->impl().plan.raw(),
                                                   pack_->descriptor.raw());
  // A training step comes here: no text is made unless it fails.
  if (status != CUDNN_STATUS_SUCCESS) {
    check_cudnn(status, fmt::format("cudnnBackendExecute({}, {})", name_of(pass_), plan_->name()),
                kReportRemedy);
  }
}

}  // namespace macadam::cuda
