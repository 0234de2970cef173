// The self-test of convolutions: a library that is wrong, crashes or never returns is told of, with
// the culprit's name; what was found is remembered for the same library on the same processor.

#include "kernels/self_test.h"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <fstream>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/reference/reference_ops.h"
#include "tests/base/temporary_folder.h"
#include "tests/kernels/environment.h"

namespace macadam::testing {
namespace {

using testing::TemporaryFolder;

constexpr ConvDesc kSmall{.input = {1, 5, 9, 3},
                          .out_channels = 8,
                          .padding = {1, 1, 1, 1},
                          .bias = true,
                          .backward = true};

/// The definition, asking before it makes anything as oneDNN's ops do; `spoil` runs in the weight
/// gradient.
class NaiveOps final : public ConvOps {
 public:
  NaiveOps(cpu::ImplementationFault fault, std::function<void(const Tensor& dw)> spoil)
      : fault_(std::move(fault)), spoil_(std::move(spoil)) {}

  std::unique_ptr<Convolution> make(const ConvDesc& desc) override {
    fault_(ConvPass::weight_gradient, "naive", desc);
    return std::make_unique<Naive>(ops_.conv->make(desc), spoil_);
  }

 private:
  class Naive final : public Convolution {
   public:
    Naive(std::unique_ptr<Convolution> inner, const std::function<void(const Tensor&)>& spoil)
        : inner_(std::move(inner)), spoil_(spoil) {}
    size_t workspace_bytes() const override { return 0; }
    size_t packed_bytes() const override { return inner_->packed_bytes(); }
    std::string implementation() const override { return "naive"; }
    void pack(const Tensor& weights, const Tensor& bias, void* packed) override {
      inner_->pack(weights, bias, packed);
    }
    void forward(const Tensor& x, const void* packed, const Tensor& y, void* w) override {
      inner_->forward(x, packed, y, w);
    }
    void backward_data(const Tensor& dy, const void* packed, const Tensor& dx, void* w) override {
      inner_->backward_data(dy, packed, dx, w);
    }
    void backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw, void* w) override {
      inner_->backward_weights(x, dy, dw, w);
      spoil_(dw);
    }

   private:
    std::unique_ptr<Convolution> inner_;
    const std::function<void(const Tensor&)>& spoil_;
  };

  Ops ops_ = make_reference_ops();
  cpu::ImplementationFault fault_;
  std::function<void(const Tensor&)> spoil_;
};

ConvOpsFactory naive(std::function<void(const Tensor& dw)> spoil) {
  return [spoil = std::move(spoil)](cpu::ImplementationFault fault) {
    return std::make_unique<NaiveOps>(std::move(fault), spoil);
  };
}

void expect_culprit(const SelfTest& test, const std::string& what) {
  ASSERT_EQ(test.faults.size(), 1u);
  const SelfTestFault& fault = test.faults[0];
  EXPECT_EQ(fault.pass, "weight gradient");
  EXPECT_EQ(fault.implementation, "naive");
  EXPECT_EQ(fault.convolution, "f32 3x3 convolution of 1x5x9x3 to 8 channels");
  EXPECT_NE(fault.what.find(what), std::string::npos) << fault.what;
}

TEST(SelfTest, PassesWhatIsRight) {
  const SelfTest test = self_test(naive([](const Tensor&) {}), {kSmall, kSmall});
  EXPECT_TRUE(test.faults.empty());
  EXPECT_TRUE(test.ended);
  EXPECT_EQ(test.passes, 6);
}

TEST(SelfTest, NamesWhatIsWrong) {
  const SelfTest test =
      self_test(naive([](const Tensor& dw) { dw.as<float>()[3] *= 2; }), {kSmall});
  expect_culprit(test, "1 of 216 values of dw are wrong");
  EXPECT_TRUE(test.ended);
}

TEST(SelfTest, OutlivesACrash) {
  const SelfTest test = self_test(naive([](const Tensor&) { std::raise(SIGSEGV); }), {kSmall});
  EXPECT_FALSE(test.ended);
#if !defined(__SANITIZE_ADDRESS__)  // which turns the signal into an exit status
  expect_culprit(test, "ended by signal 11");
#endif
}

TEST(SelfTest, OutlivesALibraryThatNeverReturns) {
  const auto start = std::chrono::steady_clock::now();
  const SelfTest test = self_test(naive([](const Tensor&) {
                                    while (true) asm volatile("");
                                  }),
                                  {kSmall}, {.cpu_seconds = 1, .seconds = 60});
  expect_culprit(test, "had not ended after 1 s of CPU time");
  EXPECT_FALSE(test.ended);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(50));
}

TEST(SelfTest, TellsOfWhatTheLibraryThrows) {
  const SelfTest test = self_test(
      naive([](const Tensor&) -> void { throw RunError("no such thing", "here", "none"); }),
      {kSmall});
  expect_culprit(test, "no such thing: here: none");
}

#if defined(MACADAM_HAS_ONEDNN)

TEST(SelfTest, FindsThisMachineSound) {
  for (const DType dtype : self_test_dtypes()) {
    const SelfTest test = self_test_convolutions(dtype, {}, true);
    for (const SelfTestFault& fault : test.faults) ADD_FAILURE() << fault.text();
    EXPECT_GT(test.passes, 20);
    EXPECT_FALSE(test.remembered);
  }
}

TEST(SelfTest, IsRememberedForTheSameLibraryAndProcessor) {
  const TemporaryFolder folder;
  const auto find = [&](bool look) {
    return self_test_convolutions(DType::f32, folder.path(), look);
  };
  EXPECT_FALSE(find(true).remembered);
  EXPECT_TRUE(find(true).remembered);
  EXPECT_FALSE(find(false).remembered) << "asked to look anew";
  ASSERT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
  const std::filesystem::path file = std::filesystem::directory_iterator(folder.path())->path();
  std::ifstream stream(file);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  EXPECT_NE(text.find(cpu::library_identity()), text.npos) << text;
  EXPECT_NE(text.find(cpu::library_isa().name), text.npos) << text;
  // Whatever else lies there is as good as nothing.
  for (const std::string& other : {std::string(), text.substr(0, text.size() / 2), "x" + text,
                                   text.substr(0, text.find("ran\t"))}) {
    std::ofstream(file) << other;
    EXPECT_FALSE(find(true).remembered) << other;
  }
}

TEST(SelfTest, KnownFaultsKeepTrainingFromBeginning) {
  const TemporaryFolder folder;
  const Variable cache("MACADAM_CACHE", folder.path().string());
  require_sound_convolutions(Device{}, DType::f32);
  require_sound_convolutions(Device{DeviceKind::cuda, 0}, DType::bf16);
  const std::filesystem::path file = std::filesystem::directory_iterator(folder.path())->path();
  std::ifstream stream(file);
  std::string text{std::istreambuf_iterator<char>(stream), {}};
  text.insert(text.find("ran\t"), "bad\tforward\toneDNN jit:x\ta convolution\tall is wrong\n");
  std::ofstream(file) << text;
  try {
    require_sound_convolutions(Device{}, DType::f32);
    FAIL();
  } catch (const RunError& error) {
    const std::string line = error.what();
    for (const char* part : {"oneDNN", "forward of a convolution by oneDNN jit:x: all is wrong",
                             "ONEDNN_MAX_CPU_ISA", "info --self-test"}) {
      EXPECT_NE(line.find(part), line.npos) << line;
    }
    EXPECT_EQ(line.find('\n'), line.npos);
  }
}

#endif

}  // namespace
}  // namespace macadam::testing
