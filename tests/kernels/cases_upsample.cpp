#include <fmt/format.h>

#include <limits>

#include "tests/kernels/op_cases.h"

namespace macadam::testing {
namespace {

constexpr double kCoordinateSlack = 4;  // source coordinates in fp32

std::string name_of_case(const ResizeCase& r, Variant variant) {
  return r.input.text() + "_to_" + std::to_string(r.output_h) + "x" + std::to_string(r.output_w) +
         (r.corners ? "_corners" : "") + variant.suffix();
}

/// "", or "_to_f32" when the other side has that dtype.
std::string conversion(DType from, DType to) {
  return from == to ? "" : "_to_" + std::string(name_of(to));
}

Shape output_shape(const ResizeCase& r) { return {r.input.n, r.output_h, r.output_w, r.input.c}; }

/// A call upon the operands of a backend.
using Call = void (*)(UpsampleOps& ops, const Arguments& a, const ResizeCase& r, bool accumulate);

std::function<PreparedOp(Ops&)> prepare(Call call, const ResizeCase& r, bool accumulate = false) {
  return [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) { call(*ops.upsample, a, r, accumulate); };
    return op;
  };
}

std::vector<Operand> backward_operands(const ResizeCase& r, DType dy, DType dx, Variant variant) {
  Operand target =
      variant.accumulate ? update("dx", r.input, dx, normal()) : output("dx", r.input, dx);
  return {laid_out(input("dy", output_shape(r), dy, normal()), variant.layout, 0),
          laid_out(std::move(target), variant.layout, 1).loose(kCoordinateSlack)};
}

struct SizedCase {
  ResizeCase resize;
  Layout layout = Layout::dense;
};

std::vector<SizedCase> sizes() {
  return {{{{1, 1, 1, 1}, 1, 1}},
          {{{2, 1, 1, 5}, 3, 4}},
          {{{1, 1, 7, 3}, 2, 14}},
          {{{2, 5, 9, 8}, 10, 18}},
          {{{1, 8, 16, 32}, 16, 32}},
          {{{1, 8, 16, 64}, 16, 32}},
          {{{1, 4, 8, 19}, 16, 32}},
          {{{1, 2, 4, 11}, 16, 32}},
          {{{3, 5, 9, 12}, 17, 23}},
          {{{1, 17, 23, 5}, 5, 9}},
          {{{1, 16, 32, 33}, 8, 16}},
          {{{2, 5, 9, 8}, 5, 9}},
          {{{1, 3, 511, 8}, 6, 1022}},
          {{{1, 2, 383, 19}, 8, 1531}},
          {{{1, 7, 2047, 3}, 3, 641}},
          {{{2, 5, 9, 8}, 10, 18}, Layout::slices},
          {{{1, 8, 16, 32}, 16, 32}, Layout::slices},
          {{{1, 5, 9, 8}, 17, 23}, Layout::ragged_slices},
          {{{2, 5, 9, 31}, 10, 18}, Layout::ragged_slices},
          {{{2, 5, 9, 19}, 10, 18}, Layout::padded},
          {{{1, 17, 23, 3}, 5, 9}, Layout::padded},
          {{{1, 4, 8, 16}, 8, 16}, Layout::padded}};
}

}  // namespace

OpCase nearest(const ResizeCase& r, DType dtype, Variant variant) {
  return OpCase{
      .op = "nearest",
      .name = name_of_case(r, variant),
      .dtype = dtype,
      .operands = {laid_out(input("x", r.input, dtype, normal()), variant.layout, 0),
                   laid_out(output("y", output_shape(r), dtype), variant.layout, 1).exact()},
      .prepare = prepare([](UpsampleOps& ops, const Arguments& a, const ResizeCase&,
                            bool) { ops.nearest(a("x"), a("y")); },
                         r),
      .forward = nullptr};
}

