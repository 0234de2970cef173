#pragma once
// Small graphs that between them have every layer and every way for values to be shared.

#include "engine/graph/graph.h"

namespace macadam::testing {

/// A U-Net of two scales: dropout, max pool, up-sampling, concatenation; without batch norm.
Graph small_unet(Shape input, int classes, float dropout);

/// Batch norm, residual additions, strided, dilated and grouped convolutions, average pool,
/// bilinear up-sampling, dropout on its own, and a value that a convolution, a pool and a
/// concatenation read.
Graph small_resnet(Shape input, int classes);

/// Scores at half the size, up-sampled by the last layer.
Graph half_scores(Shape input, int classes);

/// An inverted residual block with squeeze and excitation and stochastic depth, pooling over the
/// image, transposed convolutions, every activation, a fixed scale and an unused parameter.
Graph small_efficientnet(Shape input, int classes);

/// What InceptionV3, Inception-ResNet-v2 and MobileNetV3 add: kernels of 1 x 7 and 7 x 1, averages
/// that count the padding, windows beyond the image, scaled additions, hard activations and gates.
Graph small_inception(Shape input, int classes);

/// Two dense blocks, whose concatenations lie in each other, one of them tapped as it is and behind
/// a batch norm. Its activations are smooth: behind so many norms the kinks of others are felt in
/// every difference of the loss.
Graph small_densenet(Shape input, int classes);

/// What the networks of models/realtime add: two resolutions that take in each other, means over
/// windows that count the padding, over grids and over the image, up-sampling that keeps the
/// corners, products of pixels, and an auxiliary output. Its activations are smooth, as those
/// above.
Graph small_dual(Shape input, int classes);

/// Branches that fold into one convolution (fold_branches), of a stride and of none, and some that
/// do not.
Graph small_branches(Shape input, int classes);

/// small_unet with two auxiliary outputs, of its deepest features and of those of the full size.
Graph small_auxiliary(Shape input, int classes);

/// Twelve layers drawn at random, among them dead ends, some with an auxiliary output; a pure
/// function of its arguments.
Graph random_graph(uint32_t seed, Shape input, int classes);

}  // namespace macadam::testing
