#include "engine/graph/folding.h"

#include <algorithm>

#include "base/round_up.h"
#include "base/to_size.h"

namespace macadam {

namespace {

size_t bytes_of(const Shape& shape) {
  return round_up(to_size(shape.elements()) * sizeof(float), kMemoryAlignment);
}

Shape vector_of(int channels) { return {1, 1, 1, channels}; }

/// Weights and a bias after each other.
size_t bytes_with_bias(const Shape& weights) {
  return bytes_of(weights) + bytes_of(vector_of(weights.n));
}

WeightsAndBias place(std::byte*& memory, const Shape& weights, Device device) {
  const WeightsAndBias made{
      Tensor(memory, weights, DType::f32, device),
      Tensor(memory + bytes_of(weights), vector_of(weights.n), DType::f32, device)};
  memory += bytes_with_bias(weights);
  return made;
}

/// The middle of kernels, pixel by pixel.
Tensor middle_of(const Tensor& weights) {
  const Shape s = weights.shape;
  Tensor middle(static_cast<float*>(weights.data) + (s.h / 2 * s.w + s.w / 2) * s.c,
                {s.n, 1, 1, s.c}, DType::f32, weights.device);
  middle.pixel_stride = int64_t{s.h} * s.w * s.c;
  return middle;
}

/// The diagonal of {C, 1, 1, C}.
Tensor diagonal_of(const Tensor& weights) {
  const int channels = weights.shape.n;
  Tensor diagonal(weights.data, {1, 1, channels, 1}, DType::f32, weights.device);
  diagonal.pixel_stride = int64_t{channels} + 1;
  return diagonal;
}

/// Takes a layer's parameters one by one.
class Reader {
 public:
  explicit Reader(std::span<const Tensor> parameters) : rest_(parameters) {}

  std::span<const Tensor> take(size_t count) {
    const auto taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }

 private:
  std::span<const Tensor> rest_;
};

class Folding {
 public:
  Folding(Ops& ops, std::span<const Tensor> parameters, void* memory)
      : ops_(ops),
        reader_(parameters),
        device_(parameters[0].device),
        memory_(static_cast<std::byte*>(memory)) {}

  /// A convolution, or a batch norm alone, with the norm behind it.
  WeightsAndBias step(const ConvStep& step, int channels) {
    const bool identity = step.kernel == 0;
    const Shape shape = identity ? Shape{channels, 1, 1, channels} : step.weights(channels);
    WeightsAndBias given{identity ? unit(shape) : reader_.take(1)[0], Tensor()};
    if (step.bias) given.bias = reader_.take(1)[0];
    const WeightsAndBias made = place(memory_, shape, device_);
    if (step.norm) {
      const std::span<const Tensor> norm = reader_.take(4);
      ops_.norm->fold(*step.norm, given.weights, given.bias, norm[0], norm[1], norm[2], norm[3],
                      made.weights, made.bias);
      return made;
    }
    ops_.elementwise->copy(given.weights, made.weights, false);
    if (step.bias) {
      ops_.elementwise->copy(given.bias, made.bias, false);
    } else {
      ops_.elementwise->fill(made.bias, 0);
    }
    return made;
  }

  WeightsAndBias branch(const ConvBranch& branch, int channels) {
    WeightsAndBias sum = step(branch.front(), channels);
    for (size_t i = 1; i < branch.size(); ++i) {
      const WeightsAndBias second = step(branch[i], sum.weights.shape.n);
      Shape shape = sum.weights.shape;
      shape.n = second.weights.shape.n;
      const WeightsAndBias product = place(memory_, shape, device_);
      ops_.norm->compose(sum.weights, sum.bias, second.weights, second.bias, product.weights,
                         product.bias);
      sum = product;
    }
    return sum;
  }

  /// Adds up all branches; each works in the memory behind the sum.
  WeightsAndBias branches(const ConvLayer& layer, const Shape& weights) {
    const WeightsAndBias sum = place(memory_, weights, device_);
    ops_.elementwise->fill(sum.weights, 0);
    ops_.elementwise->fill(sum.bias, 0);
    std::byte* const behind = memory_;
    for (const ConvBranch& steps : layer.branches) {
      memory_ = behind;
      const WeightsAndBias part = branch(steps, weights.c);
      const bool small = part.weights.shape.h < weights.h;
      ops_.elementwise->copy(part.weights, small ? middle_of(sum.weights) : sum.weights, true);
      ops_.elementwise->copy(part.bias, sum.bias, true);
    }
    return sum;
  }

 private:
  Tensor unit(const Shape& shape) {
    const Tensor made(memory_, shape, DType::f32, device_);
    memory_ += bytes_of(shape);
    ops_.elementwise->fill(made, 0);
    ops_.elementwise->fill(diagonal_of(made), 1);
    return made;
  }

  Ops& ops_;
  Reader reader_;
  Device device_;
  std::byte* memory_;
};

size_t branch_bytes(const ConvBranch& branch, int channels) {
  size_t bytes = 0;
  Shape shape;
  for (size_t i = 0; i < branch.size(); ++i) {
    const bool identity = branch[i].kernel == 0;
    const Shape own = identity ? Shape{channels, 1, 1, channels} : branch[i].weights(channels);
    bytes += bytes_with_bias(own) + (identity ? bytes_of(own) : 0);
    if (i == 0) {
      shape = own;
    } else {
      shape.n = own.n;
      bytes += bytes_with_bias(shape);
    }
    channels = own.n;
  }
  return bytes;
}

}  // namespace

size_t folding_bytes(const ConvLayer& layer, const Shape& weights) {
  if (!folds_weights(layer)) return 0;
  size_t most = 0;
  for (const ConvBranch& branch : layer.branches) {
    most = std::max(most, branch_bytes(branch, weights.c));
  }
  return bytes_with_bias(weights) + most;
}

WeightsAndBias fold_weights(const ConvLayer& layer, const Shape& weights,
                            std::span<const Tensor> parameters, void* memory, Ops& ops) {
  if (!layer.branches.empty()) return Folding(ops, parameters, memory).branches(layer, weights);
  auto* at = static_cast<std::byte*>(memory);
  const WeightsAndBias folded = place(at, weights, parameters[0].device);
  const std::span<const Tensor> norm = parameters.last(4);
  ops.norm->fold(*layer.folded_norm, parameters[0], layer.bias ? parameters[1] : Tensor(), norm[0],
                 norm[1], norm[2], norm[3], folded.weights, folded.bias);
  return folded;
}

}  // namespace macadam
