#include "kernels/pool.h"

namespace macadam {

Shape PoolDesc::output(Shape input) const {
  return {input.n, (input.h + padding.top + padding.bottom - kernel_h) / stride_h + 1,
          (input.w + padding.left + padding.right - kernel_w) / stride_w + 1, input.c};
}

}  // namespace macadam
