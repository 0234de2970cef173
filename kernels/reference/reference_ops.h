#pragma once
// The reference backend: naive loops in double, on the CPU, for tests and benchmarks only.

#include <memory>

#include "kernels/ops.h"

namespace macadam {

Ops make_reference_ops();

namespace reference {

// One family, each in the file of its name.
#define MACADAM_FACTORY(Family, name) std::unique_ptr<Family> make_##name##_ops();
MACADAM_OP_FAMILIES(MACADAM_FACTORY)
#undef MACADAM_FACTORY

}  // namespace reference

}  // namespace macadam
