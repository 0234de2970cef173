#pragma once
// Every op of one device on one stream. Calls return when the work is queued (on the CPU: done).

#include <memory>

#include "kernels/activation.h"
#include "kernels/augment.h"
#include "kernels/channel.h"
#include "kernels/confusion.h"
#include "kernels/conv.h"
#include "kernels/device.h"
#include "kernels/distill.h"
#include "kernels/elementwise.h"
#include "kernels/epilogue.h"
#include "kernels/loss.h"
#include "kernels/norm.h"
#include "kernels/optim.h"
#include "kernels/pool.h"
#include "kernels/squeeze_excite.h"
#include "kernels/upsample.h"

namespace macadam {

/// FAMILY(class, name) for every family: the one list of them. A family of it is a member of Ops,
/// has make_NAME_ops() in every backend and NAME_cases() in tests/kernels; what is missing does not
/// link.
#define MACADAM_OP_FAMILIES(FAMILY)        \
  FAMILY(ConvOps, conv)                    \
  FAMILY(NormOps, norm)                    \
  FAMILY(ActivationOps, activation)        \
  FAMILY(ChannelOps, channel)              \
  FAMILY(EpilogueOps, epilogue)            \
  FAMILY(PoolOps, pool)                    \
  FAMILY(SqueezeExciteOps, squeeze_excite) \
  FAMILY(UpsampleOps, upsample)            \
  FAMILY(ElementwiseOps, elementwise)      \
  FAMILY(LossOps, loss)                    \
  FAMILY(DistillOps, distill)              \
  FAMILY(ConfusionOps, confusion)          \
  FAMILY(OptimOps, optim)                  \
  FAMILY(AugmentOps, augment)

struct Ops {
#define MACADAM_MEMBER(Family, name) std::unique_ptr<Family> name;
  MACADAM_OP_FAMILIES(MACADAM_MEMBER)
#undef MACADAM_MEMBER
};

/// The ops of the stream's device. The stream must outlive them. Throws InputError when this build
/// has no backend for the device.
Ops make_ops(Stream& stream);

/// What it takes to run anything on a device. One thread at a time uses it.
struct DeviceContext {
  explicit DeviceContext(Device device = {}) : stream(device), ops(make_ops(stream)) {}
  DeviceContext(const DeviceContext&) = delete;
  DeviceContext& operator=(const DeviceContext&) = delete;

  Device device() const { return stream.device(); }

  Stream stream;
  Ops ops;  // on `stream`
};

/// Ops::augment alone, for a stream that does nothing else.
std::unique_ptr<AugmentOps> make_augment_ops(Stream& stream);

}  // namespace macadam
