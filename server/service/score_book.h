#pragma once
// How good predictions of gallery photos were found to be, kept so that nobody waits for the same
// one twice.

#include <cstddef>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "engine/infer/metrics.h"

namespace macadam {

class ScoreBook {
 public:
  /// Keeps matrices of up to so many bytes together; the oldest go first.
  explicit ScoreBook(size_t bytes = size_t{64} << 20) : limit_(bytes) {}

  /// `key` names photo, mask and model as they are: it changes when one of them does.
  void put(const std::string& key, ConfusionMatrix matrix);
  std::optional<ConfusionMatrix> find(std::string_view key) const;

 private:
  const size_t limit_;
  mutable std::mutex mutex_;
  std::map<std::string, ConfusionMatrix, std::less<>> entries_;
  std::deque<std::string> keys_;  // of entries_, as they came
  size_t bytes_ = 0;
};

}  // namespace macadam
