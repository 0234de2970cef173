#pragma once
// Factories of the reference backend, one a file of this folder.

#include <memory>

#include "kernels/ops.h"

namespace macadam::reference {

std::unique_ptr<ConvOps> make_conv_ops();
std::unique_ptr<NormOps> make_norm_ops();
std::unique_ptr<ActivationOps> make_activation_ops();
std::unique_ptr<ChannelOps> make_channel_ops();
std::unique_ptr<EpilogueOps> make_epilogue_ops();
std::unique_ptr<PoolOps> make_pool_ops();
std::unique_ptr<SqueezeExciteOps> make_squeeze_excite_ops();
std::unique_ptr<UpsampleOps> make_upsample_ops();
std::unique_ptr<ElementwiseOps> make_elementwise_ops();
std::unique_ptr<LossOps> make_loss_ops();
std::unique_ptr<ConfusionOps> make_confusion_ops();
std::unique_ptr<OptimOps> make_optim_ops();
std::unique_ptr<AugmentOps> make_augment_ops();

}  // namespace macadam::reference
