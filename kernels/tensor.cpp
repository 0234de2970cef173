#include "kernels/tensor.h"

#include "base/to_size.h"

namespace macadam {

std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return "f32";
    case DType::bf16: return "bf16";
    case DType::f16: return "f16";
    case DType::u8: return "u8";
  }
  return "?";
}

std::string Device::name() const {
  return is_cuda() ? "cuda:" + std::to_string(index) : std::string("cpu");
}

std::string Shape::text() const {
  return std::to_string(n) + 'x' + std::to_string(h) + 'x' + std::to_string(w) + 'x' +
         std::to_string(c);
}

Tensor Tensor::channels(int first, int count) const {
  require(first >= 0 && count > 0 && first + count <= shape.c, "channel slice lies in the tensor");
  Tensor slice = *this;
  slice.data = static_cast<std::byte*>(data) + to_size(first) * size_of(dtype);
  slice.shape.c = count;
  slice.spare = 0;
  return slice;
}

Tensor Tensor::whole() const {
  Tensor all = *this;
  all.shape.c += spare;
  all.spare = 0;
  return all;
}

}  // namespace macadam
