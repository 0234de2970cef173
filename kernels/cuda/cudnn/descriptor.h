#pragma once
// RAII over cuDNN's backend descriptors. This file alone includes cudnn.h, and only cudnn_graph.cpp
// and cudnn_operations.{h,cpp} include this one.

#include <cudnn.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/to_size.h"

static_assert(CUDNN_VERSION >= 90800, "cuDNN 9.8 or newer is needed: plans from device properties");

namespace macadam::cuda {

/// What cuDNN says of its last failure, on one line.
inline std::string last_error() {
  std::array<char, 1024> text{};
  cudnnGetLastErrorString(text.data(), text.size());
  std::string line(text.data());
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

/// Throws RunError unless `status` is success.
inline void check_cudnn(cudnnStatus_t status, std::string_view call, std::string_view remedy) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw RunError(fmt::format("cuDNN: {} failed with {}", call, cudnnGetErrorString(status)),
                 last_error(), remedy);
}

inline constexpr std::string_view kReportRemedy =
    "run with CUDNN_LOGLEVEL_DBG=2 CUDNN_LOGDEST_DBG=stderr and report what cuDNN says";

/// check_cudnn() of a call on an attribute. The text is made only where it fails.
inline void check_attribute(cudnnStatus_t status, std::string_view call,
                            cudnnBackendAttributeName_t name) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  check_cudnn(status, fmt::format("{}({})", call, static_cast<int>(name)), kReportRemedy);
}

/// The enum that names T to cuDNN's attribute functions.
template <typename T>
inline constexpr cudnnBackendAttributeType_t attribute_type = [] {
  if constexpr (std::is_same_v<T, int64_t>) return CUDNN_TYPE_INT64;
  if constexpr (std::is_same_v<T, float>) return CUDNN_TYPE_FLOAT;
  if constexpr (std::is_same_v<T, bool>) return CUDNN_TYPE_BOOLEAN;
  if constexpr (std::is_same_v<T, char>) return CUDNN_TYPE_CHAR;
  if constexpr (std::is_same_v<T, cudnnHandle_t>) return CUDNN_TYPE_HANDLE;
  if constexpr (std::is_same_v<T, cudnnDataType_t>) return CUDNN_TYPE_DATA_TYPE;
  if constexpr (std::is_same_v<T, cudnnConvolutionMode_t>) return CUDNN_TYPE_CONVOLUTION_MODE;
  if constexpr (std::is_same_v<T, cudnnPointwiseMode_t>) return CUDNN_TYPE_POINTWISE_MODE;
  if constexpr (std::is_same_v<T, cudnnNanPropagation_t>) return CUDNN_TYPE_NAN_PROPOGATION;
  if constexpr (std::is_same_v<T, cudnnBackendHeurMode_t>) return CUDNN_TYPE_HEUR_MODE;
  if constexpr (std::is_same_v<T, cudnnBackendNumericalNote_t>) return CUDNN_TYPE_NUMERICAL_NOTE;
  if constexpr (std::is_same_v<T, cudnnBackendBehaviorNote_t>) return CUDNN_TYPE_BEHAVIOR_NOTE;
  if constexpr (std::is_same_v<T, cudnnBackendKnobType_t>) return CUDNN_TYPE_KNOB_TYPE;
}();

/// Owns one backend descriptor. Setters return *this, so that a descriptor reads as a list.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type) {
    check_cudnn(cudnnBackendCreateDescriptor(type, &raw_), "cudnnBackendCreateDescriptor",
                kReportRemedy);
  }
  Descriptor(Descriptor&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~Descriptor() {
    if (raw_ != nullptr) cudnnBackendDestroyDescriptor(raw_);
  }

  cudnnBackendDescriptor_t raw() const { return raw_; }

  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                  const void* values) {
    check_attribute(cudnnBackendSetAttribute(raw_, name, type, count, values),
                    "cudnnBackendSetAttribute", name);
    return *this;
  }
  template <typename T>
  Descriptor& set(cudnnBackendAttributeName_t name, const T& value) {
    return set(name, attribute_type<T>, 1, &value);
  }
  template <size_t N>
  Descriptor& set(cudnnBackendAttributeName_t name, const std::array<int64_t, N>& values) {
    return set(name, CUDNN_TYPE_INT64, N, values.data());
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.raw_);
  }

  Descriptor& finalize() {
    check_cudnn(cudnnBackendFinalize(raw_), "cudnnBackendFinalize", kReportRemedy);
    return *this;
  }

  /// set() and finalize() for values of foreign origin: whether cuDNN takes them.
  template <typename T>
  bool accepts(cudnnBackendAttributeName_t name, const T& value) {
    return cudnnBackendSetAttribute(raw_, name, attribute_type<T>, 1, &value) ==
           CUDNN_STATUS_SUCCESS;
  }
  bool finalizes() { return cudnnBackendFinalize(raw_) == CUDNN_STATUS_SUCCESS; }

  template <typename T>
  T get(cudnnBackendAttributeName_t name) const {
    T value{};
    int64_t count = 0;
    check_attribute(cudnnBackendGetAttribute(raw_, name, attribute_type<T>, 1, &count, &value),
                    "cudnnBackendGetAttribute", name);
    return value;
  }
  /// As many values as there are, at most `capacity`.
  template <typename T>
  std::vector<T> get_list(cudnnBackendAttributeName_t name, int64_t capacity) const {
    std::vector<T> values(to_size(capacity));
    int64_t count = 0;
    check_attribute(
        cudnnBackendGetAttribute(raw_, name, attribute_type<T>, capacity, &count, values.data()),
        "cudnnBackendGetAttribute", name);
    values.resize(to_size(std::min(count, capacity)));
    return values;
  }
  /// The descriptors of `type` that an attribute holds, at most `capacity`.
  std::vector<Descriptor> get_descriptors(cudnnBackendAttributeName_t name,
                                          cudnnBackendDescriptorType_t type,
                                          int64_t capacity) const {
    std::vector<Descriptor> descriptors;
    std::vector<cudnnBackendDescriptor_t> raw;
    for (int64_t i = 0; i < capacity; ++i) raw.push_back(descriptors.emplace_back(type).raw());
    int64_t filled = 0;
    check_attribute(cudnnBackendGetAttribute(raw_, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, capacity,
                                             &filled, raw.data()),
                    "cudnnBackendGetAttribute", name);
    descriptors.erase(descriptors.begin() + static_cast<std::ptrdiff_t>(filled), descriptors.end());
    return descriptors;
  }
  /// How many values an attribute has.
  int64_t count(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type) const {
    int64_t count = 0;
    check_attribute(cudnnBackendGetAttribute(raw_, name, type, 0, &count, nullptr),
                    "cudnnBackendGetAttribute", name);
    return count;
  }

 private:
  cudnnBackendDescriptor_t raw_ = nullptr;
};

}  // namespace macadam::cuda
