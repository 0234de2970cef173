// Convolutions on the CPU through oneDNN, the one file that includes dnnl.hpp. Builds with oneDNN
// 2.6 (operation descriptors) and 3.x (none).
//
// Activations stay NHWC; only weights take the layout that a primitive asks for, rewritten by
// pack(). Weight gradients come out in fp32, whatever the dtype of the activations.

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>

#include "base/round_up.h"
#include "base/to_size.h"
#include "kernels/cpu/cpu_ops.h"

namespace macadam::cpu {

namespace {

using dnnl::memory;
using dnnl::prop_kind;
using Tag = memory::format_tag;

memory::data_type data_type(DType dtype) {
  switch (dtype) {
    case DType::f32: return memory::data_type::f32;
    case DType::bf16: return memory::data_type::bf16;
    case DType::f16:
    case DType::u8: break;
  }
  throw InputError(fmt::format("{} convolutions run on CUDA only", name_of(dtype)), "device cpu",
                   "use precision fp32 or bf16");
}

/// Where one layer's convolution meets oneDNN: the descriptions of its tensors.
struct Layout {
  memory::dims x, w, y, bias, strides, dilations, pad_before, pad_after;
  memory::data_type type;
  bool grouped;

  explicit Layout(const ConvDesc& d) : type(data_type(d.dtype)), grouped(d.groups > 1) {
    const Shape out = d.output();
    const int in_per_group = d.input.c / d.groups;
    x = {d.input.n, d.input.c, d.input.h, d.input.w};
    y = {out.n, out.c, out.h, out.w};
    if (grouped) {
      w = {d.groups, d.out_channels / d.groups, in_per_group, d.kernel_h, d.kernel_w};
    } else {
      w = {d.out_channels, in_per_group, d.kernel_h, d.kernel_w};
    }
    bias = {d.out_channels};
    strides = {d.stride, d.stride};
    dilations = {d.dilation - 1, d.dilation - 1};  // oneDNN counts from 0
    pad_before = {d.padding.top, d.padding.left};
    pad_after = {d.padding.bottom, d.padding.right};
  }

  memory::desc activation(const memory::dims& dims) const { return {dims, type, Tag::nhwc}; }
  memory::desc any_weights(memory::data_type t) const { return {w, t, Tag::any}; }
  /// {K, kh, kw, C/g}, as the engine keeps weights.
  memory::desc plain_weights() const {
    return {w, memory::data_type::f32, grouped ? Tag::gohwi : Tag::ohwi};
  }
  memory::desc bias_vector() const { return {bias, memory::data_type::f32, Tag::a}; }
};

using ForwardDesc = dnnl::convolution_forward::primitive_desc;
using DataDesc = dnnl::convolution_backward_data::primitive_desc;
using WeightsDesc = dnnl::convolution_backward_weights::primitive_desc;

/// The library's first choice of a pass that is not known to be faulty. Describing is always safe;
/// what has a fault must not even be created.
struct Choice {
  const ConvDesc& desc;
  const ImplementationFault& fault;

