#include "kernels/reference/reference_ops.h"

namespace macadam {

Ops make_reference_ops() {
  Ops ops;
#define MACADAM_MAKE(Family, name) ops.name = reference::make_##name##_ops();
  MACADAM_OP_FAMILIES(MACADAM_MAKE)
#undef MACADAM_MAKE
  return ops;
}

}  // namespace macadam
