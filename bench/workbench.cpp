#include "bench/workbench.h"

#include <algorithm>
#include <random>

#include "base/to_size.h"

namespace macadam::bench {

namespace {

constexpr size_t kPeriod = 1048573;  // a prime, so that no row or image repeats another

template <typename T>
std::vector<std::byte> bytes_of(std::span<const T> values) {
  const auto bytes = std::as_bytes(values);
  return {bytes.begin(), bytes.end()};
}

float rounded(float value, float) { return value; }
bf16 rounded(float value, bf16) { return scalar::to_bf16(value); }
f16 rounded(float value, f16) { return scalar::to_f16(value); }

}  // namespace

std::byte* Workbench::allocate(size_t bytes) {
  buffers_.emplace_back(context_.device(), bytes);
  bytes_ += bytes;
  return buffers_.back().data();
}

std::byte* Workbench::memory(size_t bytes) {
  std::byte* data = allocate(bytes);
  zero_bytes(context_.stream, data, bytes);
  return data;
}

std::byte* Workbench::upload(std::span<const std::byte> values) {
  std::byte* data = allocate(values.size());
  copy_bytes(context_.stream, data, values.data(), values.size());
  context_.stream.synchronize();
  return data;
}

Tensor Workbench::repeated(Shape shape, DType dtype, std::span<const std::byte> values) {
  const size_t bytes = to_size(shape.elements()) * size_of(dtype);
  std::byte* data = allocate(bytes);
  size_t filled = std::min(bytes, values.size());
  copy_bytes(context_.stream, data, values.data(), filled);
  while (filled < bytes) {
    const size_t more = std::min(filled, bytes - filled);
    copy_bytes(context_.stream, data + filled, data, more);
    filled += more;
  }
  context_.stream.synchronize();
  return {data, shape, dtype, context_.device()};
}

const std::vector<std::byte>& Workbench::normal_values(DType dtype) {
  std::vector<std::byte>& values = normal_values_[dtype];
  if (values.empty()) {
    std::minstd_rand random(7);
    std::normal_distribution<float> normal;
    visit_float(dtype, [&](auto zero) {
      std::vector<decltype(zero)> typed(kPeriod);
      for (auto& v : typed) v = rounded(normal(random), zero);
      values = bytes_of(std::span<const decltype(zero)>(typed));
    });
  }
  return values;
}

Tensor Workbench::random(Shape shape, DType dtype) {
  return repeated(shape, dtype, normal_values(dtype));
}

Tensor Workbench::padded(Shape shape, DType dtype, int stored) {
  Shape whole = shape;
  whole.c = stored;
  Tensor tensor = random(whole, dtype).channels(0, shape.c);
  tensor.spare = stored - shape.c;
  return tensor;
}

Tensor Workbench::integers(Shape shape, int count) {
  std::minstd_rand random(7);
  std::vector<std::byte> values(kPeriod);
  for (std::byte& v : values) {
    v = static_cast<std::byte>(random() % static_cast<unsigned>(count));
  }
  return repeated(shape, DType::u8, values);
}

Tensor Workbench::vector(int channels, float value) {
  const std::vector<float> values(to_size(channels), value);
  float* data = copy_of(std::span<const float>(values));
  return {data, {1, 1, 1, channels}, DType::f32, context_.device()};
}

}  // namespace macadam::bench
