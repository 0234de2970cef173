// A convolution that takes its batch in pieces gives what it gives at once.

#include "kernels/split_conv.h"

#include <gtest/gtest.h>

#include "kernels/reference/reference_ops.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/op_cases.h"

namespace macadam::testing {
namespace {

ConvDesc desc_of(int batch, DType dtype = DType::f32) {
  return {.input = {batch, 5, 9, 6},
          .out_channels = 7,
          .padding = Padding::all(1),
          .bias = true,
          .dtype = dtype,
          .backward = true};
}

TEST(BatchPieces, AreFewAndAlike) {
  const ConvDesc desc = desc_of(11);
  const int64_t image = desc.output().elements() / 11;
  EXPECT_EQ(batch_pieces(desc, 11 * image), std::vector<int>{11});
  EXPECT_EQ(batch_pieces(desc, 11 * image - 1), (std::vector<int>{6, 5}));
  EXPECT_EQ(batch_pieces(desc, 4 * image), (std::vector<int>{4, 4, 3}));
  EXPECT_EQ(batch_pieces(desc, image), std::vector<int>(11, 1));
  EXPECT_EQ(batch_pieces(desc, image - 1), std::vector<int>(11, 1)) << "an image is not cut";
  ConvDesc narrow = desc;
  narrow.out_channels = 2;  // now the input is the larger side
  EXPECT_EQ(batch_pieces(narrow, 11 * 5 * 9 * 6 - 1), (std::vector<int>{6, 5}));
}

/// The op table's cases of `desc`, its convolutions split by hand.
class SplitConvolutions : public ::testing::TestWithParam<std::vector<int>> {
 protected:
  void expect_results_of_the_whole(const OpCase& op, const ConvDesc& desc) {
    SCOPED_TRACE(op.full_name());
    Stream stream;
    Ops ops = make_reference_ops();
    ops.conv = std::make_unique<Splitting>(GetParam());
    const Values inputs = make_inputs(op);
    BoundOp bound(op, ops, stream, inputs);
    bound.run();
    EXPECT_EQ(differences(op, bound.results(), reference_results(op, inputs)), "");
    for (const std::string& stray : bound.stray_writes()) ADD_FAILURE() << "overwrote " << stray;
    const std::unique_ptr<Convolution> split = ops.conv->make(desc);
    EXPECT_TRUE(split->packs_like(*make_reference_ops().conv->make(desc)));
    EXPECT_NE(split->implementation().find(" images: "), std::string::npos);
  }

 private:
  class Splitting final : public ConvOps {
   public:
    explicit Splitting(std::vector<int> pieces) : pieces_(std::move(pieces)) {}
    std::unique_ptr<Convolution> make(const ConvDesc& desc) override {
      Ops whole = make_reference_ops();
      return make_split_convolution(
          desc, pieces_, [&](const ConvDesc& piece) { return whole.conv->make(piece); },
          std::move(whole.elementwise), Device{});
    }

   private:
    std::vector<int> pieces_;
  };
};

TEST_P(SplitConvolutions, GiveTheResultsOfTheWhole) {
  for (const bool bias : {true, false}) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      ConvDesc desc = desc_of(5, dtype);
      desc.bias = bias;
      expect_results_of_the_whole(conv_forward(desc), desc);
      expect_results_of_the_whole(conv_backward_data(desc), desc);
      expect_results_of_the_whole(conv_backward_weights(desc), desc);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Pieces, SplitConvolutions,
                         ::testing::Values(std::vector<int>{5}, std::vector<int>{3, 2},
                                           std::vector<int>{2, 2, 1},
                                           std::vector<int>{1, 1, 1, 1, 1}),
                         [](const auto& pieces) {
                           std::string name;
                           for (const int images : pieces.param) name += std::to_string(images);
                           return name;
                         });

TEST(SplitConvolution, RefusesPiecesOfAnotherBatch) {
  Ops whole = make_reference_ops();
  const auto make = [&](const ConvDesc& piece) { return whole.conv->make(piece); };
  EXPECT_THROW(make_split_convolution(desc_of(5), {3, 3}, make, nullptr, Device{}),
               std::logic_error);
  EXPECT_THROW(make_split_convolution(desc_of(5), {}, make, nullptr, Device{}), std::logic_error);
}

}  // namespace
}  // namespace macadam::testing
