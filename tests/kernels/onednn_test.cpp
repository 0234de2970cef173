// oneDNN on this machine, under the instruction sets that it may use: which implementations are
// taken, and whether they are right and stay within their buffers.

#if defined(MACADAM_HAS_ONEDNN)

#include <gtest/gtest.h>

#include <set>

#include "kernels/conv_check.h"
#include "kernels/cpu/cpu_ops.h"

namespace macadam::testing {
namespace {

constexpr ConvPass kPasses[]{ConvPass::forward, ConvPass::data_gradient, ConvPass::weight_gradient};

ConvDesc convolution(int height, int width, DType dtype = DType::bf16) {
  return {.input = {1, height, width, 32},
          .out_channels = 32,
          .padding = Padding::all(1),
          .bias = true,
          .dtype = dtype,
          .backward = true};
}

ConvDesc one_by_one(ConvDesc desc) {
  desc.kernel_h = desc.kernel_w = 1;
  desc.padding = {};
  return desc;
}

// Names as oneDNN 2.6 and 3.2 give them on a Sapphire Rapids, which need not be at hand.
TEST(OneDnnFaults, AreTheAmxWeightGradientsOfWideImages) {
  constexpr auto wide = ConvPass::weight_gradient;
  for (const char* amx : {"jit:avx512_core_amx_bf16", "jit:avx512_core_amx"}) {
    for (const int width : {225, 256, 384, 480, 512, 736, 737, 1024, 2048}) {
      EXPECT_TRUE(cpu::is_known_fault(wide, amx, convolution(96, width))) << width;
      EXPECT_FALSE(cpu::is_known_fault(wide, amx, one_by_one(convolution(96, width)))) << width;
      EXPECT_FALSE(cpu::is_known_fault(ConvPass::forward, amx, convolution(96, width)));
      EXPECT_FALSE(cpu::is_known_fault(ConvPass::data_gradient, amx, convolution(96, width)));
    }
    for (const int width : {1, 64, 128, 224}) {
      EXPECT_FALSE(cpu::is_known_fault(wide, amx, convolution(96, width))) << width;
    }
  }
  for (const char* sound : {"jit_bf16:avx512_core_bf16", "brgconv_bwd_w:avx512_core_amx",
                            "jit:avx512_core", "jit:avx2", "gemm:jit", "ref:any"}) {
    EXPECT_FALSE(cpu::is_known_fault(wide, sound, convolution(96, 1024))) << sound;
  }
}

TEST(OneDnnFaults, ScratchThatIsReadBeforeItIsWrittenIsClearedForOneImplementation) {
  EXPECT_TRUE(cpu::reads_stale_scratch(ConvPass::weight_gradient, "brgconv_bwd_w:avx512_core_amx"));
  EXPECT_FALSE(cpu::reads_stale_scratch(ConvPass::weight_gradient, "jit:avx512_core_amx"));
  EXPECT_FALSE(cpu::reads_stale_scratch(ConvPass::forward, "brgconv:avx512_core_amx"));
}

TEST(OneDnnFaults, AreBf16DataGradientsOfOneByOneFromOddChannels) {
  ConvDesc head = one_by_one(convolution(16, 32));
  for (const int classes : {1, 11, 19, 8, 32}) {
    head.out_channels = classes;
    EXPECT_EQ(cpu::is_known_fault(ConvPass::data_gradient, "jit_bf16_1x1:avx512_core_bf16", head),
              classes % 2 == 1);
    EXPECT_FALSE(
        cpu::is_known_fault(ConvPass::weight_gradient, "jit_bf16_1x1:avx512_core_bf16", head));
    EXPECT_FALSE(cpu::is_known_fault(ConvPass::data_gradient, "jit:avx512_core_bf16", head));
  }
}

TEST(OneDnnFaults, AreWeightGradientsOfStridedOneByOneWithFewChannels) {
  ConvDesc desc = one_by_one(convolution(32, 64));
  for (const int channels : {3, 8, 16, 64}) {
    desc.input.c = channels;
    for (const int stride : {1, 2}) {
      desc.stride = stride;
      EXPECT_EQ(cpu::is_known_fault(ConvPass::weight_gradient, "jit_1x1:avx512_core", desc),
                channels < 16 && stride == 2);
      EXPECT_FALSE(cpu::is_known_fault(ConvPass::forward, "jit_1x1:avx512_core", desc));
    }
  }
}

/// What is told to be faulty is not taken, whatever the pass, and what is taken instead is right.
TEST(OneDnnFaults, AreLeftToTheNextImplementation) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    if (dtype == DType::bf16 && !cpu::library_isa().bf16) continue;
    const ConvDesc desc = convolution(8, 48, dtype);
    const auto first = cpu::make_conv_ops()->make(desc);
    for (const ConvPass faulty : kPasses) {
      std::vector<std::string> asked;
      const auto ops =
          cpu::make_conv_ops([&](ConvPass pass, std::string_view name, const ConvDesc&) {
            if (pass != faulty) return false;
            asked.emplace_back(name);
            return "oneDNN " + asked.back() == first->implementation_of(faulty);
          });
      const auto second = ops->make(desc);
      for (const ConvPass pass : kPasses) {
        EXPECT_EQ(second->implementation_of(pass) == first->implementation_of(pass), pass != faulty)
            << name_of(faulty) << ": " << second->implementation_of(pass);
      }
      ASSERT_GE(asked.size(), 2u);
      EXPECT_EQ("oneDNN " + asked.back(), second->implementation_of(faulty));
      for (const ConvFault& fault : check_convolution(*ops, desc)) ADD_FAILURE() << fault.what;
    }
  }
}

TEST(OneDnnFaults, AreAnErrorWhereThereIsNoOtherImplementation) {
  const auto ops = cpu::make_conv_ops([](ConvPass pass, std::string_view, const ConvDesc&) {
    return pass == ConvPass::weight_gradient;
  });
  try {
    ops->make(convolution(8, 48, DType::f32));
    FAIL();
  } catch (const RunError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("weight gradient of f32 3x3 convolution of 1x8x48x32"), text.npos) << text;
    EXPECT_NE(text.find("oneDNN"), text.npos) << text;
  }
}

class EveryWidth : public ::testing::TestWithParam<DType> {};

INSTANTIATE_TEST_SUITE_P(OneDnn, EveryWidth, ::testing::Values(DType::f32, DType::bf16),
                         [](const auto& p) { return std::string(name_of(p.param)); });

/// Heights that are multiples of 96 and heights that are multiples of nothing.
TEST_P(EveryWidth, IsExactAndStaysWithinItsBuffers) {
  const cpu::LibraryIsa isa = cpu::library_isa();
  if (GetParam() == DType::bf16 && !isa.bf16) GTEST_SKIP() << "no bf16 in " << isa.name;
  const auto ops = cpu::make_conv_ops();
  const auto check = [&](const ConvDesc& desc) {
    for (const ConvFault& f : check_convolution(*ops, desc)) {
      ADD_FAILURE() << desc.text() << ", " << name_of(f.pass) << " by " << f.implementation << ": "
                    << f.what;
    }
  };
  for (const int width : {64, 224, 256, 320, 384, 448, 480, 512, 640, 736, 800, 1024, 2048}) {
    ConvDesc desc = convolution(13, width, GetParam());
    check(desc);
    check(one_by_one(desc));
    desc.input.c = 64;
    check(desc);
    desc.input.c = 3;
    desc.input_gradient = false;
    check(desc);
    if (width <= 480) check(convolution(96, width, GetParam()));
  }
}

}  // namespace
}  // namespace macadam::testing

#endif
