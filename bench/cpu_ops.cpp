// The CPU's memory-bound ops at the sizes of UNet-mini (batch 4, 256x512), against the copy roof of
// the same run: BM_copy_roof moves as many bytes with memcpy on the same threads. bytes_per_second
// counts what an op must read and write, so that a ratio to the roof is a ratio of efficiency.

#include "kernels/cpu/cpu_ops.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

namespace macadam {
namespace {

constexpr Shape kFull{4, 256, 512, 32};
constexpr Shape kHalf{4, 128, 256, 64};
constexpr Shape kLogits{4, 256, 512, 8};

/// Memory that a tensor views.
class Storage {
 public:
  Storage(Shape shape, DType dtype) : shape_(shape), dtype_(dtype), buffer_(Device{}, bytes()) {
    std::memset(buffer_.data(), 0, buffer_.bytes());
  }

  Tensor tensor() const { return {buffer_.data(), shape_, dtype_}; }
  size_t bytes() const { return static_cast<size_t>(shape_.elements()) * size_of(dtype_); }

  /// Normally distributed values; for u8, integers below `classes`.
  Storage& randomize(int classes = 4) {
    std::minstd_rand random(7);
    std::normal_distribution<float> normal;
    // A short period is enough, and quick.
    std::vector<float> values(4099);
    for (float& v : values)
      v = dtype_ == DType::u8 ? static_cast<float>(random() % classes) : normal(random);
    for (int64_t i = 0; i < shape_.elements(); ++i) {
      const float v = values[static_cast<size_t>(i) % values.size()];
      switch (dtype_) {
        case DType::f32: tensor().as<float>()[i] = v; break;
        case DType::bf16: tensor().as<bf16>()[i] = scalar::to_bf16(v); break;
        case DType::u8: tensor().as<uint8_t>()[i] = static_cast<uint8_t>(v); break;
        case DType::f16: break;
      }
    }
    return *this;
  }

 private:
  Shape shape_;
  DType dtype_;
  Buffer buffer_;
};

Storage activations(Shape shape) { return std::move(Storage(shape, DType::bf16).randomize()); }
Storage vector(int channels, float value) {
  Storage storage({1, 1, 1, channels}, DType::f32);
  std::fill_n(storage.tensor().as<float>(), channels, value);
  return storage;
}

void report(benchmark::State& state, std::initializer_list<size_t> moved) {
  size_t bytes = 0;
  for (const size_t b : moved) bytes += b;
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes));
}

void BM_copy_roof(benchmark::State& state) {
  const Storage x = activations(kFull), y = activations(kFull);
  const auto* from = static_cast<const std::byte*>(x.tensor().data);
  auto* to = static_cast<std::byte*>(y.tensor().data);
  constexpr int64_t kPieces = 8;
  const auto piece = static_cast<int64_t>(x.bytes()) / kPieces;
  for (auto _ : state) {
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < kPieces; ++k) {
      std::memcpy(to + k * piece, from + k * piece, static_cast<size_t>(piece));
    }
  }
  report(state, {x.bytes(), y.bytes()});
}
BENCHMARK(BM_copy_roof)->UseRealTime();

void BM_relu(benchmark::State& state) {
  const auto ops = cpu::make_activation_ops();
  const Storage x = activations(kFull), y = activations(kFull);
  for (auto _ : state) ops->activate(Activation::relu, x.tensor(), y.tensor());
  report(state, {x.bytes(), y.bytes()});
}
BENCHMARK(BM_relu)->UseRealTime();

void BM_relu_backward(benchmark::State& state) {
  const auto ops = cpu::make_activation_ops();
  const Storage y = activations(kFull), dy = activations(kFull), dx = activations(kFull);
  for (auto _ : state) {
    ops->relu_backward(y.tensor(), dy.tensor(), dx.tensor(), 1.25f, false);
  }
  report(state, {y.bytes(), dy.bytes(), dx.bytes()});
}
BENCHMARK(BM_relu_backward)->UseRealTime();

/// dy from the slice that a skip connection's gradient is.
void BM_relu_backward_slice(benchmark::State& state) {
  const auto ops = cpu::make_activation_ops();
  const Storage y = activations(kFull), dx = activations(kFull);
  const Storage wide = activations({kFull.n, kFull.h, kFull.w, 96});
  for (auto _ : state) {
    ops->relu_backward(y.tensor(), wide.tensor().channels(64, 32), dx.tensor(), 1.25f, false);
  }
  report(state, {y.bytes(), y.bytes(), dx.bytes()});
}
BENCHMARK(BM_relu_backward_slice)->UseRealTime();

