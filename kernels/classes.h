#pragma once
// How many classes there may be.

namespace macadam {

/// In a mask: a pixel's class is a byte, of which 255 says that there is none.
constexpr int kMaxClasses = 255;

/// In a loss, and so in a network that segments: its kernels hold sums and weights of every class
/// at once, in a block's shared memory and on a thread's stack.
constexpr int kMaxLossClasses = 64;

}  // namespace macadam