OpCase nearest_backward(const ResizeCase& r, DType dtype, Variant variant) {
  return OpCase{.op = "nearest_backward",
                .name = name_of_case(r, variant),
                .dtype = dtype,
                .operands = backward_operands(r, dtype, dtype, variant),
                .prepare = prepare([](UpsampleOps& ops, const Arguments& a, const ResizeCase&,
                                      bool adds) { ops.nearest_backward(a("dy"), a("dx"), adds); },
                                   r, variant.accumulate),
                .forward = std::make_shared<OpCase>(nearest(r, dtype))};
}

OpCase bilinear(const ResizeCase& r, DType from, DType to, Variant variant) {
  return OpCase{.op = "bilinear",
                .name = name_of_case(r, variant) + conversion(from, to),
                .dtype = from,
                .operands = {laid_out(input("x", r.input, from, normal()), variant.layout, 0),
                             laid_out(output("y", output_shape(r), to), variant.layout, 1)
                                 .loose(kCoordinateSlack)},
                .prepare = prepare([](UpsampleOps& ops, const Arguments& a, const ResizeCase& c,
                                      bool) { ops.bilinear(a("x"), a("y"), c.corners); },
                                   r),
                .forward = nullptr};
}

OpCase bilinear_backward(const ResizeCase& r, DType from, DType to, Variant variant) {
  return OpCase{.op = "bilinear_backward",
                .name = name_of_case(r, variant) + conversion(from, to),
                .dtype = from,
                .operands = backward_operands(r, from, to, variant),
                .prepare = prepare(
                    [](UpsampleOps& ops, const Arguments& a, const ResizeCase& c, bool adds) {
                      ops.bilinear_backward(a("dy"), a("dx"), c.corners, adds);
                    },
                    r, variant.accumulate),
                .forward = std::make_shared<OpCase>(bilinear(r, to, from))};
}

namespace {

OpCase bilinear_argmax(const ResizeCase& r, DType dtype, Variant variant, bool confident = false) {
  const auto prepare = [](Ops& ops) {
    PreparedOp op;
    op.call = [&ops](const Arguments& a) {
      ops.upsample->bilinear_argmax(a("x"), a("classes"), a.optional("confidence"));
    };
    return op;
  };
  const Shape mask{r.input.n, r.output_h, r.output_w, 1};
  OpCase op{.op = confident ? "bilinear_argmax_confidence" : "bilinear_argmax",
            .name = name_of_case(r, variant),
            .dtype = dtype,
            .operands = {laid_out(input("x", r.input, dtype, normal()), variant.layout, 0),
                         output("classes", mask, DType::u8)},
            .prepare = prepare,
            .forward = nullptr};
  if (confident) op.operands.push_back(output("confidence", mask, DType::u8).nearly());
  return op;
}

/// `photo`: height and width of the sums.
OpCase bilinear_add_softmax(Shape scores, const WindowPlace& place, std::pair<int, int> photo,
                            DType dtype, Layout layout = Layout::dense) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.upsample->bilinear_add_softmax(a("x"), place, a("sums"));
    };
    return op;
  };
  const auto [height, width] = photo;
  const std::string name =
      fmt::format("{}_to_{}x{}_at_{}_{}_of_{}x{}{}{}{}", scores.text(), place.height, place.width,
                  place.top, place.left, height, width, place.mirrored ? "_mirrored" : "",
                  place.fades ? "_fading" : "", suffix(layout));
  return OpCase{.op = "bilinear_add_softmax",
                .name = name,
                .dtype = dtype,
                .operands = {laid_out(input("x", scores, dtype, normal(0, 3)), layout, 0),
                             update("sums", {1, height, width, scores.c}, DType::f32, uniform(0, 9))
                                 .loose(kCoordinateSlack)},
                .prepare = prepare,
                .forward = nullptr};
}