void BM_dropout(benchmark::State& state) {
  const auto ops = cpu::make_activation_ops();
  const Storage x = activations(kFull), y = activations(kFull);
  const StepState step{.step = 3};
  const Dropout dropout{.p = 0.2f, .seed = 11, .layer = 2, .state = &step};
  for (auto _ : state) ops->dropout(x.tensor(), y.tensor(), dropout);
  report(state, {x.bytes(), y.bytes()});
}
BENCHMARK(BM_dropout)->UseRealTime();

void BM_dropout_in_place(benchmark::State& state) {
  const auto ops = cpu::make_activation_ops();
  const Storage x = activations(kFull);
  const StepState step{.step = 3};
  const Dropout dropout{.p = 0.2f, .seed = 11, .layer = 2, .state = &step};
  for (auto _ : state) ops->dropout(x.tensor(), x.tensor(), dropout);
  report(state, {x.bytes(), x.bytes()});
}
BENCHMARK(BM_dropout_in_place)->UseRealTime();

void BM_max_pool(benchmark::State& state) {
  const auto ops = cpu::make_pool_ops();
  const Storage x = activations(kFull), y = activations({4, 128, 256, 32});
  const Storage index({4, 128, 256, 32}, DType::u8);
  for (auto _ : state) ops->max({}, x.tensor(), y.tensor(), index.tensor());
  report(state, {x.bytes(), y.bytes(), index.bytes()});
}
BENCHMARK(BM_max_pool)->UseRealTime();

void BM_max_pool_backward(benchmark::State& state) {
  const auto ops = cpu::make_pool_ops();
  const Storage dx = activations(kFull), dy = activations({4, 128, 256, 32});
  const Storage index = std::move(Storage({4, 128, 256, 32}, DType::u8).randomize(4));
  const bool accumulate = state.range(0) != 0;
  for (auto _ : state) {
    ops->max_backward({}, dy.tensor(), index.tensor(), dx.tensor(), accumulate);
  }
  report(state, {dy.bytes(), index.bytes(), dx.bytes(), accumulate ? dx.bytes() : 0});
}
BENCHMARK(BM_max_pool_backward)->UseRealTime()->ArgName("accumulate")->Arg(0)->Arg(1);

/// Into the slice of the concatenated tensor.
void BM_nearest_x2(benchmark::State& state) {
  const auto ops = cpu::make_upsample_ops();
  const Storage x = activations(kHalf), wide = activations({4, 256, 512, 96});
  const Storage dense = activations({4, 256, 512, 64});
  const Tensor y = state.range(0) != 0 ? wide.tensor().channels(0, 64) : dense.tensor();
  for (auto _ : state) ops->nearest(x.tensor(), y);
  report(state, {x.bytes(), y.bytes()});
}
BENCHMARK(BM_nearest_x2)->UseRealTime()->ArgName("slice")->Arg(0)->Arg(1);

void BM_nearest_x2_backward(benchmark::State& state) {
  const auto ops = cpu::make_upsample_ops();
  const Storage dx = activations(kHalf), wide = activations({4, 256, 512, 96});
  const Storage dense = activations({4, 256, 512, 64});
  const Tensor dy = state.range(0) != 0 ? wide.tensor().channels(0, 64) : dense.tensor();
  for (auto _ : state) ops->nearest_backward(dy, dx.tensor(), false);
  report(state, {dx.bytes(), dy.bytes()});
}
BENCHMARK(BM_nearest_x2_backward)->UseRealTime()->ArgName("slice")->Arg(0)->Arg(1);

void BM_bilinear_x2(benchmark::State& state) {
  const auto ops = cpu::make_upsample_ops();
  const int channels = static_cast<int>(state.range(0));
  const Storage x = activations({4, 128, 256, channels}), y = activations({4, 256, 512, channels});
  for (auto _ : state) ops->bilinear(x.tensor(), y.tensor());
  report(state, {x.bytes(), y.bytes()});
}
BENCHMARK(BM_bilinear_x2)->UseRealTime()->ArgName("channels")->Arg(8)->Arg(19)->Arg(64);

