#include <algorithm>
#include <cmath>
#include <limits>

#include "base/to_size.h"
#include "kernels/reference/array.h"
#include "kernels/reference/reference_ops.h"

namespace macadam::reference {
namespace {

class ReferenceConfusionOps : public ConfusionOps {
 public:
  void argmax(const Tensor& scores, const Tensor& classes, const Tensor& confidence) override {
    const Array in(scores);
    Array out(classes.shape), sure(classes.shape);
    const auto count = to_size(scores.shape.c);
    for_each(classes.shape, [&](int n, int h, int w, int) {
      int best = 0;
      double best_score = -std::numeric_limits<double>::infinity();
      for (int c = 0; c < scores.shape.c; ++c)
        if (in(n, h, w, c) > best_score) {  // false for NaN
          best = c;
          best_score = in(n, h, w, c);
        }
      out(n, h, w, 0) = best;
      const int pixel = (n * scores.shape.h + h) * scores.shape.w + w;
      sure(n, h, w, 0) = confidence_of(in.values().subspan(to_size(pixel) * count, count));
    });
    out.write(classes);
    if (confidence.data != nullptr) sure.write(confidence);
  }

  void log_shares(const Tensor& sums) override {
    const Array in(sums);
    Array out(sums.shape);
    for_each(sums.shape, [&](int n, int h, int w, int c) {
      double total = 0;
      for (int other = 0; other < sums.shape.c; ++other) total += in(n, h, w, other);
      const double share = total > 0 ? in(n, h, w, c) / total : 0;
      out(n, h, w, c) = std::log(std::max(share, double{std::numeric_limits<float>::min()}));
    });
    out.write(sums);
  }

  void count(const Tensor& predictions, const Tensor& labels, int classes,
             uint64_t* counts) override {
    const Array prediction(predictions), label(labels);
    for (size_t i = 0; i < label.values().size(); ++i) {
      const auto l = static_cast<int>(label.values()[i]);
      const auto p = static_cast<int>(prediction.values()[i]);
      if (l < classes && p < classes) ++counts[l * classes + p];
    }
  }
};

}  // namespace

std::unique_ptr<ConfusionOps> make_confusion_ops() {
  return std::make_unique<ReferenceConfusionOps>();
}

}  // namespace macadam::reference
