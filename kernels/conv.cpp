#include "kernels/conv.h"

#include <fmt/format.h>

namespace macadam {

namespace {

int output_extent(int input, int kernel, int stride, int dilation, int before, int after) {
  const int room = input + before + after - dilation * (kernel - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

}  // namespace

Shape ConvDesc::output() const {
  return {input.n, output_extent(input.h, kernel_h, stride, dilation, padding.top, padding.bottom),
          output_extent(input.w, kernel_w, stride, dilation, padding.left, padding.right),
          out_channels};
}

Shape ConvDesc::weights() const { return {out_channels, kernel_h, kernel_w, input.c / groups}; }

int64_t ConvDesc::macs() const {
  return output().elements() * kernel_h * kernel_w * (input.c / groups);
}

std::string ConvDesc::text() const {
  std::string out = fmt::format("{} {}x{} convolution of {} to {} channels", name_of(dtype),
                                kernel_h, kernel_w, input.text(), out_channels);
  if (stride != 1) out += fmt::format(", stride {}", stride);
  if (dilation != 1) out += fmt::format(", dilation {}", dilation);
  if (groups != 1) out += fmt::format(", {} groups", groups);
  return out;
}

std::string_view name_of(ConvPass pass) {
  switch (pass) {
    case ConvPass::forward: return "forward";
    case ConvPass::data_gradient: return "data gradient";
    case ConvPass::weight_gradient: return "weight gradient";
  }
  throw std::logic_error("requirement violated: a pass of a convolution");
}

}  // namespace macadam