void BM_bilinear_x2_backward(benchmark::State& state) {
  const auto ops = cpu::make_upsample_ops();
  const int channels = static_cast<int>(state.range(0));
  const Storage dx = activations({4, 128, 256, channels}),
                dy = activations({4, 256, 512, channels});
  for (auto _ : state) ops->bilinear_backward(dy.tensor(), dx.tensor(), false);
  report(state, {dx.bytes(), dy.bytes()});
}
BENCHMARK(BM_bilinear_x2_backward)->UseRealTime()->ArgName("channels")->Arg(8)->Arg(19)->Arg(64);

/// A skip connection into its slice of the concatenated tensor, and back out of it.
void BM_copy_slice(benchmark::State& state) {
  const auto ops = cpu::make_elementwise_ops();
  const Storage dense = activations(kFull), wide = activations({4, 256, 512, 96});
  const Tensor slice = wide.tensor().channels(64, 32);
  for (auto _ : state) {
    state.range(0) != 0 ? ops->copy(slice, dense.tensor(), false)
                        : ops->copy(dense.tensor(), slice, false);
  }
  report(state, {dense.bytes(), dense.bytes()});
}
BENCHMARK(BM_copy_slice)->UseRealTime()->ArgName("out")->Arg(0)->Arg(1);

void BM_copy(benchmark::State& state) {
  const auto ops = cpu::make_elementwise_ops();
  const Storage x = activations(kFull), y = activations(kFull);
  for (auto _ : state) ops->copy(x.tensor(), y.tensor(), false);
  report(state, {x.bytes(), y.bytes()});
}
BENCHMARK(BM_copy)->UseRealTime();

void BM_copy_accumulate(benchmark::State& state) {
  const auto ops = cpu::make_elementwise_ops();
  const Storage x = activations(kFull), y = activations(kFull);
  for (auto _ : state) ops->copy(x.tensor(), y.tensor(), true);
  report(state, {x.bytes(), y.bytes(), y.bytes()});
}
BENCHMARK(BM_copy_accumulate)->UseRealTime();

void BM_copy_f32_to_bf16(benchmark::State& state) {
  const auto ops = cpu::make_elementwise_ops();
  const Storage x = std::move(Storage(kFull, DType::f32).randomize()), y = activations(kFull);
  for (auto _ : state) ops->copy(x.tensor(), y.tensor(), false);
  report(state, {x.bytes(), y.bytes()});
}
BENCHMARK(BM_copy_f32_to_bf16)->UseRealTime();

void BM_add_relu(benchmark::State& state) {
  const auto ops = cpu::make_elementwise_ops();
  const Storage a = activations(kFull), b = activations(kFull), y = activations(kFull);
  for (auto _ : state) ops->add(a.tensor(), b.tensor(), y.tensor(), true);
  report(state, {a.bytes(), b.bytes(), y.bytes()});
}
BENCHMARK(BM_add_relu)->UseRealTime();

void BM_batch_norm_train(benchmark::State& state) {
  const auto ops = cpu::make_norm_ops();
  const Storage x = activations(kFull), y = activations(kFull);
  const Storage one = vector(32, 1), zero = vector(32, 0);
  const Storage mean = vector(32, 0), variance = vector(32, 1);
  const Storage saved_mean = vector(32, 0), saved_inv_std = vector(32, 0);
  const Buffer workspace(Device{}, ops->workspace_bytes(kFull));
  for (auto _ : state) {
    ops->train({.activation = Activation::relu}, x.tensor(), one.tensor(), zero.tensor(),
               mean.tensor(), variance.tensor(), saved_mean.tensor(), saved_inv_std.tensor(),
               y.tensor(), workspace.data());
  }
  report(state, {x.bytes(), x.bytes(), y.bytes()});
}
BENCHMARK(BM_batch_norm_train)->UseRealTime();

void BM_batch_norm_infer(benchmark::State& state) {
  const auto ops = cpu::make_norm_ops();
  const Storage x = activations(kFull), y = activations(kFull);
  const Storage one = vector(32, 1), zero = vector(32, 0);
  for (auto _ : state) {
    ops->infer({.activation = Activation::relu}, x.tensor(), one.tensor(), zero.tensor(),
               zero.tensor(), one.tensor(), y.tensor());
  }
  report(state, {x.bytes(), y.bytes()});
}
BENCHMARK(BM_batch_norm_infer)->UseRealTime();

