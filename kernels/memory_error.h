#pragma once
// The one failure that callers tell apart: what is to be computed does not fit into memory.

#include "base/error.h"

namespace macadam {

class MemoryError : public RunError {
 public:
  using RunError::RunError;
};

}  // namespace macadam
