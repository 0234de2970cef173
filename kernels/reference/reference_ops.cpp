#include "kernels/reference/reference_ops.h"

#include "kernels/reference/families.h"

namespace macadam {

Ops make_reference_ops() {
  Ops ops;
  ops.conv = reference::make_conv_ops();
  ops.norm = reference::make_norm_ops();
  ops.activation = reference::make_activation_ops();
  ops.channel = reference::make_channel_ops();
  ops.epilogue = reference::make_epilogue_ops();
  ops.pool = reference::make_pool_ops();
  ops.squeeze_excite = reference::make_squeeze_excite_ops();
  ops.upsample = reference::make_upsample_ops();
  ops.elementwise = reference::make_elementwise_ops();
  ops.loss = reference::make_loss_ops();
  ops.confusion = reference::make_confusion_ops();
  ops.optim = reference::make_optim_ops();
  ops.augment = reference::make_augment_ops();
  return ops;
}

}  // namespace macadam
