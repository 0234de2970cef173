#pragma once
// How close a backend must come to the reference.

#include <span>
#include <string>

#include "tests/kernels/op_runner.h"

namespace macadam::testing {

/// Of the normalised error |got - want| / |want|, both as Euclidean norms. Backends compute in
/// fp32 and round once, so that 16-bit results differ from the reference in a few last bits only:
/// a backend that truncates or accumulates in 16 bits fails.
double tolerance_of(DType dtype);

/// Empty when `got` is close to `want`: the norms as above, with NaN and infinities at the same
/// places, and each element within one rounding of `dtype` and 8 tolerances of the typical
/// magnitude. Otherwise says by how much it is not. A slack of 0 asks for equality.
std::string difference(std::span<const double> got, std::span<const double> want, DType dtype,
                       double slack);

/// The differences of all outputs of a case, each with its operand's name; empty when close. With
/// `cuda` as close as Operand::on_cuda asks.
std::string differences(const OpCase& op, const Values& got, const Values& want, bool cuda = false);

}  // namespace macadam::testing
