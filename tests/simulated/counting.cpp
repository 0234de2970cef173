#include "tests/simulated/counting.h"

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/round_up.h"
#include "base/to_size.h"
#include "emulated_ops.h"
#include "kernels/cuda/cuda_ops.h"

namespace macadam::simulated {

Tally& Tally::operator+=(const Tally& other) {
  launches += other.launches;
  bytes += other.bytes;
  seconds += other.seconds;
  return *this;
}

Tally total(const Tallies& tallies) {
  Tally sum;
  for (const auto& [kind, tally] : tallies) sum += tally;
  return sum;
}

Tally outside(const Tallies& tallies) {
  Tally sum;
  for (const auto& [kind, tally] : tallies) {
    if (kind != "convolution") sum += tally;
  }
  return sum;
}

namespace {

int64_t bytes_of(const Tensor& tensor) {
  return tensor.data == nullptr ? 0 : static_cast<int64_t>(tensor.whole().bytes());
}
int64_t bytes_of(std::initializer_list<const Tensor*> tensors) {
  int64_t sum = 0;
  for (const Tensor* tensor : tensors) sum += bytes_of(*tensor);
  return sum;
}
/// Of a result, which is read first where it is added to.
int64_t result_bytes(const Tensor& y, bool accumulate) {
  return bytes_of(y) * (accumulate ? 2 : 1);
}

/// Seconds of one pass of a convolution.
double convolution_seconds(const ConvDesc& desc, int64_t bytes) {
  const int channels = std::min(desc.input.c / desc.groups, desc.out_channels / desc.groups);
  const double share = channels >= 256   ? 0.85
                       : channels >= 128 ? 0.75
                       : channels >= 64  ? 0.60
                                         : 0.38 * std::min(1.0, channels / 32.0);
  return std::max({2 * static_cast<double>(desc.macs()) / (share * AssumedGpu::kFlopsPerSecond),
                   static_cast<double>(bytes) / AssumedGpu::kBytesPerSecond,
                   AssumedGpu::kSmallKernel});
}

/// Notes calls: what each launches, its bytes and its seconds.
class Book {
 public:
  Book(Stream& stream, Tallies& tallies) : stream_(stream), tallies_(tallies) {}

  /// An op's call, at the rate of memory; of its bytes, or of bytes(launches).
  template <typename Bytes, typename Call>
  void note(const char* kind, const Bytes& bytes, const Call& call) const {
    const int64_t before = stream_.launches();
    call();
    const int64_t launches = stream_.launches() - before;
    int64_t moved = 0;
    if constexpr (std::is_invocable_v<Bytes, int64_t>) {
      moved = bytes(launches);
    } else {
      moved = bytes;
    }
    tallies_[kind] += {launches, moved,
                       std::max(static_cast<double>(moved) / AssumedGpu::kBytesPerSecond,
                                AssumedGpu::kSmallKernel * static_cast<double>(launches))};
  }
  void note_convolution(const ConvDesc& desc, int64_t bytes) const {
    stream_.count_launch();
    tallies_["convolution"] += {1, bytes, convolution_seconds(desc, bytes)};
  }
  Device device() const { return stream_.device(); }

 private:
  Stream& stream_;
  Tallies& tallies_;
};

constexpr size_t aligned(size_t bytes) { return round_up(bytes, kMemoryAlignment); }

/// A convolution of cuDNN by what its calls launch (kernels/cuda/cudnn/conv.cpp).
class CountedConvolution final : public Convolution {
 public:
  CountedConvolution(const Book& book, ElementwiseOps& elementwise, const ConvDesc& desc)
      : book_(book), elementwise_(elementwise), desc_(desc) {}

  size_t workspace_bytes() const override { return packed_bytes(); }
  size_t packed_bytes() const override {
    return bias_offset() + (desc_.bias ? desc_.out_channels * size_of(desc_.dtype) : 0);
  }
  std::string implementation() const override { return "counted"; }

