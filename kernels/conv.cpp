#include "kernels/conv.h"

namespace macadam {

namespace {

int output_extent(int input, int kernel, int stride, int dilation, int before, int after) {
  return (input + before + after - dilation * (kernel - 1) - 1) / stride + 1;
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

}  // namespace macadam
