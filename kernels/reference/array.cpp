#include "kernels/reference/array.h"

#include <cmath>
#include <limits>

namespace macadam::reference {
namespace {

double load(const Tensor& tensor, int64_t position) {
  if (tensor.dtype == DType::u8) return tensor.as<uint8_t>()[position];
  return visit_float(tensor.dtype, [&](auto zero) -> double {
    return scalar::to_float(tensor.as<decltype(zero)>()[position]);
  });
}

void store(const Tensor& tensor, int64_t position, double value) {
  if (tensor.dtype == DType::u8) {
    tensor.as<uint8_t>()[position] = static_cast<uint8_t>(value);
    return;
  }
  visit_float(tensor.dtype, [&](auto zero) {
    using T = decltype(zero);
    tensor.as<T>()[position] = scalar::from_float<T>(static_cast<float>(value));
  });
}

}  // namespace

Array::Array(const Tensor& tensor) : Array(tensor.shape) {
  size_t i = 0;
  for (int64_t pixel = 0; pixel < shape_.pixels(); ++pixel)
    for (int c = 0; c < shape_.c; ++c) values_[i++] = load(tensor, pixel * tensor.pixel_stride + c);
}

void Array::write(const Tensor& tensor, bool accumulate) const {
  require(tensor.shape == shape_, "the output has the result's shape");
  size_t i = 0;
  for (int64_t pixel = 0; pixel < shape_.pixels(); ++pixel)
    for (int c = 0; c < shape_.c; ++c) {
      const int64_t position = pixel * tensor.pixel_stride + c;
      const double before = accumulate ? load(tensor, position) : 0.0;
      store(tensor, position, before + values_[i++]);
    }
}

int confidence_of(std::span<const double> scores) {
  double best = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const double score : scores) best = score > best ? score : best;
  for (const double score : scores) {
    if (score == best) {
      sum += 1;
    } else if (score < best) {  // false for NaN
      sum += std::exp(score - best);
    }
  }
  return sum > 0 ? static_cast<int>(std::floor(255 / sum + 0.5)) : 0;
}

}  // namespace macadam::reference
