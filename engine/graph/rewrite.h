#pragma once
// Graph rewrites: small passes, each a function from a graph to an equivalent one. Values and
// parameters keep their numbers, so that gradients and files do not notice.

#include "engine/graph/graph.h"

namespace macadam {

/// Without auxiliary outputs and all that only they are made of. For inference.
Graph remove_auxiliary_outputs(const Graph& graph);

/// Removes dropout (the identity when a network does not train).
Graph remove_dropout(const Graph& graph);

/// conv -> batch norm becomes one convolution wherever the norm is its only reader: by the running
/// statistics a norm is a factor and a shift a channel. For inference.
Graph fold_batch_norms(const Graph& graph);

/// Branches without activations that start from one value and are added up become one convolution,
/// where nobody else reads what lies between: RepVGG's (Ding et al., 2021: 3x3, 1x1 and a batch
/// norm alone) and those of a convolution and a 1x1 convolution behind it (Yang et al., 2025).
/// Kernels are odd squares of one size or 1x1, and only the first convolution of a branch is
/// padded, so that nothing changes at the borders either. Run after fold_batch_norms. For
/// inference.
Graph fold_branches(const Graph& graph);

/// Of a graph as it was built, what inference computes: without auxiliary outputs and dropout, with
/// batch norms and branches in the convolutions' weights.
Graph for_inference(const Graph& graph);

/// 1x1 conv -> activation -> 1x1 conv -> sigmoid or hardsigmoid on {N, 1, 1, C} becomes one node
/// where nobody else reads what lies between: the gates of squeeze and excitation. Run before
/// fuse_activations.
Graph fuse_squeeze_excite(const Graph& graph);

/// conv -> activation becomes one node wherever the activation is the only reader of the
/// convolution; so do batch norm -> activation and add -> ReLU. In training a convolution takes
/// only activations whose gradient is computed from their output.
Graph fuse_activations(const Graph& graph, bool training);

/// (conv + ReLU) -> dropout becomes one node wherever the dropout is the only reader. Run after
/// fuse_activations.
Graph fuse_dropout(const Graph& graph);

/// batch norm (-> drop_path) -> addition (with ReLU) becomes one node with two inputs, where nobody
/// else reads the norm's input or what lies between. For training. Run after fuse_activations.
Graph join_additions(const Graph& graph);

/// The gradient of a max pooling is taken by the convolution that makes its input, in the pass that
/// its activation needs anyway (EpilogueOps): wherever windows do not overlap and no node before
/// the pooling reads that input, so that all other gradients are there by then. For training. Run
/// after fuse_activations.
Graph join_max_pools(const Graph& graph);

/// The gradient of a mean over each image is taken by the batch norm that makes its input, in the
/// passes that it needs anyway: wherever nothing is added behind the norm, no node before the mean
/// reads that input, so that all other gradients are there by then, and another one does. For
/// training. Run after join_additions.
Graph join_means(const Graph& graph);

/// Stores the input and what convolutions write without an activation (class scores) in a multiple
/// of `multiple` channels, where only convolutions, up-sampling and the loss read them. Shapes and
/// parameters do not change. Tensor cores want pixels of 16 bytes or a multiple, 8 channels of 16
/// bits: cuDNN's fast engines copy any other tensor into a padded one in every pass that touches it
/// (their workspaces show it), which moves more bytes than padding once, whatever the number of
/// channels. Run last.
Graph pad_channels(const Graph& graph, int multiple = 8);

/// Without the bilinear up-sampling that makes the class scores, if that is the last layer (and
/// does not keep the corners in place), and without auxiliary outputs: for callers that resize the
/// scores themselves. Not an equivalent graph.
Graph without_last_upsampling(const Graph& graph);

/// Batch norms, those of the encoder or all, use their running statistics in training
/// (BatchNormDesc::frozen). Not an equivalent graph: a choice of how to train.
Graph freeze_batch_norms(const Graph& graph, bool encoder_alone);

}  // namespace macadam