  /// Call while all that `described` was made of lives: next_impl() of 2.x reads it again.
  template <typename Desc>
  Desc operator()(ConvPass pass, Desc described) const {
    while (fault(pass, described.impl_info_str(), desc)) {
      if (!described.next_impl()) {
        throw RunError(fmt::format("{} computes this wrongly and there is no other way",
                                   described.impl_info_str()),
                       fmt::format("{}, {} of {}", library_version(), name_of(pass), desc.text()),
                       "use precision fp32, or build with oneDNN 3");
      }
    }
    return described;
  }
};

#if DNNL_VERSION_MAJOR >= 3
ForwardDesc describe_forward(const Layout& l, const dnnl::engine& engine, prop_kind kind, bool bias,
                             const dnnl::primitive_attr& attr, const Choice& choice) {
  return choice(
      ConvPass::forward,
      ForwardDesc(engine, kind, dnnl::algorithm::convolution_direct, l.activation(l.x),
                  l.any_weights(l.type), bias ? l.bias_vector() : memory::desc(), l.activation(l.y),
                  l.strides, l.dilations, l.pad_before, l.pad_after, attr));
}

DataDesc describe_data(const Layout& l, const dnnl::engine& engine, const ForwardDesc& hint,
                       const dnnl::primitive_attr& attr, const Choice& choice) {
  return choice(ConvPass::data_gradient,
                DataDesc(engine, dnnl::algorithm::convolution_direct, l.activation(l.x),
                         l.any_weights(l.type), l.activation(l.y), l.strides, l.dilations,
                         l.pad_before, l.pad_after, hint, attr));
}
WeightsDesc describe_weights(const Layout& l, const dnnl::engine& engine, const ForwardDesc& hint,
                             const dnnl::primitive_attr& attr, const Choice& choice) {
  return choice(ConvPass::weight_gradient,
                WeightsDesc(engine, dnnl::algorithm::convolution_direct, l.activation(l.x),
                            l.any_weights(memory::data_type::f32), l.activation(l.y), l.strides,
                            l.dilations, l.pad_before, l.pad_after, hint, attr));
}
#else
ForwardDesc describe_forward(const Layout& l, const dnnl::engine& engine, prop_kind kind, bool bias,
                             const dnnl::primitive_attr& attr, const Choice& choice) {
  const dnnl::convolution_forward::desc op(
      kind, dnnl::algorithm::convolution_direct, l.activation(l.x), l.any_weights(l.type),
      bias ? l.bias_vector() : memory::desc(), l.activation(l.y), l.strides, l.dilations,
      l.pad_before, l.pad_after);
  return choice(ConvPass::forward, ForwardDesc(op, attr, engine));
}
DataDesc describe_data(const Layout& l, const dnnl::engine& engine, const ForwardDesc& hint,
                       const dnnl::primitive_attr& attr, const Choice& choice) {
  const dnnl::convolution_backward_data::desc op(
      dnnl::algorithm::convolution_direct, l.activation(l.x), l.any_weights(l.type),
      l.activation(l.y), l.strides, l.dilations, l.pad_before, l.pad_after);
  return choice(ConvPass::data_gradient, DataDesc(op, attr, engine, hint));
}
WeightsDesc describe_weights(const Layout& l, const dnnl::engine& engine, const ForwardDesc& hint,
                             const dnnl::primitive_attr& attr, const Choice& choice) {
  const dnnl::convolution_backward_weights::desc op(
      dnnl::algorithm::convolution_direct, l.activation(l.x), l.any_weights(memory::data_type::f32),
      l.activation(l.y), l.strides, l.dilations, l.pad_before, l.pad_after);
  return choice(ConvPass::weight_gradient, WeightsDesc(op, attr, engine, hint));
}
#endif

constexpr size_t align(size_t bytes) { return round_up(bytes, kMemoryAlignment); }

void check(dnnl_status_t status, const char* what) {
  if (status != dnnl_success) {
    throw RunError(fmt::format("oneDNN status {}", static_cast<int>(status)), what,
                   "report this as a bug");
  }
}

/// A primitive with its memory objects made once; execution only sets pointers, through the C API
/// (the C++ one builds a map and a vector at every call).
class Step {
 public:
  Step(dnnl::primitive primitive, const dnnl::engine& engine,
       std::initializer_list<std::pair<int, memory::desc>> arguments)
      : primitive_(std::move(primitive)) {
    for (const auto& [argument, desc] : arguments) {
      memories_[count_] = memory(desc, engine, DNNL_MEMORY_NONE);
      arguments_[count_] = {argument, memories_[count_].get()};
      ++count_;
    }
  }

  /// Data pointers in the order of the constructor's arguments.
  void run(const dnnl::stream& stream, std::initializer_list<void*> pointers) {
    size_t i = 0;
    for (void* pointer : pointers) {
      check(dnnl_memory_set_data_handle(arguments_[i].memory, pointer), "set_data_handle");
      ++i;
    }
    check(dnnl_primitive_execute(primitive_.get(), stream.get(), static_cast<int>(i),
                                 arguments_.data()),
          "primitive_execute");
  }

