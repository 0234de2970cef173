#include "bench/op_cases.h"

#include <fmt/format.h>

#include <array>
#include <memory>
#include <utility>

#include "base/to_size.h"
#include "bench/augment_programs.h"
#include "bench/convolution_call.h"
#include "bench/loss_cases.h"
#include "bench/stored_channels.h"

namespace macadam::bench {

namespace {

/// Makes the cases of one table: sizes, dtype and the list that they are added to.
class Table {
 public:
  Table(const Extents& extents, DType dtype)
      : extents_(extents),
        dtype_(dtype),
        full_{extents.batch, extents.height, extents.width, 32},
        half_{extents.batch, extents.height / 2, extents.width / 2, 64} {}

  std::vector<OpCase> take() {
    add_elementwise();
    add_activations();
    add_norm();
    add_channel();
    add_squeeze_excite();
    add_pool();
    add_upsample();
    add_depthwise();
    add_loss_cases(extents_, dtype_, cases_);
    add_confusion();
    add_optim();
    add_augment();
    return std::move(cases_);
  }

 private:
  void add(std::string name, std::function<Call(Workbench&)> make) {
    cases_.push_back({std::move(name), false, std::move(make)});
  }
  void add_pointwise(std::string name, std::function<Call(Workbench&)> make) {
    cases_.push_back({std::move(name), true, std::move(make)});
  }

  Shape image(int channels) const {
    return {extents_.batch, extents_.height, extents_.width, channels};
  }
  /// A map as wide as the one in which an up-sampled map and a skip connection lie side by side.
  Shape joined() const { return image(96); }

  void add_elementwise();
  void add_activations();
  void add_epilogue();
  void add_norm();
  void add_channel();
  void add_squeeze_excite();
  void add_pool();
  void add_upsample();
  void add_depthwise();
  void add_confusion();
  void add_optim();
  void add_augment();

