#pragma once
// The keys of a configuration that are about the loss.

#include "run/config.h"

namespace macadam {

/// The loss with its terms and weights, and a teacher: a section of describe() of run/config.h.
void describe_loss(Fields& f, Config& c);

}  // namespace macadam