 private:
  dnnl::primitive primitive_;
  std::array<memory, 5> memories_;
  std::array<dnnl_exec_arg_t, 5> arguments_{};
  size_t count_ = 0;
};

class OneDnnConvolution final : public Convolution {
 public:
  OneDnnConvolution(const ConvDesc& desc, const dnnl::engine& engine, const dnnl::stream& stream,
                    const ImplementationFault& fault)
      : desc_(desc), layout_(desc), stream_(stream) {
    const Choice choice{desc, fault};
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    dnnl::primitive_attr forward_attr;
    forward_attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (desc.activation != Activation::identity) {
      forward_attr.set_post_ops(post_op(desc.activation));
    }

    const prop_kind kind =
        desc.backward ? prop_kind::forward_training : prop_kind::forward_inference;
    const auto forward = describe_forward(layout_, engine, kind, desc.bias, forward_attr, choice);
    name(ConvPass::forward, forward);
    add_pack(pack_forward_, forward.weights_desc(), engine);
    scratch_ = forward.scratchpad_desc().get_size();
    forward_.emplace(dnnl::convolution_forward(forward), engine,
                     std::initializer_list<std::pair<int, memory::desc>>{
                         {DNNL_ARG_SRC, forward.src_desc()},
                         {DNNL_ARG_WEIGHTS, forward.weights_desc()},
                         {DNNL_ARG_DST, forward.dst_desc()},
                         {DNNL_ARG_SCRATCHPAD, forward.scratchpad_desc()},
                         {DNNL_ARG_BIAS, layout_.bias_vector()}});
    if (!desc.backward) return;

    // The hint must not carry the activation: its backward is not the convolution's business.
    const auto hint = describe_forward(layout_, engine, kind, desc.bias, attr, choice);
    if (desc.input_gradient) {
      const auto data = describe_data(layout_, engine, hint, attr, choice);
      name(ConvPass::data_gradient, data);
      add_pack(pack_data_, data.weights_desc(), engine);
      scratch_ = std::max<size_t>(scratch_, data.scratchpad_desc().get_size());
      data_.emplace(dnnl::convolution_backward_data(data), engine,
                    std::initializer_list<std::pair<int, memory::desc>>{
                        {DNNL_ARG_DIFF_DST, data.diff_dst_desc()},
                        {DNNL_ARG_WEIGHTS, data.weights_desc()},
                        {DNNL_ARG_DIFF_SRC, data.diff_src_desc()},
                        {DNNL_ARG_SCRATCHPAD, data.scratchpad_desc()}});
    }
    const auto weights = describe_weights(layout_, engine, hint, attr, choice);
    name(ConvPass::weight_gradient, weights);
    gradient_bytes_ = align(weights.diff_weights_desc().get_size());
    gradient_is_plain_ = weights.diff_weights_desc() == layout_.plain_weights();
    size_t weights_scratch = weights.scratchpad_desc().get_size();
    if (reads_stale_scratch(ConvPass::weight_gradient, weights.impl_info_str())) {
      cleared_bytes_ = weights_scratch;
    }
    if (!gradient_is_plain_) {
      const dnnl::reorder::primitive_desc unpack(engine, weights.diff_weights_desc(), engine,
                                                 layout_.plain_weights(), attr);
      unpack_.emplace(dnnl::reorder(unpack), engine,
                      std::initializer_list<std::pair<int, memory::desc>>{
                          {DNNL_ARG_FROM, weights.diff_weights_desc()},
                          {DNNL_ARG_TO, layout_.plain_weights()},
                          {DNNL_ARG_SCRATCHPAD, unpack.scratchpad_desc()}});
      weights_scratch = std::max<size_t>(weights_scratch, unpack.scratchpad_desc().get_size());
    } else {
      gradient_bytes_ = 0;
    }
    scratch_ = std::max(scratch_, gradient_bytes_ + weights_scratch);
    weights_.emplace(dnnl::convolution_backward_weights(weights), engine,
                     std::initializer_list<std::pair<int, memory::desc>>{
                         {DNNL_ARG_SRC, weights.src_desc()},
                         {DNNL_ARG_DIFF_DST, weights.diff_dst_desc()},
                         {DNNL_ARG_DIFF_WEIGHTS, weights.diff_weights_desc()},
                         {DNNL_ARG_SCRATCHPAD, weights.scratchpad_desc()}});
  }

  size_t workspace_bytes() const override { return scratch_; }
  size_t packed_bytes() const override { return bias_offset_ + align(bias_bytes()); }
  std::string implementation() const override { return implementation_of(ConvPass::forward); }
  std::string implementation_of(ConvPass pass) const override {
    return implementations_[static_cast<size_t>(pass)];
  }

  /// Which blocks oneDNN cuts weights into is each implementation's choice, and which
  /// implementation runs is a choice by the input's size.
  bool packs_like(const Convolution& other) const override {
    const auto* same = dynamic_cast<const OneDnnConvolution*>(&other);
    return same != nullptr && packed_bytes() == same->packed_bytes() &&
           pack_forward_.target == same->pack_forward_.target &&
           pack_data_.target == same->pack_data_.target;
  }

