#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/reference/array.h"
#include "kernels/reference/reference_ops.h"

namespace macadam::reference {
namespace {

/// log softmax of one pixel's C logits.
std::vector<double> log_softmax(std::span<const double> logits) {
  double largest = -std::numeric_limits<double>::infinity();
  for (const double z : logits) largest = std::max(largest, z);
  double sum = 0;
  for (const double z : logits) sum += std::exp(z - largest);
  std::vector<double> result;
  for (const double z : logits) result.push_back(z - largest - std::log(sum));
  return result;
}

/// One class's sums over the valid pixels, and its term of the Dice mean.
struct DiceClass {
  double intersection = 0, predicted = 0, labelled = 0;

  bool counts(AbsentClass absent) const { return labelled > 0 || absent != AbsentClass::skip; }
  bool contributes(AbsentClass absent) const {
    return labelled > 0 || absent == AbsentClass::suppress;
  }
  double denominator(double smooth) const { return predicted + labelled + smooth; }
  double loss(double smooth) const { return 1 - (2 * intersection + smooth) / denominator(smooth); }
  /// d loss / d p of a pixel whose one-hot label is `g` for this class.
  double gradient(double g, double smooth) const {
    const double d = denominator(smooth);
    return -(2 * g * d - (2 * intersection + smooth)) / (d * d);
  }
};

class ReferenceLossOps : public LossOps {
 public:
  size_t workspace_bytes(Shape) const override { return 0; }

  void segmentation(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
                    const Tensor& class_weights, const Tensor& d_logits, LossValues* values,
                    void*) override {
    const Array z(logits), label(labels);
    const auto classes = static_cast<size_t>(logits.shape.c);
    const auto pixels = static_cast<size_t>(logits.shape.pixels());
    const std::vector<double> weight = weights_of(class_weights, classes);
    const double s = desc.label_smoothing, smooth = desc.dice_smooth;
    const auto is_valid = [&](size_t pixel) {
      const double l = label.values()[pixel];
      return l != desc.ignore && l < static_cast<double>(classes);
    };
    const auto label_of = [&](size_t pixel) { return static_cast<size_t>(label.values()[pixel]); };
    const auto log_p_of = [&](size_t pixel) {
      return log_softmax(z.values().subspan(pixel * classes, classes));
    };

    double ce = 0, weight_sum = 0, valid = 0;
    std::vector<DiceClass> dice_of(classes);
    for (size_t pixel = 0; pixel < pixels; ++pixel) {
      if (!is_valid(pixel)) continue;
      const size_t l = label_of(pixel);
      const std::vector<double> log_p = log_p_of(pixel);
      double sum_log_p = 0;
      for (const double v : log_p) sum_log_p += v;
      ce -= weight[l] * ((1 - s) * log_p[l] + s / static_cast<double>(classes) * sum_log_p);
      weight_sum += weight[l];
      valid += 1;
      for (size_t c = 0; c < classes; ++c) dice_of[c].predicted += std::exp(log_p[c]);
      dice_of[l].intersection += std::exp(log_p[l]);
      dice_of[l].labelled += 1;
    }
    if (weight_sum > 0) ce /= weight_sum;

    double dice = 0, dice_classes = 0;
    for (const DiceClass& d : dice_of) {
      if (valid > 0 && d.counts(desc.absent)) dice_classes += 1;
      if (valid > 0 && d.contributes(desc.absent)) dice += d.loss(smooth);
    }
    if (dice_classes > 0) dice /= dice_classes;
    if (desc.dice_weight == 0) dice = 0;

    if (d_logits.data) {
      const double scale = desc.gradient_scale ? double{*desc.gradient_scale} : 1.0;
      Array gradient(logits.shape);
      for (size_t pixel = 0; pixel < pixels; ++pixel) {
        if (!is_valid(pixel)) continue;
        const size_t l = label_of(pixel);
        const std::vector<double> log_p = log_p_of(pixel);
        std::vector<double> d_p(classes, 0.0);  // of the Dice loss
        double mean_d_p = 0;
        for (size_t c = 0; c < classes; ++c) {
          if (!dice_of[c].contributes(desc.absent)) continue;
          d_p[c] = dice_of[c].gradient(c == l ? 1 : 0, smooth) / dice_classes;
          mean_d_p += std::exp(log_p[c]) * d_p[c];
        }
        for (size_t c = 0; c < classes; ++c) {
          const double p = std::exp(log_p[c]);
          const double target = (c == l ? 1 - s : 0) + s / static_cast<double>(classes);
          const double d_ce = weight_sum > 0 ? weight[l] * (p - target) / weight_sum : 0;
          gradient.values()[pixel * classes + c] =
              scale *
              (double{desc.ce_weight} * d_ce + double{desc.dice_weight} * p * (d_p[c] - mean_d_p));
        }
      }
      gradient.write(d_logits);
    }
    const double total = double{desc.ce_weight} * ce + double{desc.dice_weight} * dice;
    *values = {static_cast<float>(total), static_cast<float>(ce), static_cast<float>(dice),
               static_cast<float>(valid)};
  }

 private:
  static std::vector<double> weights_of(const Tensor& class_weights, size_t classes) {
    if (!class_weights.data) return std::vector<double>(classes, 1.0);
    const Array weights(class_weights);
    return {weights.values().begin(), weights.values().end()};
  }
};

}  // namespace

std::unique_ptr<LossOps> make_loss_ops() { return std::make_unique<ReferenceLossOps>(); }

}  // namespace macadam::reference
