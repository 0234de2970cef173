// Batch norms whose channels fit into the registers of a block or a cluster: one launch, and what
// two launches give.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "as_emulated.h"
#include "base/to_size.h"
#include "block_emulator.h"
#include "emulated_ops.h"
#include "kernels/cuda/held_columns.cuh"
#include "kernels/reference/reference_ops.h"

namespace macadam {
namespace {

/// A dense tensor of random values that owns its memory.
class Array {
 public:
  Array(Shape shape, DType dtype, unsigned seed, float mean = 0)
      : memory_(to_size(shape.elements()) * size_of(dtype)), tensor_(memory_.data(), shape, dtype) {
    std::mt19937 random(seed);
    std::normal_distribution<float> distribution(mean, 1);
    visit_float(dtype, [&](auto type) {
      using T = decltype(type);
      for (int64_t i = 0; i < shape.elements(); ++i) {
        tensor_.as<T>()[i] = scalar::from_float<T>(distribution(random));
      }
    });
  }
  const Tensor& operator()() const { return tensor_; }
  const std::vector<std::byte>& bytes() const { return memory_; }

  float at(int64_t i) const {
    return visit_float(tensor_.dtype, [&](auto type) {
      return static_cast<float>(scalar::to_float(tensor_.as<decltype(type)>()[i]));
    });
  }

 private:
  std::vector<std::byte> memory_;
  Tensor tensor_;
};

struct Case {
  Shape shape;
  DType dtype;
  BatchNormDesc desc;
  bool wants_dskip = true, accumulate = false;
};

/// All that a step makes of a case.
struct Step {
  Array x, dy, skip, gamma, beta, mean, inv_std, running_mean, running_var, y, dx, dskip, dgamma,
      dbeta;

  Step(Ops& ops, const Case& c)
      : x(c.shape, c.dtype, 1, 0.5f),
        dy(c.shape, c.dtype, 2),
        skip(c.shape, c.dtype, 3),
        gamma(vector(c, 4)),
        beta(vector(c, 5)),
        mean(vector(c, 6)),
        inv_std(vector(c, 7)),
        running_mean(vector(c, 8)),
        running_var(vector(c, 9)),
        y(c.shape, c.dtype, 10),
        dx(c.shape, c.dtype, 11),
        dskip(c.shape, c.dtype, 12),
        dgamma(vector(c, 13)),
        dbeta(vector(c, 14)) {
    const StepState state{.step = 5, .lr = 0};
    BatchNormDesc desc = c.desc;
    if (desc.drop_path.p > 0) desc.drop_path.state = &state;
    std::vector<float> workspace(ops.norm->workspace_bytes(c.shape) / sizeof(float) + 1);
    const Tensor added = desc.adds ? skip() : Tensor();
    ops.norm->train(desc, x(), gamma(), beta(), running_mean(), running_var(), mean(), inv_std(),
                    added, y(), workspace.data());
    SkipGradient gradient;
    if (desc.adds) gradient = {y(), c.wants_dskip ? dskip() : Tensor(), c.accumulate};
    ops.norm->backward(desc, x(), dy(), {}, gamma(), beta(), mean(), inv_std(), gradient, dx(),
                       dgamma(), dbeta(), workspace.data());
  }

  std::vector<const Array*> results() const {
    return {&mean, &inv_std, &running_mean, &running_var, &y, &dx, &dskip, &dgamma, &dbeta};
  }

