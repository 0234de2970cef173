#include "kernels/pool.h"

namespace macadam {

namespace {

/// pooling_output_shape_pad_lr() of PyTorch's ATen/native/Pool.h.
int output_extent(int input, int kernel, int stride, int before, int after, bool ceil_mode) {
  const int room = input + before + after - kernel;  // that the first window leaves
  if (room < 0 && !ceil_mode) return 0;
  const int reach = room + (ceil_mode ? stride - 1 : 0);
  if (reach < 0) return 0;
  const int output = reach / stride + 1;
  const bool begins_behind = ceil_mode && (output - 1) * stride >= input + before;
  return begins_behind ? output - 1 : output;
}

}  // namespace

Shape PoolDesc::output(Shape input) const {
  if (is_grid()) return {input.n, grid_h, grid_w, input.c};
  return {
      input.n, output_extent(input.h, kernel_h, stride_h, padding.top, padding.bottom, ceil_mode),
      output_extent(input.w, kernel_w, stride_w, padding.left, padding.right, ceil_mode), input.c};
}

}  // namespace macadam
