#pragma once
// Every op of one device on one stream. Calls return when the work is queued (on the CPU: done).

#include <memory>

#include "kernels/activation.h"
#include "kernels/augment.h"
#include "kernels/channel.h"
#include "kernels/confusion.h"
#include "kernels/conv.h"
#include "kernels/device.h"
#include "kernels/elementwise.h"
#include "kernels/epilogue.h"
#include "kernels/loss.h"
#include "kernels/norm.h"
#include "kernels/optim.h"
#include "kernels/pool.h"
#include "kernels/squeeze_excite.h"
#include "kernels/upsample.h"

namespace macadam {

struct Ops {
  std::unique_ptr<ConvOps> conv;
  std::unique_ptr<NormOps> norm;
  std::unique_ptr<ActivationOps> activation;
  std::unique_ptr<ChannelOps> channel;
  std::unique_ptr<EpilogueOps> epilogue;
  std::unique_ptr<PoolOps> pool;
  std::unique_ptr<SqueezeExciteOps> squeeze_excite;
  std::unique_ptr<UpsampleOps> upsample;
  std::unique_ptr<ElementwiseOps> elementwise;
  std::unique_ptr<LossOps> loss;
  std::unique_ptr<ConfusionOps> confusion;
  std::unique_ptr<OptimOps> optim;
  std::unique_ptr<AugmentOps> augment;
};

/// The ops of the stream's device. The stream must outlive them. Throws InputError when this build
/// has no backend for the device.
Ops make_ops(Stream& stream);

/// Ops::augment alone, for a stream that does nothing else.
std::unique_ptr<AugmentOps> make_augment_ops(Stream& stream);

}  // namespace macadam