  void pack(const Tensor& weights, const Tensor& bias, void* packed) override {
    require(weights.shape == desc_.weights() && weights.dtype == DType::f32, "weights fit");
    for (Pack* pack : {&pack_forward_, &pack_data_}) {
      if (!pack->reorder) continue;
      pack->reorder->run(
          stream_, {weights.data, at(packed, pack->offset), at(packed, pack->scratch_offset)});
    }
    if (desc_.bias) std::memcpy(at(packed, bias_offset_), bias.data, bias_bytes());
  }

  void forward(const Tensor& x, const void* packed, const Tensor& y, void* workspace) override {
    check_activations(x, y);
    void* const weights = at(packed, pack_forward_.offset);
    if (desc_.bias) {
      forward_->run(stream_, {x.data, weights, y.data, workspace, at(packed, bias_offset_)});
    } else {
      forward_->run(stream_, {x.data, weights, y.data, workspace});
    }
  }

  void backward_data(const Tensor& dy, const void* packed, const Tensor& dx,
                     void* workspace) override {
    require(data_.has_value(), "the convolution was made with input_gradient");
    check_activations(dx, dy);
    data_->run(stream_, {dy.data, at(packed, pack_data_.offset), dx.data, workspace});
  }

  void backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw,
                        void* workspace) override {
    require(weights_.has_value(), "the convolution was made with backward");
    check_activations(x, dy);
    void* const gradient = gradient_is_plain_ ? dw.data : workspace;
    void* const scratch = at(workspace, gradient_bytes_);
    if (cleared_bytes_ > 0) std::memset(scratch, 0, cleared_bytes_);
    weights_->run(stream_, {x.data, dy.data, gradient, scratch});
    if (!gradient_is_plain_) unpack_->run(stream_, {gradient, dw.data, scratch});
  }

 private:
  struct Pack {
    std::optional<Step> reorder;
    memory::desc target;        // the layout that the primitive asks for
    size_t offset = 0;          // of the weights in the packed block
    size_t scratch_offset = 0;  // of the reorder's scratchpad in the packed block
  };

  static dnnl::post_ops post_op(Activation activation) {
    dnnl::post_ops ops;
    const auto append = [&](dnnl::algorithm algorithm, float alpha, float beta) {
#if DNNL_VERSION_MAJOR >= 3
      ops.append_eltwise(algorithm, alpha, beta);
#else
      ops.append_eltwise(1.0f, algorithm, alpha, beta);
#endif
    };
    switch (activation) {
      case Activation::identity: break;
      case Activation::relu: append(dnnl::algorithm::eltwise_relu, 0, 0); break;
      case Activation::relu6: append(dnnl::algorithm::eltwise_clip, 0, 6); break;
      case Activation::sigmoid: append(dnnl::algorithm::eltwise_logistic, 0, 0); break;
      case Activation::silu: append(dnnl::algorithm::eltwise_swish, 1, 0); break;
      case Activation::hardswish:  // version 2 knows no other factors, and reads none
        append(dnnl::algorithm::eltwise_hardswish, 1.0f / 6, 0.5f);
        break;
      case Activation::hardsigmoid:  // version 2.6 has none of its own
        append(dnnl::algorithm::eltwise_linear, 1.0f / 6, 0.5f);
        append(dnnl::algorithm::eltwise_clip, 0, 1);
        break;
    }
    return ops;
  }

  void add_pack(Pack& pack, const memory::desc& target, const dnnl::engine& engine) {
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const dnnl::reorder::primitive_desc reorder(engine, layout_.plain_weights(), engine, target,
                                                attr);
    pack.target = target;
    pack.offset = bias_offset_;
    pack.scratch_offset = pack.offset + align(target.get_size());
    bias_offset_ = pack.scratch_offset + align(reorder.scratchpad_desc().get_size());
    pack.reorder.emplace(dnnl::reorder(reorder), engine,
                         std::initializer_list<std::pair<int, memory::desc>>{
                             {DNNL_ARG_FROM, layout_.plain_weights()},
                             {DNNL_ARG_TO, target},
                             {DNNL_ARG_SCRATCHPAD, reorder.scratchpad_desc()}});
  }

  void name(ConvPass pass, const dnnl::primitive_desc_base& desc) {
    implementations_[static_cast<size_t>(pass)] = fmt::format("oneDNN {}", desc.impl_info_str());
  }

