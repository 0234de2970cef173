#pragma once
// The vocabulary of every op: data types, devices, NHWC shapes and the non-owning tensor view.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/to_size.h"
#include "kernels/scalar/half.h"

namespace macadam {

enum class DType : uint8_t { f32, bf16, f16, u8 };

/// Bytes of one element.
constexpr size_t size_of(DType dtype) {
  return dtype == DType::f32 ? 4 : dtype == DType::u8 ? 1 : 2;
}

/// "f32", "bf16", "f16", "u8".
std::string_view name_of(DType dtype);

template <typename T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<bf16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<f16> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::u8;
};

enum class DeviceKind : uint8_t { cpu, cuda };

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;

  bool is_cuda() const { return kind == DeviceKind::cuda; }
  bool operator==(const Device&) const = default;
  /// "cpu" or "cuda:N".
  std::string name() const;
};

/// Extent of a dense NHWC tensor. Vectors (one value a channel) are {1, 1, 1, C}.
struct Shape {
  int n = 1, h = 1, w = 1, c = 1;

  /// N*H*W.
  int64_t pixels() const { return static_cast<int64_t>(n) * h * w; }
  int64_t elements() const { return pixels() * c; }
  bool operator==(const Shape&) const = default;
  /// "4x256x512x3".
  std::string text() const;
};

/// A view of NHWC data that somebody else owns. Neighbouring pixels lie `pixel_stride` elements
/// apart (>= shape.c), so that a view can be a slice of the channels of a wider tensor; rows and
/// images follow without gaps: pixel p (of N*H*W) begins at data + p * pixel_stride.
/// Constness is shallow: a `const Tensor&` argument named as an output is written through.
struct Tensor {
  void* data = nullptr;
  Shape shape;
  DType dtype = DType::f32;
  int64_t pixel_stride = 0;
  Device device;
  /// Channels behind the last one that mean nothing, but are this tensor's too: ops may read them,
  /// and write anything there. So a tensor of 19 channels in the memory of 24 is taken by whole
  /// vectors. At most pixel_stride - shape.c.
  int spare = 0;

  Tensor() = default;
  /// A dense view.
  Tensor(void* data_, Shape shape_, DType dtype_, Device device_ = {})
      : data(data_), shape(shape_), dtype(dtype_), pixel_stride(shape_.c), device(device_) {}

  bool dense() const { return pixel_stride == shape.c; }
  /// Bytes of a dense tensor of this shape.
  size_t bytes() const { return to_size(shape.elements()) * size_of(dtype); }

  /// Channels [first, first + count) of every pixel, sharing the data; none is spare.
  Tensor channels(int first, int count) const;
  /// With the spare channels.
  Tensor whole() const;

  /// The data as T; requires dtype to be T's.
  template <typename T>
  T* as() const {
    require(dtype == DTypeOf<T>::value, "tensor dtype matches the requested type");
    return static_cast<T*>(data);
  }
};

/// Calls f(T{}) with T the storage type of a floating-point dtype.
template <typename F>
decltype(auto) visit_float(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32: return f(float{});
    case DType::bf16: return f(bf16{});
    case DType::f16: return f(f16{});
    case DType::u8: break;
  }
  throw std::logic_error("requirement violated: a floating-point dtype");
}

}  // namespace macadam