 private:
  static Array vector(const Case& c, unsigned seed) {
    return Array({1, 1, 1, c.shape.c}, DType::f32, seed);
  }
};

void expect_near(const Step& a, const Step& b, const std::string& what) {
  for (size_t r = 0; r < a.results().size(); ++r) {
    const Array &left = *a.results()[r], &right = *b.results()[r];
    const float tolerance = left().dtype == DType::f32 ? 2e-4f : 4e-2f;
    int wrong = 0;
    for (int64_t i = 0; i < left().shape.elements(); ++i) {
      const float value = right.at(i);
      wrong += !(std::abs(left.at(i) - value) <= tolerance * (1 + std::abs(value)));
    }
    EXPECT_EQ(wrong, 0) << what << ", result " << r;
  }
}

BatchNormDesc adding(Activation activation, float drop = 0) {
  BatchNormDesc desc{.activation = activation, .adds = true};
  if (drop > 0) desc.drop_path = {.p = drop, .seed = 3, .layer = 1};
  return desc;
}

/// Those of one block, with threads and whole vectors left over; of clusters of 8, then of 4 and 2
/// (more channels, so that these fill the processors); of two tensors of 16 bits and of 32; of one
/// block more pixels than another.
std::vector<Case> cases() {
  return {{{2, 5, 9, 24}, DType::bf16, {.activation = Activation::silu}},
          {{1, 32, 64, 8}, DType::f32, {}},
          {{3, 37, 41, 24}, DType::bf16, {.activation = Activation::relu}},
          {{8, 16, 32, 16}, DType::bf16, adding(Activation::relu)},
          {{8, 32, 64, 24}, DType::bf16, adding(Activation::identity, 0.3f)},
          {{4, 64, 64, 4}, DType::f32, {.activation = Activation::hardswish}},
          {{3, 37, 41, 8}, DType::bf16, adding(Activation::relu), false},
          {{3, 37, 41, 8}, DType::bf16, adding(Activation::relu), true, true},
          {{3, 37, 41, 8}, DType::bf16, adding(Activation::identity), true, true},
          {{5, 41, 79, 8}, DType::f16, adding(Activation::relu, 0.3f)},
          {{1, 37, 41, 4}, DType::f32, adding(Activation::relu)},
          {{1, 32, 32, 272}, DType::bf16, adding(Activation::relu)},
          {{1, 16, 32, 544}, DType::bf16, {.activation = Activation::relu}}};
}

class HeldNorm : public ::testing::Test {
 protected:
  ~HeldNorm() override { emulator::clusters = true; }

  static Ops ops(bool clusters) {
    emulator::clusters = clusters;
    return emulated::make_ops();
  }
};

TEST(HeldLayout, IsOfWhatFits) {
  const auto layout = [](Shape shape, bool clusters = true) {
    const Tensor tensor(nullptr, shape, DType::bf16);
    const emulated::HeldLayout held =
        emulated::held_layout(emulated::column_layout({&tensor}), 8, clusters);
    return std::pair(held.clusters, held.blocks);
  };
  using Is = std::pair<int, int>;  // clusters, blocks of each
  EXPECT_EQ(layout({2, 5, 9, 24}), Is(2, 1));
  EXPECT_EQ(layout({8, 16, 32, 512}), Is(32, 4));
  EXPECT_EQ(layout({8, 32, 64, 256}), Is(16, 8));
  EXPECT_EQ(layout({1, 32, 32, 272}), Is(17, 4));
  EXPECT_EQ(layout({1, 16, 32, 528}), Is(33, 4));
  EXPECT_EQ(layout({1, 16, 32, 544}), Is(34, 2));
  EXPECT_EQ(layout({1, 1, 2048, 16}, false), Is(1, 1));
  EXPECT_EQ(layout({1, 1, 2049, 16}, false), Is(0, 1));
  EXPECT_EQ(layout({1, 1, 16384, 16}), Is(1, 8));
  EXPECT_EQ(layout({1, 1, 16385, 16}), Is(0, 1));
  EXPECT_EQ(layout({8, 32, 64, 784}), Is(49, 8)) << "three waves";
  EXPECT_EQ(layout({8, 32, 64, 800}).first, 0) << "more than three";
  EXPECT_EQ(layout({8, 16, 32, 20}).first, 0) << "no whole vectors";
}

TEST_F(HeldNorm, AgreesWithTheReferenceWithAndWithoutClusters) {
  Ops reference = make_reference_ops(), with = ops(true), without = ops(false);
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.shape.text());
    const Step expected(reference, c);
    expect_near(Step(with, c), expected, "with clusters");
    expect_near(Step(without, c), expected, "without");
  }
}

// Blocks and threads run in another order in each launch.
TEST_F(HeldNorm, HasTheSameBitsWhateverTheOrder) {
  Ops with = ops(true);
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.shape.text());
    const Step first(with, c);
    for (int again = 0; again < 2; ++again) {
      const Step other(with, c);
      for (size_t r = 0; r < first.results().size(); ++r) {
        EXPECT_EQ(first.results()[r]->bytes(), other.results()[r]->bytes()) << "result " << r;
      }
    }
  }
}

}  // namespace
}  // namespace macadam