  const Extents extents_;
  const DType dtype_;
  const Shape full_, half_;
  std::vector<OpCase> cases_;
};

void Table::add_elementwise() {
  const Shape shape = full_;
  const DType dtype = dtype_;
  for (const bool accumulate : {false, true}) {
    add_pointwise(fmt::format("copy/accumulate:{:d}", accumulate), [=](Workbench& w) {
      const Tensor x = w.random(shape, dtype), y = w.random(shape, dtype);
      return Call{[=, &ops = w.ops()] { ops.elementwise->copy(x, y, accumulate); },
                  x.bytes() + (accumulate ? 2 : 1) * y.bytes()};
    });
  }
  add_pointwise("copy_from_f32", [=](Workbench& w) {
    const Tensor x = w.random(shape, DType::f32), y = w.random(shape, dtype);
    return Call{[=, &ops = w.ops()] { ops.elementwise->copy(x, y, false); }, x.bytes() + y.bytes()};
  });
  // A skip connection into its slice of the joined tensor, and back out of it.
  for (const bool out : {false, true}) {
    add_pointwise(fmt::format("copy_slice/out:{:d}", out), [=, wide = joined()](Workbench& w) {
      const Tensor dense = w.random(shape, dtype);
      const Tensor slice = w.random(wide, dtype).channels(64, shape.c);
      return Call{[=, &ops = w.ops()] {
                    out ? ops.elementwise->copy(slice, dense, false)
                        : ops.elementwise->copy(dense, slice, false);
                  },
                  2 * dense.bytes()};
    });
  }
  add_pointwise("add_relu", [=](Workbench& w) {
    const Tensor a = w.random(shape, dtype), b = w.random(shape, dtype), y = w.random(shape, dtype);
    return Call{[=, &ops = w.ops()] { ops.elementwise->add(a, b, 1, y, true); }, 3 * y.bytes()};
  });
  for (const bool factors : {false, true}) {
    add_pointwise(fmt::format("multiply/factors:{:d}", factors), [=](Workbench& w) {
      Shape second = shape;
      if (factors) second.c = 1;
      const Tensor a = w.random(shape, dtype), b = w.random(second, dtype);
      const Tensor y = w.random(shape, dtype);
      return Call{[=, &ops = w.ops()] { ops.elementwise->multiply(a, b, y, false); },
                  a.bytes() + b.bytes() + y.bytes()};
    });
  }
  add_pointwise("dot", [=](Workbench& w) {
    Shape one = shape;
    one.c = 1;
    const Tensor a = w.random(shape, dtype), b = w.random(shape, dtype), y = w.random(one, dtype);
    return Call{[=, &ops = w.ops()] { ops.elementwise->dot(a, b, y, false); },
                a.bytes() + b.bytes() + y.bytes()};
  });
  add_pointwise("fill", [=](Workbench& w) {
    const Tensor y = w.random(shape, dtype);
    return Call{[=, &ops = w.ops()] { ops.elementwise->fill(y, 0.5f); }, y.bytes()};
  });
}

/// The gradient of bias, ReLU and dropout. With slice:1, dy is the slice that a skip connection's
/// gradient is; with pool:1, a pooling reads y as well.
void Table::add_epilogue() {
  const Shape shape = full_;
  const DType dtype = dtype_;
  for (const bool slice : {false, true}) {
    for (const bool pool : {false, true}) {
      add(fmt::format("epilogue_backward/slice:{:d}/pool:{:d}", slice, pool),
          [=, wide = joined()](Workbench& w) {
            const Tensor y = w.random(shape, dtype), dz = w.random(shape, dtype);
            EpilogueTensors t{.y = y, .dz = dz, .dbias = w.vector(shape.c, 0)};
            t.dy = slice ? w.random(wide, dtype).channels(64, shape.c) : w.random(shape, dtype);
            EpilogueDesc desc{.activation = Activation::relu, .scale = 1.25f, .pool = {}};
            size_t bytes = 3 * y.bytes();
            if (pool) {
              desc.pool = PoolDesc{};
              const Shape pooled = desc.pool->output(shape);
              t.dpooled = w.random(pooled, dtype);
              t.index = w.integers(pooled, 4);
              bytes += t.dpooled.bytes() + t.index.bytes();
            }
            std::byte* workspace = w.memory(w.ops().epilogue->workspace_bytes(shape));
            return Call{[=, &ops = w.ops()] { ops.epilogue->backward(desc, t, workspace); }, bytes};
          });
    }
  }
  add("epilogue_backward/sums", [=](Workbench& w) {
    const EpilogueTensors t{.dy = w.random(shape, dtype), .dbias = w.vector(shape.c, 0)};
    std::byte* workspace = w.memory(w.ops().epilogue->workspace_bytes(shape));
    return Call{[=, &ops = w.ops()] { ops.epilogue->backward({}, t, workspace); }, t.dy.bytes()};
  });
}

void Table::add_activations() {
  const Shape shape = full_;
  const DType dtype = dtype_;
  for (const Activation kind : {Activation::relu, Activation::silu}) {
    add_pointwise(fmt::format("{}", name_of(kind)), [=](Workbench& w) {
      const Tensor x = w.random(shape, dtype), y = w.random(shape, dtype);
      return Call{[=, &ops = w.ops()] { ops.activation->activate(kind, x, y); }, 2 * x.bytes()};
    });
  }
  add_pointwise("silu_backward", [=](Workbench& w) {
    const Tensor x = w.random(shape, dtype), dy = w.random(shape, dtype),
                 dx = w.random(shape, dtype);
    return Call{[=, &ops = w.ops()] {
                  ops.activation->activate_backward(Activation::silu, x, dy, dx, false);
                },
                3 * x.bytes()};
  });
  add_epilogue();
  for (const bool backward : {false, true}) {
    add_pointwise(backward ? "dropout_backward" : "dropout", [=](Workbench& w) {
      const Tensor x = w.random(shape, dtype), y = w.random(shape, dtype);
      const StepState step{.step = 3};
      const Dropout dropout{.p = 0.2f,
                            .seed = 11,
                            .layer = 2,
                            .state = w.copy_of(std::span<const StepState>(&step, 1))};
      return Call{[=, &ops = w.ops()] {
                    backward ? ops.activation->dropout_backward(x, y, dropout, false)
                             : ops.activation->dropout(x, y, dropout);
                  },
                  2 * x.bytes()};
    });
  }
  add_pointwise("drop_path", [=](Workbench& w) {
    const Tensor x = w.random(shape, dtype), y = w.random(shape, dtype);
    const StepState step{.step = 3};
    // Nothing is dropped: what is would not be read.
    const Dropout dropout{
        .p = 0, .seed = 11, .layer = 2, .state = w.copy_of(std::span<const StepState>(&step, 1))};
    return Call{[=, &ops = w.ops()] { ops.activation->drop_path(x, y, dropout, false); },
                2 * x.bytes()};
  });
}

void Table::add_norm() {
  const DType dtype = dtype_;
  const BatchNormDesc desc{.activation = Activation::relu};
  BatchNormDesc adds = desc;
  adds.adds = true;
  for (const Shape shape : {full_, half_}) {
    const int c = shape.c;
    add_pointwise(fmt::format("batch_norm_train/channels:{}", c), [=](Workbench& w) {
      const Tensor x = w.random(shape, dtype), y = w.random(shape, dtype);
      const Tensor gamma = w.vector(c, 1), beta = w.vector(c, 0);
      const Tensor mean = w.vector(c, 0), variance = w.vector(c, 1);
      const Tensor saved_mean = w.vector(c, 0), saved_inv_std = w.vector(c, 0);
      std::byte* workspace = w.memory(w.ops().norm->workspace_bytes(shape));
      return Call{[=, &ops = w.ops()] {
                    ops.norm->train(desc, x, gamma, beta, mean, variance, saved_mean, saved_inv_std,
                                    {}, y, workspace);
                  },
                  3 * x.bytes()};  // x for the statistics, x again, y
    });
    add_pointwise(fmt::format("batch_norm_backward/channels:{}", c), [=](Workbench& w) {
      const Tensor x = w.random(shape, dtype), dy = w.random(shape, dtype),
                   dx = w.random(shape, dtype);
      const Tensor one = w.vector(c, 1), zero = w.vector(c, 0);
      const Tensor dgamma = w.vector(c, 0), dbeta = w.vector(c, 0);
      std::byte* workspace = w.memory(w.ops().norm->workspace_bytes(shape));
      return Call{[=, &ops = w.ops()] {
                    ops.norm->backward(desc, x, dy, {}, one, zero, zero, one, {}, dx, dgamma, dbeta,
                                       workspace);
                  },
                  5 * x.bytes()};  // x and dy for the sums, both again, dx
    });
    add_pointwise(fmt::format("batch_norm_add_train/channels:{}", c), [=](Workbench& w) {
      const Tensor x = w.random(shape, dtype), skip = w.random(shape, dtype),
                   y = w.random(shape, dtype);
      const Tensor gamma = w.vector(c, 1), beta = w.vector(c, 0);
      const Tensor mean = w.vector(c, 0), variance = w.vector(c, 1);
      const Tensor saved_mean = w.vector(c, 0), saved_inv_std = w.vector(c, 0);
      std::byte* workspace = w.memory(w.ops().norm->workspace_bytes(shape));
      return Call{[=, &ops = w.ops()] {
                    ops.norm->train(adds, x, gamma, beta, mean, variance, saved_mean, saved_inv_std,
                                    skip, y, workspace);
                  },
                  4 * x.bytes()};  // x for the statistics; x again, skip, y
    });
    add_pointwise(fmt::format("batch_norm_add_backward/channels:{}", c), [=](Workbench& w) {
      const Tensor x = w.random(shape, dtype), y = w.random(shape, dtype),
                   dy = w.random(shape, dtype), dx = w.random(shape, dtype);
      const Tensor one = w.vector(c, 1), zero = w.vector(c, 0);
      const Tensor dgamma = w.vector(c, 0), dbeta = w.vector(c, 0);
      std::byte* workspace = w.memory(w.ops().norm->workspace_bytes(shape));
      return Call{[=, &ops = w.ops()] {
                    ops.norm->backward(adds, x, dy, {}, one, zero, zero, one, {y, dy, false}, dx,
                                       dgamma, dbeta, workspace);
                  },
                  7 * x.bytes()};  // x, dy, y and dskip in its place for the sums; x, dskip, dx
    });
  }
  add_pointwise("batch_norm_infer", [=, shape = full_](Workbench& w) {
    const Tensor x = w.random(shape, dtype), y = w.random(shape, dtype);
    const Tensor one = w.vector(shape.c, 1), zero = w.vector(shape.c, 0);
    return Call{[=, &ops = w.ops()] { ops.norm->infer(desc, x, one, zero, zero, one, y); },
                2 * x.bytes()};
  });
}

void Table::add_channel() {
  const Shape shape = half_;
  const Shape means{shape.n, 1, 1, shape.c};
  const DType dtype = dtype_;
  add("channel_mean", [=](Workbench& w) {
    const Tensor x = w.random(shape, dtype), y = w.random(means, dtype);
    std::byte* workspace = w.memory(w.ops().channel->workspace_bytes(shape));
    return Call{[=, &ops = w.ops()] { ops.channel->mean(x, y, workspace); }, x.bytes()};
  });
  add_pointwise("channel_mean_backward", [=](Workbench& w) {
    const Tensor dx = w.random(shape, dtype), dy = w.random(means, dtype);
    return Call{[=, &ops = w.ops()] { ops.channel->mean_backward(dy, dx, false); }, dx.bytes()};
  });
  add_pointwise("channel_scale", [=](Workbench& w) {
    const Tensor x = w.random(shape, dtype), y = w.random(shape, dtype),
                 factors = w.random(means, dtype);
    return Call{[=, &ops = w.ops()] { ops.channel->scale(x, factors, y); }, 2 * x.bytes()};
  });
  add("channel_scale_backward", [=](Workbench& w) {
    const Tensor x = w.random(shape, dtype), dy = w.random(shape, dtype),
                 dx = w.random(shape, dtype);
    const Tensor factors = w.random(means, dtype), dfactors = w.random(means, dtype);
    std::byte* workspace = w.memory(w.ops().channel->workspace_bytes(shape));
    return Call{[=, &ops = w.ops()] {
                  ops.channel->scale_backward(x, factors, dy, dx, false, dfactors, workspace);
                },
                3 * x.bytes()};
  });
  add_pointwise("channel_add_bias", [=](Workbench& w) {
    const Tensor x = w.random(shape, dtype), y = w.random(shape, dtype),
                 bias = w.vector(shape.c, 0.5f);
    return Call{[=, &ops = w.ops()] { ops.channel->add_bias(x, bias, y); }, 2 * x.bytes()};
  });
}

/// Of EfficientNet-B0's last blocks. Little is moved: what counts is latency.
void Table::add_squeeze_excite() {
  const SqueezeExciteDesc desc{
      .images = extents_.batch, .channels = 1152, .hidden = 48, .dtype = dtype_};
  const Shape w1{desc.hidden, 1, 1, desc.channels}, w2{desc.channels, 1, 1, desc.hidden};
  auto parameters = [=](Workbench& w) {
    return SqueezeExciteParameters{w.random(w1, DType::f32), w.vector(desc.hidden, 0.1f),
                                   w.random(w2, DType::f32), w.vector(desc.channels, 0.1f)};
  };
  for (const bool backward : {false, true}) {
    add(backward ? "squeeze_excite_backward" : "squeeze_excite", [=](Workbench& w) {
      const SqueezeExciteParameters weights = parameters(w), gradients = parameters(w);
      std::byte* packed = w.memory(w.ops().squeeze_excite->packed_bytes(desc));
      std::byte* workspace = w.memory(w.ops().squeeze_excite->workspace_bytes(desc));
      w.ops().squeeze_excite->pack(desc, weights, packed);
      const Tensor means = w.random(desc.vectors(), desc.dtype),
                   gates = w.random(desc.vectors(), desc.dtype),
                   dgates = w.random(desc.vectors(), desc.dtype),
                   dmeans = w.random(desc.vectors(), desc.dtype),
                   squeezed = w.random(desc.squeezed(), DType::f32);
      const size_t packed_bytes = w.ops().squeeze_excite->packed_bytes(desc);
      if (!backward) {
        return Call{[=, &ops = w.ops()] {
                      ops.squeeze_excite->gates(desc, means, packed, squeezed, gates);
                    },
                    packed_bytes + means.bytes() + gates.bytes()};
      }
      return Call{[=, &ops = w.ops()] {
                    ops.squeeze_excite->backward(desc, means, packed, squeezed, gates, dgates,
                                                 dmeans, gradients, workspace);
                  },
                  packed_bytes + gradients.w1.bytes() + gradients.w2.bytes() + 4 * means.bytes()};
    });
  }
}

void Table::add_pool() {
  const Shape in = full_, out = PoolDesc{}.output(full_);
  const DType dtype = dtype_;
  add("max_pool", [=](Workbench& w) {
    const Tensor x = w.random(in, dtype), y = w.random(out, dtype), index = w.integers(out, 4);
    return Call{[=, &ops = w.ops()] { ops.pool->max({}, x, y, index); },
                x.bytes() + y.bytes() + index.bytes()};
  });
  for (const bool accumulate : {false, true}) {
    add(fmt::format("max_pool_backward/accumulate:{:d}", accumulate), [=](Workbench& w) {
      const Tensor dx = w.random(in, dtype), dy = w.random(out, dtype), index = w.integers(out, 4);
      return Call{[=, &ops = w.ops()] { ops.pool->max_backward({}, dy, index, dx, accumulate); },
                  dy.bytes() + index.bytes() + (accumulate ? 2 : 1) * dx.bytes()};
    });
  }
  add("average_pool", [=](Workbench& w) {
    const Tensor x = w.random(in, dtype), y = w.random(out, dtype);
    return Call{[=, &ops = w.ops()] { ops.pool->average({}, x, y); }, x.bytes() + y.bytes()};
  });
  add("average_pool_backward", [=](Workbench& w) {
    const Tensor dx = w.random(in, dtype), dy = w.random(out, dtype);
    return Call{[=, &ops = w.ops()] { ops.pool->average_backward({}, dy, dx, false); },
                dx.bytes() + dy.bytes()};
  });
}

void Table::add_upsample() {
  const DType dtype = dtype_;
  // With slice:1, the large map is the slice of the joined tensor.
  auto large = [wide = joined(), dense = image(half_.c), dtype](Workbench& w, bool slice) {
    return slice ? w.random(wide, dtype).channels(0, dense.c) : w.random(dense, dtype);
  };
  for (const bool slice : {false, true}) {
    add(fmt::format("nearest/slice:{:d}", slice), [=, small = half_](Workbench& w) {
      const Tensor x = w.random(small, dtype), y = large(w, slice);
      return Call{[=, &ops = w.ops()] { ops.upsample->nearest(x, y); }, x.bytes() + y.bytes()};
    });
    add(fmt::format("nearest_backward/slice:{:d}", slice), [=, small = half_](Workbench& w) {
      const Tensor dx = w.random(small, dtype), dy = large(w, slice);
      return Call{[=, &ops = w.ops()] { ops.upsample->nearest_backward(dy, dx, false); },
                  dx.bytes() + dy.bytes()};
    });
  }
  for (const Channels channels : stored_channels({8, 19, 64}, kPaddedScores, dtype_)) {
    const Shape big = image(channels.count), small{big.n, big.h / 2, big.w / 2, big.c};
    const std::string suffix = fmt::format("{}{}", channels.count, channels.suffix());
    add(fmt::format("bilinear/channels:{}", suffix), [=](Workbench& w) {
      const Tensor x = w.padded(small, dtype, channels.stored);
      const Tensor y = w.padded(big, dtype, channels.stored);
      return Call{[=, &ops = w.ops()] { ops.upsample->bilinear(x, y, false); },
                  x.whole().bytes() + y.whole().bytes()};
    });
    add(fmt::format("bilinear_backward/channels:{}", suffix), [=](Workbench& w) {
      const Tensor dx = w.padded(small, dtype, channels.stored);
      const Tensor dy = w.padded(big, dtype, channels.stored);
      return Call{[=, &ops = w.ops()] { ops.upsample->bilinear_backward(dy, dx, false, false); },
                  dx.whole().bytes() + dy.whole().bytes()};
    });
    if (channels.count == 64) continue;
    add(fmt::format("bilinear_argmax/classes:{}", suffix), [=, mask = image(1)](Workbench& w) {
      const Tensor x = w.padded(small, dtype, channels.stored);
      const Tensor classes = w.integers(mask, channels.count);
      return Call{[=, &ops = w.ops()] { ops.upsample->bilinear_argmax(x, classes, {}); },
                  x.whole().bytes() + classes.bytes()};
    });
    add(fmt::format("bilinear_add_softmax/classes:{}", suffix), [=](Workbench& w) {
      const Shape scores{1, small.h, small.w, small.c};
      const Tensor x = w.padded(scores, dtype, channels.stored);
      const Tensor sums = w.random({1, big.h, big.w, big.c}, DType::f32);
      const WindowPlace place{.height = big.h, .width = big.w, .fades = true};
      return Call{[=, &ops = w.ops()] { ops.upsample->bilinear_add_softmax(x, place, sums); },
                  x.whole().bytes() + 2 * sums.bytes()};
    });
  }
}

void Table::add_depthwise() {
  struct Filter {
    int size, stride;
  };
  for (const Filter filter : {Filter{3, 1}, Filter{3, 2}, Filter{5, 1}}) {
    const ConvDesc desc{.input = half_,
                        .out_channels = half_.c,
                        .kernel_h = filter.size,
                        .kernel_w = filter.size,
                        .stride = filter.stride,
                        .padding = Padding::all(filter.size / 2),
                        .groups = half_.c,
                        .dtype = dtype_,
                        .backward = true};
    for (const char* direction : kConvolutionDirections) {
      add(fmt::format("depthwise_{}/filter:{}/stride:{}", direction, filter.size, filter.stride),
          [=](Workbench& w) { return convolution_call(w, desc, direction); });
    }
  }
}

void Table::add_confusion() {
  const Shape mask = image(1);
  for (const Channels classes : stored_channels({8, 19}, kPaddedScores, dtype_)) {
    add(fmt::format("argmax/classes:{}{}", classes.count, classes.suffix()),
        [=, shape = image(classes.count), dtype = dtype_](Workbench& w) {
          const Tensor scores = w.padded(shape, dtype, classes.stored);
          const Tensor result = w.integers(mask, classes.count);
          return Call{[=, &ops = w.ops()] { ops.confusion->argmax(scores, result, {}); },
                      scores.whole().bytes() + result.bytes()};
        });
  }
  add("log_shares/classes:8", [=, shape = image(8)](Workbench& w) {
    const Tensor sums = w.random(shape, DType::f32);
    w.ops().elementwise->fill(sums, 1);  // shares of equal sums stay equal when taken again
    return Call{[=, &ops = w.ops()] { ops.confusion->log_shares(sums); }, 2 * sums.bytes()};
  });
  add("confusion_count", [=](Workbench& w) {
    const Tensor a = w.integers(mask, 8), b = w.integers(mask, 8);
    auto* counts = reinterpret_cast<uint64_t*>(w.memory(64 * sizeof(uint64_t)));
    return Call{[=, &ops = w.ops()] { ops.confusion->count(a, b, 8, counts); }, 2 * a.bytes()};
  });
}

void Table::add_optim() {
  constexpr int kSegments = 64, kAlignment = 64;
  const int64_t each = extents_.parameters / (kSegments * kAlignment) * kAlignment;
  const int64_t count = kSegments * each;
  const Shape flat{1, 1, 1, static_cast<int>(count)};
  struct Inputs {
    OptimBuffers buffers;
    std::span<const ParameterSegment> segments;
    const StepState* state;
  };
  auto inputs = [=](Workbench& w, bool second_moment, bool averages) {
    std::vector<ParameterSegment> segments(kSegments);
    for (int i = 0; i < kSegments; ++i) {
      segments[to_size(i)] = {.offset = i * each, .count = each, .weight_decay = 0.01f};
    }
    const StepState state{.lr = 1e-3f};
    auto buffer = [&] { return w.random(flat, DType::f32).as<float>(); };
    const OptimBuffers buffers{.parameters = buffer(),
                               .gradients = buffer(),
                               .moment1 = w.vector(flat.c, 0).as<float>(),
                               .moment2 = second_moment ? w.vector(flat.c, 0).as<float>() : nullptr,
                               .averages = averages ? buffer() : nullptr,
                               .average_decay = 0.999f};
    return Inputs{buffers,
                  {w.copy_of(std::span<const ParameterSegment>(segments)), kSegments},
                  w.copy_of(std::span<const StepState>(&state, 1))};
  };
  const auto parameters = to_size(count);
  add_pointwise("sgd", [=](Workbench& w) {
    const Inputs in = inputs(w, false, false);
    return Call{
        [=, &ops = w.ops()] { ops.optim->sgd({}, in.buffers, in.segments, in.state, nullptr); },
        20 * parameters};
  });
  for (const bool averages : {false, true}) {
    add_pointwise(fmt::format("adamw/averages:{:d}", averages), [=](Workbench& w) {
      const Inputs in = inputs(w, true, averages);
      return Call{
          [=, &ops = w.ops()] { ops.optim->adamw({}, in.buffers, in.segments, in.state, nullptr); },
          (averages ? 36 : 28) * parameters};
    });
  }
  add("examine_gradients", [=](Workbench& w) {
    const Inputs in = inputs(w, false, false);
    const GradientState state;
    auto* gradient_state = w.copy_of(std::span<const GradientState>(&state, 1));
    std::byte* workspace = w.memory(w.ops().optim->workspace_bytes(count));
    return Call{[=, &ops = w.ops()] {
                  ops.optim->examine({.clip_norm = 1}, in.buffers.gradients, in.segments, in.state,
                                     gradient_state, workspace);
                },
                4 * parameters};
  });
}

void Table::add_augment() {
  const std::vector<Channels> inputs = stored_channels({3}, kPaddedImages, dtype_);
  for (const Channels channels : inputs) {
    for (const bool flip : {false, true}) {
      add_pointwise(fmt::format("prepare_images{}/flip:{:d}", channels.suffix(), flip),
                    [=, shape = image(3), dtype = dtype_](Workbench& w) {
                      const Tensor images = w.integers(shape, 256);
                      const Tensor x = w.padded(shape, dtype, channels.stored);
                      return Call{
                          [=, &ops = w.ops()] { ops.augment->prepare_images(images, flip, {}, x); },
                          images.bytes() + x.whole().bytes()};
                    });
    }
  }
  using List = AugmentList;
  const std::pair<const char*, List> lists[] = {
      {"plain", List::plain}, {"half", List::half}, {"full", List::full}};
  for (const auto& [name, list] : lists) {
    for (const Channels channels : inputs) {
      add(fmt::format("augment/list:{}{}", name, channels.suffix()),
          [=, list = list, shape = image(3), of_labels = image(1), dtype = dtype_](Workbench& w) {
            const BatchPrograms made = make_programs(list, shape);
            const AugmentPrograms programs{
                .data = w.copy_of(std::span<const std::byte>(made.bytes)), .limits = made.limits};
            const Tensor images = w.integers(shape, 256),
                         x = w.padded(shape, dtype, channels.stored);
            const Tensor labels = w.integers(of_labels, 8), out = w.integers(of_labels, 8);
            std::byte* scratch = w.memory(augment_scratch_bytes(shape, made.limits));
            return Call{[=, &ops = w.ops()] {
                          ops.augment->augment(images, labels, programs, {}, scratch, x, out);
                        },
                        images.bytes() + x.whole().bytes() + 2 * labels.bytes()};
          });
    }
  }
}

}  // namespace

std::vector<OpCase> op_cases(const Extents& extents, DType dtype) {
  return Table(extents, dtype).take();
}

}  // namespace macadam::bench
