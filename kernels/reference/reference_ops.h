#pragma once
// The reference backend: naive loops in double, on the CPU, for tests and benchmarks only.

#include "kernels/ops.h"

namespace macadam {

Ops make_reference_ops();

}  // namespace macadam