std::vector<OpCase> add_softmax_cases(DType dtype) {
  std::vector<OpCase> cases;
  const auto add = [&](Shape scores, const WindowPlace& place, std::pair<int, int> photo,
                       Layout layout = Layout::dense) {
    cases.push_back(bilinear_add_softmax(scores, place, photo, dtype, layout));
  };
  add({1, 1, 1, 1}, {0, 0, 1, 1}, {1, 1});
  for (const bool mirrored : {false, true}) {
    for (const bool fades : {false, true}) {
      add({1, 5, 9, 8}, {3, 2, 10, 18, mirrored, fades}, {15, 31});     // inside
      add({1, 10, 18, 11}, {0, 0, 10, 18, mirrored, fades}, {10, 18});  // the whole photo
      add({1, 6, 70, 19}, {2, 5, 6, 140, mirrored, fades}, {5, 76});    // beyond its end
      add({1, 9, 20, 3}, {0, 0, 4, 8, mirrored, fades}, {7, 8});        // reduced
    }
    add({1, 3, 4, 255}, {1, 2, 5, 7, mirrored, true}, {7, 11});
    add({1, 3, 300, 33}, {0, 0, 3, 300, mirrored, true}, {3, 300});
    for (const Layout layout : {Layout::slices, Layout::ragged_slices, Layout::padded}) {
      add({1, 5, 9, 19}, {1, 1, 10, 18, mirrored, true}, {11, 19}, layout);
    }
  }
  return cases;
}

}  // namespace

std::vector<OpCase> upsample_cases() {
  std::vector<OpCase> cases;
  for (const DType dtype : kFloatTypes) {
    for (const bool confident : {false, true}) {
      cases.push_back(bilinear_argmax({{1, 3, 40, 255}, 7, 9}, dtype, {}, confident));
      // Among so many pixels some tie in 16 bits, but for rounding.
      if (!confident || dtype == DType::f32)
        cases.push_back(bilinear_argmax({{1, 3, 300, 8}, 5, 700}, dtype, {}, confident));
      OpCase nan = bilinear_argmax({{1, 4, 6, 5}, 8, 12}, dtype, {}, confident);
      nan.name += "_nans";
      nan.operands[0].fill = [](std::span<double> scores, std::mt19937& random) {
        normal()(scores, random);
        for (size_t i = 0; i < scores.size(); ++i) {
          const bool whole = i / 5 % 6 == 2;  // pixels of NaN alone, too
          if (whole || i % 11 == 0) scores[i] = std::numeric_limits<double>::quiet_NaN();
        }
      };
      cases.push_back(std::move(nan));
    }
    for (OpCase& op : add_softmax_cases(dtype)) cases.push_back(std::move(op));
    for (const SizedCase& s : sizes()) {
      cases.push_back(bilinear_argmax(s.resize, dtype, {.layout = s.layout}));
      cases.push_back(bilinear_argmax(s.resize, dtype, {.layout = s.layout}, true));
      const Variant variant{.layout = s.layout};
      const Variant adding{.layout = s.layout, .accumulate = true};
      cases.push_back(nearest(s.resize, dtype, variant));
      cases.push_back(nearest_backward(s.resize, dtype, variant));
      cases.push_back(nearest_backward(s.resize, dtype, adding));
      for (const bool corners : {false, true}) {
        ResizeCase resize = s.resize;
        resize.corners = corners;
        cases.push_back(bilinear(resize, dtype, dtype, variant));
        cases.push_back(bilinear_backward(resize, dtype, dtype, variant));
        cases.push_back(bilinear_backward(resize, dtype, dtype, adding));
      }
    }
    if (dtype == DType::f32) continue;
    const ResizeCase logits{{2, 5, 9, 11}, 20, 36};
    cases.push_back(bilinear(logits, dtype, DType::f32));
    cases.push_back(bilinear(logits, DType::f32, dtype));
    cases.push_back(bilinear_backward(logits, dtype, DType::f32));
    cases.push_back(bilinear_backward(logits, DType::f32, dtype));
  }
  return cases;
}

}  // namespace macadam::testing