  void pack(const Tensor& weights, const Tensor& bias, void* packed) override {
    for (const Cast& cast : casts(weights, bias, packed)) {
      elementwise_.copy(cast.from, cast.to, false);
    }
  }
  std::vector<Cast> casts(const Tensor& weights, const Tensor& bias, void* packed) const override {
    std::vector<Cast> list{{weights, Tensor(packed, weights.shape, desc_.dtype, book_.device())}};
    if (desc_.bias) {
      std::byte* const target = static_cast<std::byte*>(packed) + bias_offset();
      list.push_back({bias, Tensor(target, bias.shape, desc_.dtype, book_.device())});
    }
    return list;
  }

  void forward(const Tensor& x, const void*, const Tensor& y, void*) override {
    book_.note_convolution(desc_, moved(x, y));
  }
  void backward_data(const Tensor& dy, const void*, const Tensor& dx, void*) override {
    book_.note_convolution(desc_, moved(dy, dx));
  }
  DType weight_gradient_dtype() const override { return desc_.dtype; }
  void backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw,
                        void* workspace) override {
    book_.note_convolution(desc_, moved(x, dy));
    if (dw.dtype != desc_.dtype) {
      elementwise_.copy(Tensor(workspace, dw.shape, desc_.dtype, book_.device()), dw, false);
    }
  }

 private:
  size_t bias_offset() const {
    return aligned(to_size(desc_.weights().elements()) * size_of(desc_.dtype));
  }
  int64_t moved(const Tensor& a, const Tensor& b) const {
    return bytes_of({&a, &b}) + static_cast<int64_t>(bias_offset());
  }

  Book book_;
  ElementwiseOps& elementwise_;
  ConvDesc desc_;
};

/// One that is handwritten.
class CountedDepthwise final : public Convolution {
 public:
  CountedDepthwise(const Book& book, std::unique_ptr<Convolution> inner)
      : book_(book), inner_(std::move(inner)) {}

  size_t workspace_bytes() const override { return inner_->workspace_bytes(); }
  size_t packed_bytes() const override { return inner_->packed_bytes(); }
  std::string implementation() const override { return inner_->implementation(); }
  std::vector<Cast> casts(const Tensor& weights, const Tensor& bias, void* packed) const override {
    return inner_->casts(weights, bias, packed);
  }
  void pack(const Tensor& weights, const Tensor& bias, void* packed) override {
    book_.note("depthwise", bytes_of(weights), [&] { inner_->pack(weights, bias, packed); });
  }
  void forward(const Tensor& x, const void* packed, const Tensor& y, void* workspace) override {
    book_.note("depthwise", bytes_of({&x, &y}), [&] { inner_->forward(x, packed, y, workspace); });
  }
  void backward_data(const Tensor& dy, const void* packed, const Tensor& dx,
                     void* workspace) override {
    book_.note("depthwise", bytes_of({&dy, &dx}),
               [&] { inner_->backward_data(dy, packed, dx, workspace); });
  }
  void backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw,
                        void* workspace) override {
    book_.note("depthwise", bytes_of({&x, &dy}),
               [&] { inner_->backward_weights(x, dy, dw, workspace); });
  }

 private:
  Book book_;
  std::unique_ptr<Convolution> inner_;
};

class CountedNorm final : public NormOps {
 public:
  CountedNorm(const Book& book, std::unique_ptr<NormOps> inner)
      : book_(book), inner_(std::move(inner)) {}

