#include "tests/kernels/op_cases.h"

namespace macadam::testing {
namespace {

const Normalization kCaffe{
    .mean = {103.939f, 116.779f, 123.68f}, .std = {1, 1.5f, 2}, .range = 255, .bgr = true};
const Normalization kSymmetric{.mean = {1, 1, 1}, .std = {1, 1, 1}, .range = 2};

}  // namespace

OpCase prepare_images(Shape images, DType dtype, bool mirrored, const Normalization& normalization,
                      const std::string& name, Variant variant) {
  const auto prepare = [mirrored, normalization](Ops& ops) {
    PreparedOp op;
    op.call = [&ops, mirrored, normalization](const Arguments& a) {
      ops.augment->prepare_images(a("images"), mirrored, normalization, a("x"));
    };
    return op;
  };
  OpCase op{.op = "prepare_images",
            .name = images.text() + "_" + name + (mirrored ? "_mirrored" : "") + variant.suffix(),
            .dtype = dtype,
            .operands = {input("images", images, DType::u8, integers(0, 255)),
                         laid_out(output("x", images, dtype), variant.layout, 0)},
            .prepare = prepare,
            .forward = nullptr};
  return op;
}

std::vector<OpCase> augment_cases() {
  std::vector<OpCase> cases;
  for (const bool mirrored : {false, true})
    for (const Shape image :
         {Shape{1, 1, 1, 3}, Shape{2, 1, 7, 3}, Shape{3, 5, 9, 3}, Shape{2, 17, 23, 3},
          Shape{3, 16, 32, 3}, Shape{2, 3, 44, 3}, Shape{1, 3, 2047, 3}}) {
      for (const DType dtype : kFloatTypes) {
        cases.push_back(prepare_images(image, dtype, mirrored, {}, "torchvision"));
        cases.push_back(prepare_images(image, dtype, mirrored, kCaffe, "caffe"));
        cases.push_back(prepare_images(image, dtype, mirrored, kSymmetric, "symmetric"));
        for (const Layout layout : {Layout::slices, Layout::ragged_slices, Layout::padded}) {
          cases.push_back(
              prepare_images(image, dtype, mirrored, kCaffe, "caffe", {.layout = layout}));
        }
      }
    }
  return cases;
}

}  // namespace macadam::testing
