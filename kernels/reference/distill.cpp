#include "kernels/distill.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/reference/array.h"
#include "kernels/reference/reference_ops.h"

namespace macadam::reference {
namespace {

/// The logarithm of the softmax over the pixels of image `n` in class `c`.
std::vector<double> log_softmax(const Array& scores, int n, int c, double temperature) {
  std::vector<double> all;
  for (int h = 0; h < scores.shape().h; ++h)
    for (int w = 0; w < scores.shape().w; ++w) all.push_back(scores(n, h, w, c) / temperature);
  const double most = *std::ranges::max_element(all);
  double sum = 0;
  for (const double score : all) sum += std::exp(score - most);
  for (double& score : all) score -= most + std::log(sum);
  return all;
}

class ReferenceDistillOps : public DistillOps {
 public:
  size_t workspace_bytes(Shape) const override { return 0; }

  void run(const DistillDesc& desc, const Tensor& student, const Tensor& teacher,
           const Tensor& d_student, float* value, void*) override {
    check_distill(desc, student, teacher, d_student);
    const Shape shape = student.shape;
    const int images = desc.images == nullptr
                           ? shape.n
                           : static_cast<int>(std::min<uint64_t>(*desc.images, to_size(shape.n)));
    const double mean = double{desc.weight} / (images * shape.c), temperature = desc.temperature;
    const double scale = desc.gradient_scale == nullptr ? 1 : *desc.gradient_scale;
    const Array s(student), t(teacher);
    Array gradient(shape);
    double sum = 0;
    for (int n = 0; n < images; ++n) {
      for (int c = 0; c < shape.c; ++c) {
        const std::vector<double> q = log_softmax(s, n, c, temperature);
        const std::vector<double> p = log_softmax(t, n, c, temperature);
        for (size_t i = 0; i < p.size(); ++i) {
          const auto pixel = static_cast<int>(i);
          sum += std::exp(p[i]) * (p[i] - q[i]);
          gradient(n, pixel / shape.w, pixel % shape.w, c) =
              mean * temperature * scale * (std::exp(q[i]) - std::exp(p[i]));
        }
      }
    }
    *value = images == 0 ? 0 : static_cast<float>(mean * temperature * temperature * sum);
    if (d_student.data != nullptr) gradient.write(d_student, true);
  }
};

}  // namespace

std::unique_ptr<DistillOps> make_distill_ops() { return std::make_unique<ReferenceDistillOps>(); }

}  // namespace macadam::reference
