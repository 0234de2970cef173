#pragma once
// Memory that many requests share: what one takes is missing to the others until it is given back.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/to_size.h"

namespace macadam {

class ByteBudget {
 public:
  explicit ByteBudget(size_t bytes) : all_(static_cast<int64_t>(bytes)), left_(all_) {}

  /// Whether so many more may be held; they are taken then.
  bool take(size_t bytes) {
    const auto wanted = static_cast<int64_t>(bytes);
    if ((left_ -= wanted) >= 0) return true;
    left_ += wanted;
    return false;
  }
  void give_back(size_t bytes) { left_ += static_cast<int64_t>(bytes); }

  /// Gives back with its last copy.
  using Hold = std::shared_ptr<const void>;
  /// As take(), but whoever comes alone gets what it wants; null: not now. The budget outlives it.
  Hold hold(size_t bytes) {
    if (!take(bytes)) {
      if (left_ != all_) return nullptr;
      left_ -= static_cast<int64_t>(bytes);
    }
    return {this, [bytes](ByteBudget* budget) { budget->give_back(bytes); }};
  }
  size_t all() const { return to_size(all_); }
  size_t held() const { return to_size(all_ - left_); }

 private:
  const int64_t all_;
  std::atomic<int64_t> left_;
};

}  // namespace macadam
