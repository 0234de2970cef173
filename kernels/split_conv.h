#pragma once
// A convolution that takes its batch in pieces: libraries whose fast implementations count elements
// in 32 bits run the pieces where they would not run the whole.

#include <functional>
#include <memory>
#include <vector>

#include "kernels/conv.h"
#include "kernels/elementwise.h"

namespace macadam {

/// The fewest images a piece, as alike as can be and the larger pieces first, whose input and
/// output have at most `most_elements` elements each; single images where not even one fits.
/// Requires desc.input.n >= 1.
std::vector<int> batch_pieces(const ConvDesc& desc, int64_t most_elements);

/// `desc` over `pieces` of its batch (batch_pieces()), one after the other, each by a convolution
/// of `make`. Weights are packed once for all. Gradients of weights and bias are the sums of the
/// pieces', in fp32 and in their order. `elementwise` adds them; it and `device` are the stream's.
/// Requires pieces that add up to the batch, and that `make`'s convolutions of other batches pack
/// alike (packs_like()).
std::unique_ptr<Convolution> make_split_convolution(
    const ConvDesc& desc, const std::vector<int>& pieces,
    const std::function<std::unique_ptr<Convolution>(const ConvDesc&)>& make,
    std::unique_ptr<ElementwiseOps> elementwise, Device device);

}  // namespace macadam
