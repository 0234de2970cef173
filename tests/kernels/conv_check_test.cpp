// The check of convolutions itself: what is right passes, and whatever is wrong is named.

#include "kernels/conv_check.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "base/to_size.h"
#include "kernels/reference/reference_ops.h"

namespace macadam::testing {
namespace {

ConvDesc convolution(const Shape& input, int out_channels, DType dtype = DType::f32) {
  return {.input = input,
          .out_channels = out_channels,
          .padding = Padding::all(1),
          .bias = true,
          .dtype = dtype,
          .backward = true};
}

std::vector<ConvDesc> all_kinds() {
  std::vector<ConvDesc> kinds{convolution({2, 5, 9, 3}, 8), convolution({1, 7, 11, 16}, 5)};
  ConvDesc d = convolution({1, 9, 13, 6}, 4, DType::bf16);
  kinds.push_back(d);
  d.bias = false;
  d.stride = 2;
  d.padding = {.left = 0, .right = 1, .top = 0, .bottom = 1};
  kinds.push_back(d);
  d.stride = 1;
  d.dilation = 2;
  d.padding = Padding::all(2);
  kinds.push_back(d);
  d = convolution({3, 6, 8, 12}, 12);
  d.groups = 12;
  kinds.push_back(d);
  d.groups = 3;
  kinds.push_back(d);
  d = convolution({1, 14, 10, 3}, 6);
  d.kernel_h = d.kernel_w = 7;
  d.stride = 2;
  d.padding = Padding::all(3);
  d.input_gradient = false;
  kinds.push_back(d);
  d = convolution({1, 4, 6, 7}, 9);
  d.kernel_h = d.kernel_w = 1;
  d.padding = {};
  d.backward = false;
  kinds.push_back(d);
  return kinds;
}

TEST(ConvCheck, PassesWhatTheDefinitionComputes) {
  const Ops ops = make_reference_ops();
  for (const ConvDesc& desc : all_kinds()) {
    std::vector<ConvPass> passes;
    const auto faults = check_convolution(
        *ops.conv, desc, [&](ConvPass pass, const Convolution&) { passes.push_back(pass); });
    EXPECT_TRUE(faults.empty()) << desc.text() << ": " << faults.front().what;
    EXPECT_EQ(passes.size(), desc.backward ? 2u + desc.input_gradient : 1u) << desc.text();
  }
}

/// The definition, and what `spoil` does behind each pass to its result and to the workspace.
using Spoil = std::function<void(ConvPass, const Tensor& result, void* workspace)>;

class SpoiledConvolution final : public Convolution {
 public:
  SpoiledConvolution(std::unique_ptr<Convolution> inner, Spoil spoil)
      : inner_(std::move(inner)), spoil_(std::move(spoil)) {}

  size_t workspace_bytes() const override { return 64; }
  size_t packed_bytes() const override { return inner_->packed_bytes(); }
  std::string implementation() const override { return "spoiled"; }
  void pack(const Tensor& weights, const Tensor& bias, void* packed) override {
    inner_->pack(weights, bias, packed);
  }
  void forward(const Tensor& x, const void* packed, const Tensor& y, void* workspace) override {
    inner_->forward(x, packed, y, workspace);
    spoil_(ConvPass::forward, y, workspace);
  }
  void backward_data(const Tensor& dy, const void* packed, const Tensor& dx,
                     void* workspace) override {
    inner_->backward_data(dy, packed, dx, workspace);
    spoil_(ConvPass::data_gradient, dx, workspace);
  }
  void backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw,
                        void* workspace) override {
    inner_->backward_weights(x, dy, dw, workspace);
    spoil_(ConvPass::weight_gradient, dw, workspace);
  }

 private:
  std::unique_ptr<Convolution> inner_;
  Spoil spoil_;
};

class SpoiledOps final : public ConvOps {
 public:
  explicit SpoiledOps(Spoil spoil) : spoil_(std::move(spoil)) {}
  std::unique_ptr<Convolution> make(const ConvDesc& desc) override {
    return std::make_unique<SpoiledConvolution>(inner_.conv->make(desc), spoil_);
  }

 private:
  Ops inner_ = make_reference_ops();
  Spoil spoil_;
};

std::string only_fault(const ConvDesc& desc, ConvPass pass, Spoil spoil) {
  SpoiledOps ops(std::move(spoil));
  const auto faults = check_convolution(ops, desc);
  EXPECT_EQ(faults.size(), 1u) << desc.text();
  if (faults.size() != 1) return {};
  EXPECT_EQ(faults[0].pass, pass);
  EXPECT_EQ(faults[0].implementation, "spoiled");
  EXPECT_EQ(faults[0].desc.text(), desc.text());
  return faults[0].what;
}

TEST(ConvCheck, NamesThePassThatIsWrong) {
  const ConvDesc desc = convolution({1, 5, 9, 3}, 8);
  for (const ConvPass pass :
       {ConvPass::forward, ConvPass::data_gradient, ConvPass::weight_gradient}) {
    const std::string what = only_fault(desc, pass, [&](ConvPass p, const Tensor& t, void*) {
      if (p == pass) t.as<float>()[t.shape.elements() - 1] += 1;
    });
    EXPECT_EQ(what.rfind("1 of ", 0), 0u) << what;
  }
}

/// No coordinate may be blind: exchanging neighbours along any of them is seen, as is a result that
/// is all zeros or was never written.
TEST(ConvCheck, SeesWhatIsMovedOrMissing) {
  for (const ConvDesc& desc : all_kinds()) {
    for (const ConvPass pass :
         {ConvPass::forward, ConvPass::data_gradient, ConvPass::weight_gradient}) {
      if (pass != ConvPass::forward && !desc.backward) continue;
      if (pass == ConvPass::data_gradient && !desc.input_gradient) continue;
      for (const int value : {0, 0xff}) {
        only_fault(desc, pass, [&](ConvPass p, const Tensor& t, void*) {
          if (p == pass) std::memset(t.data, value, t.bytes());
        });
      }
      for (const bool channels : {true, false}) {
        if (channels && desc.weights().c == 1) continue;  // weights of one channel have no next one
        only_fault(desc, pass, [&](ConvPass p, const Tensor& t, void*) {
          if (p != pass) return;
          const size_t one = size_of(t.dtype) * to_size(channels ? 1 : t.shape.c);
          std::memmove(t.data, static_cast<std::byte*>(t.data) + one, t.bytes() - one);
        });
      }
    }
  }
}

TEST(ConvCheck, SeesWhatIsWrittenOutside) {
  const ConvDesc desc = convolution({1, 5, 9, 3}, 8);
  EXPECT_EQ(only_fault(desc, ConvPass::weight_gradient,
                       [](ConvPass p, const Tensor&, void* workspace) {
                         if (p != ConvPass::weight_gradient) return;
                         std::memset(static_cast<std::byte*>(workspace) - 3072, 0, 3072);
                       }),
            "3072 bytes before and 0 behind workspace were overwritten");
  EXPECT_EQ(only_fault(desc, ConvPass::forward,
                       [](ConvPass p, const Tensor& t, void*) {
                         if (p != ConvPass::forward) return;
                         std::memset(static_cast<std::byte*>(t.data) + t.bytes(), 0, 2);
                       }),
            "0 bytes before and 2 behind y were overwritten");
}

}  // namespace
}  // namespace macadam::testing