  size_t workspace_bytes(Shape shape) const override { return inner_->workspace_bytes(shape); }
  void train(const BatchNormDesc& desc, const Tensor& x, const Tensor& gamma, const Tensor& beta,
             const Tensor& running_mean, const Tensor& running_var, const Tensor& saved_mean,
             const Tensor& saved_inv_std, const Tensor& skip, const Tensor& y,
             void* workspace) override {
    // One launch holds what it has read.
    const auto bytes = [&](int64_t launches) {
      return (desc.frozen || launches == 1 ? 1 : 2) * bytes_of(x) + bytes_of({&skip, &y});
    };
    book_.note("batch norm", bytes, [&] {
      inner_->train(desc, x, gamma, beta, running_mean, running_var, saved_mean, saved_inv_std,
                    skip, y, workspace);
    });
  }
  void infer(const BatchNormDesc& desc, const Tensor& x, const Tensor& gamma, const Tensor& beta,
             const Tensor& running_mean, const Tensor& running_var, const Tensor& y) override {
    book_.note("batch norm", bytes_of({&x, &y}),
               [&] { inner_->infer(desc, x, gamma, beta, running_mean, running_var, y); });
  }
  void backward(const BatchNormDesc& desc, const Tensor& x, const Tensor& dy, const Tensor& dmeans,
                const Tensor& gamma, const Tensor& beta, const Tensor& saved_mean,
                const Tensor& saved_inv_std, const SkipGradient& skip, const Tensor& dx,
                const Tensor& dgamma, const Tensor& dbeta, void* workspace) override {
    const auto bytes = [&](int64_t launches) {
      if (dx.data == nullptr) return sums_bytes(desc, x, dy, skip);
      const int64_t again = launches == 1 ? 0 : map_bytes(desc, x, dy, skip);
      return sums_bytes(desc, x, dy, skip) + again + bytes_of(dx);
    };
    book_.note("batch norm", bytes, [&] {
      inner_->backward(desc, x, dy, dmeans, gamma, beta, saved_mean, saved_inv_std, skip, dx,
                       dgamma, dbeta, workspace);
    });
  }
  void fold(const BatchNormDesc& desc, const Tensor& weights, const Tensor& bias,
            const Tensor& gamma, const Tensor& beta, const Tensor& running_mean,
            const Tensor& running_var, const Tensor& folded_weights,
            const Tensor& folded_bias) override {
    book_.note("batch norm", bytes_of({&weights, &folded_weights}), [&] {
      inner_->fold(desc, weights, bias, gamma, beta, running_mean, running_var, folded_weights,
                   folded_bias);
    });
  }
  void compose(const Tensor& first, const Tensor& first_bias, const Tensor& second,
               const Tensor& second_bias, const Tensor& product,
               const Tensor& product_bias) override {
    book_.note("batch norm", bytes_of({&first, &second, &product}), [&] {
      inner_->compose(first, first_bias, second, second_bias, product, product_bias);
    });
  }

 private:
  /// What the gradient's first pass moves: where something is added, with what it hands on to that.
  static int64_t sums_bytes(const BatchNormDesc& desc, const Tensor& x, const Tensor& dy,
                            const SkipGradient& skip) {
    const bool masks = desc.backward_reads_output();
    const bool writes = desc.adds && (masks || skip.dskip.data != dy.data);
    return bytes_of({&x, &dy}) + (masks ? bytes_of(skip.y) : 0) +
           (writes ? result_bytes(skip.dskip, skip.accumulate) : 0);
  }
  /// What the second one reads: the gradient of the sum is made again unless it was written.
  static int64_t map_bytes(const BatchNormDesc& desc, const Tensor& x, const Tensor& dy,
                           const SkipGradient& skip) {
    const bool written = skip.dskip.data != nullptr && !skip.accumulate;
    return bytes_of({&x, &dy}) + (desc.backward_reads_output() && !written ? bytes_of(skip.y) : 0);
  }

  Book book_;
  std::unique_ptr<NormOps> inner_;
};

class CountedActivation final : public ActivationOps {
 public:
  CountedActivation(const Book& book, std::unique_ptr<ActivationOps> inner)
      : book_(book), inner_(std::move(inner)) {}

  void activate(Activation kind, const Tensor& x, const Tensor& y) override {
    book_.note("activation", bytes_of({&x, &y}), [&] { inner_->activate(kind, x, y); });
  }
  void activate_backward(Activation kind, const Tensor& saved, const Tensor& dy, const Tensor& dx,
                         bool accumulate) override {
    book_.note("activation", bytes_of({&saved, &dy}) + result_bytes(dx, accumulate),
               [&] { inner_->activate_backward(kind, saved, dy, dx, accumulate); });
  }
  void dropout(const Tensor& x, const Tensor& y, const Dropout& dropout) override {
    book_.note("dropout", bytes_of({&x, &y}), [&] { inner_->dropout(x, y, dropout); });
  }
  void dropout_backward(const Tensor& dy, const Tensor& dx, const Dropout& dropout,
                        bool accumulate) override {
    book_.note("dropout", bytes_of(dy) + result_bytes(dx, accumulate),
               [&] { inner_->dropout_backward(dy, dx, dropout, accumulate); });
  }
  void drop_path(const Tensor& x, const Tensor& y, const Dropout& dropout,
                 bool accumulate) override {
    book_.note("drop path", bytes_of(x) + result_bytes(y, accumulate),
               [&] { inner_->drop_path(x, y, dropout, accumulate); });
  }

