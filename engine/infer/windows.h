#pragma once
// The windows that cover a photo, from its top left to its bottom right, row by row.

#include <algorithm>
#include <cstdint>

namespace macadam {

/// The windows of one axis of a photo: they begin every half window, the last one flush with the
/// end.
class WindowStarts {
 public:
  WindowStarts(int extent, int window)
      : last_(std::max(0, extent - window)), step_(std::max(1, window / 2)) {}

  int count() const { return 1 + (last_ + step_ - 1) / step_; }
  int step() const { return step_; }
  int operator[](int i) const { return std::min(i * step_, last_); }

 private:
  int last_, step_;
};

class WindowGrid {
 public:
  WindowGrid(int height, int width, int window_height, int window_width)
      : height_(height),
        window_height_(window_height),
        rows_(height, window_height),
        columns_(width, window_width) {}

  /// Below 2^62: each axis has as many as it has pixels at most.
  int64_t count() const { return int64_t{rows_.count()} * columns_.count(); }
  int top(int64_t window) const { return rows_[static_cast<int>(window / columns_.count())]; }
  int left(int64_t window) const { return columns_[static_cast<int>(window % columns_.count())]; }
  /// Rows of the photo from the top of a window to the bottom of the last of `together`, at most.
  int band(int together) const {
    const int64_t below = (int64_t{columns_.count()} + together - 2) / columns_.count();
    return static_cast<int>(std::min<int64_t>(height_, window_height_ + below * rows_.step()));
  }

 private:
  int height_, window_height_;
  WindowStarts rows_, columns_;
};

}  // namespace macadam
