#include "server/service/score_book.h"

namespace macadam {

namespace {

size_t bytes_of(const ConfusionMatrix& matrix) { return matrix.counts().size_bytes(); }

}  // namespace

void ScoreBook::put(const std::string& key, ConfusionMatrix matrix) {
  const size_t bytes = bytes_of(matrix);
  const std::lock_guard lock(mutex_);
  if (bytes > limit_ || entries_.contains(key)) return;
  while (bytes_ + bytes > limit_) {
    const auto oldest = entries_.find(keys_.front());
    bytes_ -= bytes_of(oldest->second);
    entries_.erase(oldest);
    keys_.pop_front();
  }
  bytes_ += bytes;
  keys_.push_back(key);
  entries_.emplace(key, std::move(matrix));
}

std::optional<ConfusionMatrix> ScoreBook::find(std::string_view key) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(key);
  if (found == entries_.end()) return std::nullopt;
  return found->second;
}

}  // namespace macadam