 private:
  Book book_;
  std::unique_ptr<ActivationOps> inner_;
};

class CountedChannel final : public ChannelOps {
 public:
  CountedChannel(const Book& book, std::unique_ptr<ChannelOps> inner)
      : book_(book), inner_(std::move(inner)) {}

  size_t workspace_bytes(Shape shape) const override { return inner_->workspace_bytes(shape); }
  void mean(const Tensor& x, const Tensor& y, void* workspace) override {
    book_.note("squeeze-excite", bytes_of(x), [&] { inner_->mean(x, y, workspace); });
  }
  void mean_backward(const Tensor& dy, const Tensor& dx, bool accumulate) override {
    book_.note("squeeze-excite", result_bytes(dx, accumulate),
               [&] { inner_->mean_backward(dy, dx, accumulate); });
  }
  void scale(const Tensor& x, const Tensor& factors, const Tensor& y) override {
    book_.note("squeeze-excite", bytes_of({&x, &y}), [&] { inner_->scale(x, factors, y); });
  }
  void scale_backward(const Tensor& x, const Tensor& factors, const Tensor& dy, const Tensor& dx,
                      bool accumulate, const Tensor& dfactors, void* workspace) override {
    const int64_t read = bytes_of(dy) + (dfactors.data == nullptr ? 0 : bytes_of(x));
    book_.note("squeeze-excite", read + result_bytes(dx, accumulate), [&] {
      inner_->scale_backward(x, factors, dy, dx, accumulate, dfactors, workspace);
    });
  }
  void add_bias(const Tensor& x, const Tensor& bias, const Tensor& y) override {
    book_.note("bias", bytes_of({&x, &y}), [&] { inner_->add_bias(x, bias, y); });
  }

 private:
  Book book_;
  std::unique_ptr<ChannelOps> inner_;
};

class CountedEpilogue final : public EpilogueOps {
 public:
  CountedEpilogue(const Book& book, std::unique_ptr<EpilogueOps> inner)
      : book_(book), inner_(std::move(inner)) {}

  size_t workspace_bytes(Shape shape) const override { return inner_->workspace_bytes(shape); }
  void backward(const EpilogueDesc& desc, const EpilogueTensors& t, void* workspace) override {
    const bool sums = computes_nothing(desc, t);
    const bool nothing = sums && t.dbias.data == nullptr;
    book_.note(sums ? "bias" : "epilogue",
               nothing ? 0
               : sums  ? bytes_of(t.dy)
                       : bytes_of({&t.y, &t.dy, &t.dpooled, &t.index, &t.dz}) -
                            (desc.activation == Activation::identity ? bytes_of(t.y) : 0),
               [&] { inner_->backward(desc, t, workspace); });
  }

 private:
  Book book_;
  std::unique_ptr<EpilogueOps> inner_;
};

class CountedPool final : public PoolOps {
 public:
  CountedPool(const Book& book, std::unique_ptr<PoolOps> inner)
      : book_(book), inner_(std::move(inner)) {}

  void max(const PoolDesc& desc, const Tensor& x, const Tensor& y, const Tensor& index) override {
    book_.note("pooling", bytes_of({&x, &y, &index}), [&] { inner_->max(desc, x, y, index); });
  }
  void max_backward(const PoolDesc& desc, const Tensor& dy, const Tensor& index, const Tensor& dx,
                    bool accumulate) override {
    book_.note("pooling", bytes_of({&dy, &index}) + result_bytes(dx, accumulate),
               [&] { inner_->max_backward(desc, dy, index, dx, accumulate); });
  }
  void average(const PoolDesc& desc, const Tensor& x, const Tensor& y) override {
    book_.note("pooling", bytes_of({&x, &y}), [&] { inner_->average(desc, x, y); });
  }
  void average_backward(const PoolDesc& desc, const Tensor& dy, const Tensor& dx,
                        bool accumulate) override {
    book_.note("pooling", bytes_of(dy) + result_bytes(dx, accumulate),
               [&] { inner_->average_backward(desc, dy, dx, accumulate); });
  }

