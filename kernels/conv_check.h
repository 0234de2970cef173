#pragma once
// Whether convolutions are computed rightly on this machine: every pass over small integers, whose
// sums are exact in any order, with guard bytes around every buffer.

#include <functional>
#include <string>
#include <vector>

#include "kernels/conv.h"

namespace macadam {

/// What a pass of a convolution did wrong.
struct ConvFault {
  ConvDesc desc;
  ConvPass pass = ConvPass::forward;
  std::string implementation;
  std::string what;  // "6912 of 9216 values are wrong (the first: 4.5 instead of 2)"
};

/// Runs every pass that `desc` asks for, on the CPU, and returns all that was wrong; the weight
/// gradient's faults are of the bias's too. `before` is told of each pass before it runs.
/// What `ops` throws passes through. Requires f32 or bf16, no activation, and at most 2^18 input
/// pixels: beyond these, sums in fp32 need not be exact.
std::vector<ConvFault> check_convolution(
    ConvOps& ops, const ConvDesc& desc,
    const std::function<void(ConvPass pass, const Convolution& conv)>& before = {});

}  // namespace macadam
