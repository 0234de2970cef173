#pragma once
// A half-open range of integers.

namespace macadam::scalar {

struct Range {
  int begin = 0, end = 0;
};

}  // namespace macadam::scalar