 private:
  Book book_;
  std::unique_ptr<PoolOps> inner_;
};

class CountedSqueezeExcite final : public SqueezeExciteOps {
 public:
  CountedSqueezeExcite(const Book& book, std::unique_ptr<SqueezeExciteOps> inner)
      : book_(book), inner_(std::move(inner)) {}

  size_t packed_bytes(const SqueezeExciteDesc& d) const override { return inner_->packed_bytes(d); }
  size_t workspace_bytes(const SqueezeExciteDesc& d) const override {
    return inner_->workspace_bytes(d);
  }
  void pack(const SqueezeExciteDesc& d, const SqueezeExciteParameters& parameters,
            void* packed) override {
    book_.note("squeeze-excite", 3 * weights(d), [&] { inner_->pack(d, parameters, packed); });
  }
  std::vector<Cast> casts(const SqueezeExciteDesc& d, const SqueezeExciteParameters& parameters,
                          void* packed) const override {
    return inner_->casts(d, parameters, packed);
  }
  void gates(const SqueezeExciteDesc& d, const Tensor& means, const void* packed,
             const Tensor& squeezed, const Tensor& gates) override {
    book_.note("squeeze-excite", weights(d),
               [&] { inner_->gates(d, means, packed, squeezed, gates); });
  }
  void backward(const SqueezeExciteDesc& d, const Tensor& means, const void* packed,
                const Tensor& squeezed, const Tensor& gates, const Tensor& dgates,
                const Tensor& dmeans, const SqueezeExciteParameters& gradients,
                void* workspace) override {
    book_.note("squeeze-excite", 3 * weights(d), [&] {
      inner_->backward(d, means, packed, squeezed, gates, dgates, dmeans, gradients, workspace);
    });
  }

 private:
  /// Bytes as they are packed, which is half of them in fp32.
  int64_t weights(const SqueezeExciteDesc& d) const {
    return static_cast<int64_t>(inner_->packed_bytes(d));
  }

  Book book_;
  std::unique_ptr<SqueezeExciteOps> inner_;
};

class CountedUpsample final : public UpsampleOps {
 public:
  CountedUpsample(const Book& book, std::unique_ptr<UpsampleOps> inner)
      : book_(book), inner_(std::move(inner)) {}

  void nearest(const Tensor& x, const Tensor& y) override {
    book_.note("up-sampling", bytes_of({&x, &y}), [&] { inner_->nearest(x, y); });
  }
  void nearest_backward(const Tensor& dy, const Tensor& dx, bool accumulate) override {
    book_.note("up-sampling", bytes_of(dy) + result_bytes(dx, accumulate),
               [&] { inner_->nearest_backward(dy, dx, accumulate); });
  }
  void bilinear(const Tensor& x, const Tensor& y, bool corners) override {
    book_.note("up-sampling", bytes_of({&x, &y}), [&] { inner_->bilinear(x, y, corners); });
  }
  void bilinear_argmax(const Tensor& x, const Tensor& classes, const Tensor& confidence) override {
    const int64_t bytes = bytes_of({&x, &classes});
    book_.note("up-sampling", confidence.data == nullptr ? bytes : bytes + bytes_of(confidence),
               [&] { inner_->bilinear_argmax(x, classes, confidence); });
  }
  void bilinear_add_softmax(const Tensor& x, const WindowPlace& place,
                            const Tensor& sums) override {
    const Shape window{1, std::min(place.height, sums.shape.h - place.top),
                       std::min(place.width, sums.shape.w - place.left), sums.shape.c};
    const Tensor added(sums.data, window, sums.dtype, sums.device);
    book_.note("up-sampling", bytes_of(x) + result_bytes(added, true),
               [&] { inner_->bilinear_add_softmax(x, place, sums); });
  }
  void bilinear_backward(const Tensor& dy, const Tensor& dx, bool corners,
                         bool accumulate) override {
    book_.note("up-sampling", bytes_of(dy) + result_bytes(dx, accumulate),
               [&] { inner_->bilinear_backward(dy, dx, corners, accumulate); });
  }

