#include "emulated_ops.h"

#include "as_emulated.h"
#include "kernels/cuda/cuda_ops.h"

namespace macadam::emulated {

Ops make_ops() {
  static Stream stream{Device{}};
  Ops ops;
  ops.norm = make_norm_ops(stream);
  ops.activation = make_activation_ops(stream);
  ops.channel = make_channel_ops(stream);
  ops.pool = make_pool_ops(stream);
  ops.upsample = make_upsample_ops(stream);
  ops.elementwise = make_elementwise_ops(stream);
  ops.loss = make_loss_ops(stream);
  ops.confusion = make_confusion_ops(stream);
  ops.optim = make_optim_ops(stream);
  ops.augment = make_augment_ops(stream);
  return ops;
}

}  // namespace macadam::emulated