void BM_batch_norm_backward(benchmark::State& state) {
  const auto ops = cpu::make_norm_ops();
  const Storage x = activations(kFull), dy = activations(kFull), dx = activations(kFull);
  const Storage one = vector(32, 1), zero = vector(32, 0);
  const Storage dgamma = vector(32, 0), dbeta = vector(32, 0);
  const Buffer workspace(Device{}, ops->workspace_bytes(kFull));
  for (auto _ : state) {
    ops->backward({.activation = Activation::relu}, x.tensor(), dy.tensor(), one.tensor(),
                  zero.tensor(), zero.tensor(), one.tensor(), dx.tensor(), dgamma.tensor(),
                  dbeta.tensor(), workspace.data());
  }
  report(state, {2 * x.bytes(), 2 * dy.bytes(), dx.bytes()});
}
BENCHMARK(BM_batch_norm_backward)->UseRealTime();

void BM_loss(benchmark::State& state) {
  const auto ops = cpu::make_loss_ops();
  Shape shape = kLogits;
  shape.c = static_cast<int>(state.range(0));
  const bool dice = state.range(1) != 0;
  const Storage logits = activations(shape), gradient = activations(shape);
  const Storage labels =
      std::move(Storage({4, 256, 512, 1}, DType::u8).randomize(static_cast<int>(state.range(0))));
  const Buffer workspace(Device{}, ops->workspace_bytes(shape));
  const LossDesc desc{.dice_weight = dice ? 1.0f : 0.0f};
  LossValues values;
  for (auto _ : state) {
    ops->segmentation(desc, logits.tensor(), labels.tensor(), {}, gradient.tensor(), &values,
                      workspace.data());
  }
  report(state, {logits.bytes(), dice ? logits.bytes() : 0, gradient.bytes(), labels.bytes()});
}
BENCHMARK(BM_loss)
    ->UseRealTime()
    ->ArgNames({"classes", "dice"})
    ->ArgsProduct({{8, 11, 19}, {0, 1}});

void BM_argmax(benchmark::State& state) {
  const auto ops = cpu::make_confusion_ops();
  Shape shape = kLogits;
  shape.c = static_cast<int>(state.range(0));
  const Storage scores = activations(shape), classes({4, 256, 512, 1}, DType::u8);
  for (auto _ : state) ops->argmax(scores.tensor(), classes.tensor());
  report(state, {scores.bytes(), classes.bytes()});
}
BENCHMARK(BM_argmax)->UseRealTime()->ArgName("classes")->Arg(8)->Arg(19);

void BM_confusion_count(benchmark::State& state) {
  const auto ops = cpu::make_confusion_ops();
  const Storage a = std::move(Storage({4, 256, 512, 1}, DType::u8).randomize(8));
  const Storage b = std::move(Storage({4, 256, 512, 1}, DType::u8).randomize(8));
  std::vector<uint64_t> counts(64);
  for (auto _ : state) ops->count(a.tensor(), b.tensor(), 8, counts.data());
  report(state, {a.bytes(), b.bytes()});
}
BENCHMARK(BM_confusion_count)->UseRealTime();

void BM_adamw(benchmark::State& state) {
  const auto ops = cpu::make_optim_ops();
  constexpr int kParameters = 471784;
  const Storage p = vector(kParameters, 0.1f), g = vector(kParameters, 0.01f);
  const Storage m = vector(kParameters, 0), v = vector(kParameters, 0);
  const ParameterSegment segment{.offset = 0, .count = kParameters};
  const StepState step{.lr = 1e-3f};
  for (auto _ : state) {
    ops->adamw({},
               {.parameters = p.tensor().as<float>(),
                .gradients = g.tensor().as<float>(),
                .moment1 = m.tensor().as<float>(),
                .moment2 = v.tensor().as<float>()},
               {&segment, 1}, &step, nullptr);
  }
  report(state, {7 * p.bytes()});
}
BENCHMARK(BM_adamw)->UseRealTime();

void BM_prepare_images(benchmark::State& state) {
  const auto ops = cpu::make_augment_ops();
  const Storage images = std::move(Storage({4, 256, 512, 3}, DType::u8).randomize(256));
  const Storage x = activations({4, 256, 512, 3});
  const auto flip = static_cast<uint8_t>(state.range(0));
  const uint8_t flips[4] = {flip, flip, flip, flip};
  for (auto _ : state) ops->prepare_images(images.tensor(), flips, {}, x.tensor());
  report(state, {images.bytes(), x.bytes()});
}
BENCHMARK(BM_prepare_images)->UseRealTime()->ArgName("flip")->Arg(0)->Arg(1);

}  // namespace
}  // namespace macadam