 private:
  Book book_;
  std::unique_ptr<UpsampleOps> inner_;
};

class CountedElementwise final : public ElementwiseOps {
 public:
  CountedElementwise(const Book& book, std::unique_ptr<ElementwiseOps> inner)
      : book_(book), inner_(std::move(inner)) {}

  void copy(const Tensor& x, const Tensor& y, bool accumulate) override {
    book_.note(x.dtype == y.dtype ? "copy" : "cast", bytes_of(x) + result_bytes(y, accumulate),
               [&] { inner_->copy(x, y, accumulate); });
  }
  void cast_all(std::span<const CastSegment> segments, DType from, DType to,
                int64_t vectors) override {
    const auto element = static_cast<int64_t>(size_of(from) + size_of(to));
    book_.note("cast", vectors * CastSegment::kVector * element,
               [&] { inner_->cast_all(segments, from, to, vectors); });
  }
  void add(const Tensor& a, const Tensor& b, float factor, const Tensor& y, bool relu) override {
    book_.note("addition", bytes_of({&a, &b, &y}), [&] { inner_->add(a, b, factor, y, relu); });
  }
  void scale(const Tensor& x, float factor, const Tensor& y, bool accumulate) override {
    book_.note("copy", bytes_of(x) + result_bytes(y, accumulate),
               [&] { inner_->scale(x, factor, y, accumulate); });
  }
  void fill(const Tensor& y, float value) override {
    book_.note("copy", bytes_of(y), [&] { inner_->fill(y, value); });
  }
  void multiply(const Tensor& a, const Tensor& b, const Tensor& y, bool accumulate) override {
    book_.note("product", bytes_of({&a, &b}) + result_bytes(y, accumulate),
               [&] { inner_->multiply(a, b, y, accumulate); });
  }
  void dot(const Tensor& a, const Tensor& b, const Tensor& y, bool accumulate) override {
    book_.note("product", bytes_of({&a, &b}) + result_bytes(y, accumulate),
               [&] { inner_->dot(a, b, y, accumulate); });
  }

 private:
  Book book_;
  std::unique_ptr<ElementwiseOps> inner_;
};

class CountedLoss final : public LossOps {
 public:
  CountedLoss(const Book& book, std::unique_ptr<LossOps> inner)
      : book_(book), inner_(std::move(inner)) {}

  size_t workspace_bytes(const LossDesc& desc, Shape logits) const override {
    return inner_->workspace_bytes(desc, logits);
  }
  void sums(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
            const Tensor& class_weights, void* workspace) override {
    book_.note("loss", bytes_of({&logits, &labels}),
               [&] { inner_->sums(desc, logits, labels, class_weights, workspace); });
  }
  void gradient(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
                const Tensor& class_weights, const Tensor& d_logits, LossValues* values,
                void* workspace) override {
    const int64_t bytes =
        d_logits.data == nullptr ? 0 : bytes_of({&logits, &labels}) + bytes_of(d_logits);
    book_.note("loss", bytes, [&] {
      inner_->gradient(desc, logits, labels, class_weights, d_logits, values, workspace);
    });
  }

 private:
  Book book_;
  std::unique_ptr<LossOps> inner_;
};

class CountedDistill final : public DistillOps {
 public:
  CountedDistill(const Book& book, std::unique_ptr<DistillOps> inner)
      : book_(book), inner_(std::move(inner)) {}

  size_t workspace_bytes(Shape scores) const override { return inner_->workspace_bytes(scores); }
  void run(const DistillDesc& desc, const Tensor& student, const Tensor& teacher,
           const Tensor& d_student, float* value, void* workspace) override {
    const int passes = d_student.data == nullptr ? 1 : 2;
    book_.note("distillation",
               passes * bytes_of({&student, &teacher}) + result_bytes(d_student, true),
               [&] { inner_->run(desc, student, teacher, d_student, value, workspace); });
  }

