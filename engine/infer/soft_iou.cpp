#include "engine/infer/soft_iou.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/to_size.h"

namespace macadam {

namespace {

constexpr double kSmooth = 1e-5;

}  // namespace

SoftIou::SoftIou(int classes, int batch)
    : batch_(batch), hits_(to_size(classes)), both_(to_size(classes)) {
  require(classes >= 1 && batch >= 1, "a batch of something, of at least one class");
}

void SoftIou::add(std::span<const uint8_t> labels, std::span<const float> scores) {
  const size_t classes = hits_.size();
  require(scores.size() == labels.size() * classes, "a score for each class of each pixel");
  if (photos_ == batch_) {
    sum_ += batch_score();
    ++batches_;
    photos_ = 0;
    std::ranges::fill(hits_, 0.0);
    std::ranges::fill(both_, 0.0);
  }
  ++photos_;
  std::vector<double> p(classes);
  for (size_t pixel = 0; pixel < labels.size(); ++pixel) {
    const auto of_pixel = scores.subspan(pixel * classes, classes);
    const double largest = *std::ranges::max_element(of_pixel);
    double all = 0;
    for (size_t c = 0; c < classes; ++c) all += p[c] = std::exp(of_pixel[c] - largest);
    for (size_t c = 0; c < classes; ++c) both_[c] += p[c] / all;
    const size_t label = labels[pixel];
    if (label >= classes) continue;
    both_[label] += 1;
    hits_[label] += p[label] / all;
  }
}

double SoftIou::batch_score() const {
  double sum = 0;
  for (size_t c = 0; c < hits_.size(); ++c) {
    sum += (hits_[c] + kSmooth) / (both_[c] - hits_[c] + kSmooth);
  }
  return sum / static_cast<double>(hits_.size());
}

double SoftIou::value() const {
  if (photos_ == 0) return std::numeric_limits<double>::quiet_NaN();
  return (sum_ + batch_score()) / static_cast<double>(batches_ + 1);
}

}  // namespace macadam
