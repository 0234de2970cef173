#include "tests/kernels/op_cases.h"

namespace macadam::testing {
namespace {

const Normalization kCaffe{
    .mean = {103.939f, 116.779f, 123.68f}, .std = {1, 1.5f, 2}, .range = 255, .bgr = true};
const Normalization kSymmetric{.mean = {1, 1, 1}, .std = {1, 1, 1}, .range = 2};

Operand flips_operand(int samples) {
  std::vector<uint8_t> flips(static_cast<size_t>(samples));
  for (size_t i = 0; i < flips.size(); ++i) flips[i] = i % 2 == 0 ? uint8_t{0x80} : uint8_t{0};
  return raw<uint8_t>("flips", Role::input, std::move(flips));
}

}  // namespace

OpCase prepare_images(Shape images, DType dtype, bool flips, const Normalization& normalization,
                      const std::string& name, Variant variant) {
  const auto prepare = [normalization](Ops& ops) {
    PreparedOp op;
    op.call = [&ops, normalization](const Arguments& a) {
      ops.augment->prepare_images(a("images"), a.pointer<uint8_t>("flips"), normalization, a("x"));
    };
    return op;
  };
  OpCase op{.op = "prepare_images",
            .name = images.text() + "_" + name + (flips ? "_flips" : "") + variant.suffix(),
            .dtype = dtype,
            .operands = {input("images", images, DType::u8, integers(0, 255)),
                         laid_out(output("x", images, dtype), variant.layout, 0)},
            .prepare = prepare,
            .forward = nullptr};
  if (flips) op.operands.push_back(flips_operand(images.n));
  return op;
}

OpCase prepare_labels(Shape labels_shape, bool flips) {
  const auto prepare = [](Ops& ops) {
    PreparedOp op;
    op.call = [&ops](const Arguments& a) {
      ops.augment->prepare_labels(a("labels"), a.pointer<uint8_t>("flips"), a("out"));
    };
    return op;
  };
  OpCase op{.op = "prepare_labels",
            .name = labels_shape.text() + (flips ? "_flips" : ""),
            .dtype = DType::u8,
            .operands = {input("labels", labels_shape, DType::u8, integers(0, 255)),
                         output("out", labels_shape, DType::u8)},
            .prepare = prepare,
            .forward = nullptr};
  if (flips) op.operands.push_back(flips_operand(labels_shape.n));
  return op;
}

std::vector<OpCase> augment_cases() {
  std::vector<OpCase> cases;
  for (const bool flips : {false, true})
    for (const Shape image :
         {Shape{1, 1, 1, 3}, Shape{2, 1, 7, 3}, Shape{3, 5, 9, 3}, Shape{2, 17, 23, 3},
          Shape{3, 16, 32, 3}, Shape{2, 3, 44, 3}, Shape{1, 3, 2047, 3}}) {
      for (const DType dtype : kFloatTypes) {
        cases.push_back(prepare_images(image, dtype, flips, {}, "torchvision"));
        cases.push_back(prepare_images(image, dtype, flips, kCaffe, "caffe"));
        cases.push_back(prepare_images(image, dtype, flips, kSymmetric, "symmetric"));
        for (const Layout layout : {Layout::slices, Layout::ragged_slices, Layout::padded}) {
          cases.push_back(prepare_images(image, dtype, flips, kCaffe, "caffe", {.layout = layout}));
        }
      }
      cases.push_back(prepare_labels({image.n, image.h, image.w, 1}, flips));
    }
  return cases;
}

}  // namespace macadam::testing