 private:
  Book book_;
  std::unique_ptr<DistillOps> inner_;
};

/// The segments lie in the device's memory: their elements together are given.
class CountedOptim final : public OptimOps {
 public:
  CountedOptim(const Book& book, std::unique_ptr<OptimOps> inner, int64_t elements)
      : book_(book), inner_(std::move(inner)), elements_(elements) {}

  size_t workspace_bytes(int64_t elements) const override {
    return inner_->workspace_bytes(elements);
  }
  void examine(const ExamineDesc& desc, const float* gradients,
               std::span<const ParameterSegment> segments, const StepState* state,
               GradientState* gradient_state, void* workspace) override {
    book_.note("optimiser", 4 * elements_, [&] {
      inner_->examine(desc, gradients, segments, state, gradient_state, workspace);
    });
  }
  void sgd(const SgdDesc& desc, const OptimBuffers& buffers,
           std::span<const ParameterSegment> segments, const StepState* state,
           const GradientState* gradient_state) override {
    book_.note("optimiser", 20 * elements_,
               [&] { inner_->sgd(desc, buffers, segments, state, gradient_state); });
  }
  void adamw(const AdamWDesc& desc, const OptimBuffers& buffers,
             std::span<const ParameterSegment> segments, const StepState* state,
             const GradientState* gradient_state) override {
    book_.note("optimiser", 28 * elements_,
               [&] { inner_->adamw(desc, buffers, segments, state, gradient_state); });
  }

 private:
  Book book_;
  std::unique_ptr<OptimOps> inner_;
  int64_t elements_;
};

class CountedConvOps final : public ConvOps {
 public:
  CountedConvOps(const Book& book, Stream& stream)
      : book_(book),
        stream_(stream),
        elementwise_(counted<CountedElementwise>(emulated::make_ops(stream).elementwise)) {}

  std::unique_ptr<Convolution> make(const ConvDesc& desc) override {
    if (emulated::is_depthwise(desc)) {
      return std::make_unique<CountedDepthwise>(book_,
                                                emulated::make_ops(stream_).conv->make(desc));
    }
    return std::make_unique<CountedConvolution>(book_, *elementwise_, desc);
  }

 private:
  template <typename Counted, typename Inner>
  std::unique_ptr<Counted> counted(std::unique_ptr<Inner> inner) const {
    return std::make_unique<Counted>(book_, std::move(inner));
  }

  Book book_;
  Stream& stream_;
  std::unique_ptr<CountedElementwise> elementwise_;
};

}  // namespace

Ops counted_ops(Stream& stream, Tallies& tallies, int64_t parameters) {
  const Book book(stream, tallies);
  Ops ops = make_ops(stream);
  ops.conv = std::make_unique<CountedConvOps>(book, stream);
  ops.norm = std::make_unique<CountedNorm>(book, std::move(ops.norm));
  ops.activation = std::make_unique<CountedActivation>(book, std::move(ops.activation));
  ops.channel = std::make_unique<CountedChannel>(book, std::move(ops.channel));
  ops.epilogue = std::make_unique<CountedEpilogue>(book, std::move(ops.epilogue));
  ops.pool = std::make_unique<CountedPool>(book, std::move(ops.pool));
  ops.squeeze_excite = std::make_unique<CountedSqueezeExcite>(book, std::move(ops.squeeze_excite));
  ops.upsample = std::make_unique<CountedUpsample>(book, std::move(ops.upsample));
  ops.elementwise = std::make_unique<CountedElementwise>(book, std::move(ops.elementwise));
  ops.loss = std::make_unique<CountedLoss>(book, std::move(ops.loss));
  ops.distill = std::make_unique<CountedDistill>(book, std::move(ops.distill));
  ops.optim = std::make_unique<CountedOptim>(book, std::move(ops.optim), parameters);
  return ops;
}

}  // namespace macadam::simulated