  size_t bias_bytes() const { return desc_.bias ? sizeof(float) * to_size(desc_.out_channels) : 0; }
  static void* at(const void* base, size_t offset) {
    return const_cast<std::byte*>(static_cast<const std::byte*>(base)) + offset;
  }
  void check_activations(const Tensor& x, const Tensor& y) const {
    require(x.shape == desc_.input && y.shape == desc_.output(), "tensors fit the convolution");
    require(x.dtype == desc_.dtype && y.dtype == desc_.dtype, "dtypes fit the convolution");
    require(x.dense() && y.dense(), "convolutions take dense tensors");
  }

  ConvDesc desc_;
  Layout layout_;
  dnnl::stream stream_;
  std::array<std::string, 3> implementations_;  // by ConvPass
  Pack pack_forward_, pack_data_;
  std::optional<Step> forward_, data_, weights_, unpack_;
  size_t bias_offset_ = 0;  // in the packed block, after the weights
  size_t scratch_ = 0;
  size_t gradient_bytes_ = 0;  // of the weight gradient in oneDNN's layout, before it is unpacked
  bool gradient_is_plain_ = true;
  size_t cleared_bytes_ = 0;  // of the weight gradient's scratchpad, before it runs
};

class OneDnnConvOps final : public ConvOps {
 public:
  explicit OneDnnConvOps(ImplementationFault fault)
      : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_), fault_(std::move(fault)) {}

  std::unique_ptr<Convolution> make(const ConvDesc& desc) override {
    try {
      return std::make_unique<OneDnnConvolution>(desc, engine_, stream_, fault_);
    } catch (const dnnl::error& error) {
      throw RunError(fmt::format("oneDNN has no such convolution ({})", error.what()), desc.text(),
                     "use precision fp32");
    }
  }

 private:
  dnnl::engine engine_;
  dnnl::stream stream_;
  ImplementationFault fault_;
};

}  // namespace

std::unique_ptr<ConvOps> make_conv_ops() { return make_conv_ops(is_known_fault); }

std::unique_ptr<ConvOps> make_conv_ops(ImplementationFault fault) {
  return std::make_unique<OneDnnConvOps>(std::move(fault));
}

std::string library_version() {
  const dnnl_version_t* version = dnnl_version();
  return fmt::format("oneDNN {}.{}.{}", version->major, version->minor, version->patch);
}

LibraryIsa library_isa() {
  const dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
  // An instruction set's value holds the bits of those that it extends.
  const auto extends = [&](dnnl_cpu_isa_t base) { return (isa & base) == base; };
  LibraryIsa out;
  out.bf16 = extends(dnnl_cpu_isa_avx512_core);
  out.avx512_bf16 = extends(dnnl_cpu_isa_avx512_core_bf16);
  out.amx_bf16 = extends(dnnl_cpu_isa_avx512_core_amx);
  constexpr std::array names {
    std::pair(dnnl_cpu_isa_sse41, "sse41"), std::pair(dnnl_cpu_isa_avx, "avx"),
        std::pair(dnnl_cpu_isa_avx2, "avx2"), std::pair(dnnl_cpu_isa_avx2_vnni, "avx2_vnni"),
        std::pair(dnnl_cpu_isa_avx512_core, "avx512_core"),
        std::pair(dnnl_cpu_isa_avx512_core_vnni, "avx512_core_vnni"),
        std::pair(dnnl_cpu_isa_avx512_core_bf16, "avx512_core_bf16"),
#if DNNL_VERSION_MAJOR >= 3
        std::pair(dnnl_cpu_isa_avx512_core_fp16, "avx512_core_fp16"),
        std::pair(dnnl_cpu_isa_avx512_core_amx_fp16, "avx512_core_amx_fp16"),
#endif
        std::pair(dnnl_cpu_isa_avx512_core_amx, "avx512_core_amx")
  };
  const auto* known = std::find_if(names.begin(), names.end(),
                                   [&](const auto& entry) { return entry.first == isa; });
  out.name = known != names.end() ? known->second : fmt::format("{:#x}", static_cast<int>(isa));
  return out;
}

std::string library_identity() {
  return fmt::format("{} {}, {}, hints {}, {} threads, {}", library_version(), dnnl_version()->hash,
                     library_isa().name, static_cast<int>(dnnl_get_cpu_isa_hints()),
                     omp_get_max_threads(), processor());
}

}  // namespace macadam::cpu
