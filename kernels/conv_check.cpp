#include "kernels/conv_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "base/to_size.h"
#include "kernels/device.h"

namespace macadam {

namespace {

/// Values that repeat with a period that no block of a kernel has.
template <size_t Period>
struct Cycle {
  std::array<int, Period> values;
  int operator()(int i) const { return values[to_size(i) % Period]; }
};

// All tensors are products of functions of one coordinate each, and so are the sums over them:
//   x[n,h,w,c] = image(n) * x_row(h) * x_column(w) * x_channel(c), and so on.
// No sum over channels vanishes, or a result of zeros would pass for right.
constexpr Cycle<2> image{{1, 2}};
constexpr Cycle<5> x_channel{{1, 2, -1, 2, 1}};
constexpr Cycle<3> x_row{{1, 2, 1}};
constexpr Cycle<7> x_column{{1, 1, 2, 1, 2, 2, 1}};
constexpr Cycle<5> dy_channel{{1, 2, -1, 1, 2}};
constexpr Cycle<5> dy_row{{1, -1, 2, 1, 1}};
constexpr Cycle<5> dy_column{{2, 1, -1, 1, 1}};
constexpr Cycle<7> w_out{{1, 2, 1, 1, 1, 2, 1}};
constexpr Cycle<3> w_in{{1, 1, 2}};
constexpr Cycle<3> w_row{{1, 1, -1}};
constexpr Cycle<3> w_column{{1, -1, 1}};
constexpr Cycle<3> bias_channel{{1, -2, 3}};

/// One direction, rows or columns, of a convolution.
struct Axis {
  int input, output, kernel, stride, dilation, before;

  /// Where tap `k` of output `o` reads, or -1 in the padding.
  int read(int o, int k) const {
    const int i = o * stride + k * dilation - before;
    return i >= 0 && i < input ? i : -1;
  }

  /// sum over all (o, k) that read some i of f(o, k, i), where `to(o, k, i)` of `size` results.
  template <typename F, typename Index>
  std::vector<int64_t> sums(int size, const Index& to, const F& f) const {
    std::vector<int64_t> out(to_size(size));
    for (int o = 0; o < output; ++o) {
      for (int k = 0; k < kernel; ++k) {
        const int i = read(o, k);
        if (i >= 0) out[to_size(to(o, k, i))] += f(o, k, i);
      }
    }
    return out;
  }
};

/// The sums of each of the three passes along one axis.
struct AxisSums {
  std::vector<int64_t> forward, data, weights;

  template <typename X, typename Dy, typename W>
  AxisSums(const Axis& axis, const X& x, const Dy& dy_value, const W& w)
      : forward(axis.sums(
            axis.output, [](int o, int, int) { return o; },
            [&](int, int k, int i) { return int64_t{x(i)} * w(k); })),
        data(axis.sums(
            axis.input, [](int, int, int i) { return i; },
            [&](int o, int k, int) { return int64_t{dy_value(o)} * w(k); })),
        weights(axis.sums(
            axis.kernel, [](int, int k, int) { return k; },
            [&](int o, int, int i) { return int64_t{dy_value(o)} * x(i); })) {}
};

/// The exact results of one convolution.
class Expected {
 public:
  explicit Expected(const ConvDesc& d)
      : in_group_(d.input.c / d.groups),
        out_group_(d.out_channels / d.groups),
        rows_({d.input.h, d.output().h, d.kernel_h, d.stride, d.dilation, d.padding.top}, x_row,
              dy_row, w_row),
        columns_({d.input.w, d.output().w, d.kernel_w, d.stride, d.dilation, d.padding.left},
                 x_column, dy_column, w_column),
        x_sums_(to_size(d.groups)),
        dy_sums_(to_size(d.groups)) {
    for (int c = 0; c < d.input.c; ++c)
      x_sums_[to_size(c / in_group_)] += x_channel(c) * w_in(c % in_group_);
    for (int k = 0; k < d.out_channels; ++k)
      dy_sums_[to_size(k / out_group_)] += dy_channel(k) * w_out(k);
    for (int n = 0; n < d.input.n; ++n) {
      squares_ += image(n) * image(n);
    }
  }

  int64_t y(int n, int h, int w, int k) const {
    return bias_channel(k) + image(n) * w_out(k) * x_sums_[to_size(k / out_group_)] *
                                 rows_.forward[to_size(h)] * columns_.forward[to_size(w)];
  }
  int64_t dx(int n, int h, int w, int c) const {
    return image(n) * w_in(c % in_group_) * dy_sums_[to_size(c / in_group_)] *
           rows_.data[to_size(h)] * columns_.data[to_size(w)];
  }
  int64_t dw(int k, int i, int j, int c) const {
    return squares_ * dy_channel(k) * x_channel(k / out_group_ * in_group_ + c) *
           rows_.weights[to_size(i)] * columns_.weights[to_size(j)];
  }

 private:
  int in_group_, out_group_;
  AxisSums rows_, columns_;
  std::vector<int64_t> x_sums_, dy_sums_;  // over a group's channels, against the weights
  int64_t squares_ = 0;
};

constexpr size_t kGuardBytes = 8192;
constexpr std::byte kGuardValue{0xab}, kUnwrittenValue{0xff};  // 0xffff... is not a number

/// Memory with guard bytes before and behind; what was not written yet is not a number.
class Guarded {
 public:
  Guarded(std::string_view name, size_t bytes)
      : name_(name), bytes_(bytes), memory_(Device{}, bytes + 2 * kGuardBytes) {
    const std::span all(memory_.data(), memory_.bytes());
    std::fill(all.begin(), all.end(), kGuardValue);
    std::fill_n(data(), bytes_, kUnwrittenValue);
  }
  Guarded(std::string_view name, const Shape& shape, DType dtype)
      : Guarded(name, to_size(shape.elements()) * size_of(dtype)) {
    tensor_ = Tensor(data(), shape, dtype);
  }

  std::byte* data() const { return memory_.data() + kGuardBytes; }
  const Tensor& tensor() const { return tensor_; }

  /// Sets every element to `value(n, h, w, c)`.
  template <typename F>
  void fill(const F& value) {
    visit(
        [&](auto& element, int64_t exact) {
          element = scalar::from_float<std::remove_reference_t<decltype(element)>>(
              static_cast<float>(exact));
        },
        value);
  }

  /// "3072 bytes before and 0 behind workspace were overwritten", and empty if none was. Told once.
  std::string damage() {
    const auto mend = [](std::byte* first) {
      const std::span guard(first, kGuardBytes);
      const auto count =
          std::count_if(guard.begin(), guard.end(), [](std::byte b) { return b != kGuardValue; });
      std::fill(guard.begin(), guard.end(), kGuardValue);
      return count;
    };
    const auto before = mend(memory_.data()), behind = mend(data() + bytes_);
    if (before == 0 && behind == 0) return {};
    return fmt::format("{} bytes before and {} behind {} were overwritten", before, behind, name_);
  }

  /// "17 of 64 values of dw are wrong (the first: 3 instead of 2)", and empty if none is.
  template <typename F>
  std::string difference(const F& value) const {
    int64_t wrong = 0;
    std::string first;
    visit(
        [&](auto& element, int64_t exact) {
          using T = std::remove_reference_t<decltype(element)>;
          const float expected = scalar::to_float(scalar::from_float<T>(static_cast<float>(exact)));
          const float found = scalar::to_float(element);
          if (found == expected) return;
          if (++wrong == 1) first = fmt::format("{} instead of {}", found, expected);
        },
        value);
    if (wrong == 0) return {};
    return fmt::format("{} of {} values of {} are wrong (the first: {})", wrong,
                       tensor_.shape.elements(), name_, first);
  }

 private:
  /// f(element, value(n, h, w, c)) for every element.
  template <typename F, typename V>
  void visit(const F& f, const V& value) const {
    visit_float(tensor_.dtype, [&](auto type) {
      auto* element = tensor_.as<decltype(type)>();
      const Shape& s = tensor_.shape;
      for (int n = 0; n < s.n; ++n) {
        for (int h = 0; h < s.h; ++h) {
          for (int w = 0; w < s.w; ++w) {
            for (int c = 0; c < s.c; ++c) f(*element++, value(n, h, w, c));
          }
        }
      }
    });
  }

  std::string name_;
  size_t bytes_;
  Buffer memory_;
  Tensor tensor_;
};

}  // namespace

std::vector<ConvFault> check_convolution(
    ConvOps& ops, const ConvDesc& desc,
    const std::function<void(ConvPass, const Convolution&)>& before) {
  require(desc.dtype == DType::f32 || desc.dtype == DType::bf16, "f32 or bf16");
  require(desc.activation == Activation::identity, "no activation");
  require(desc.input.pixels() <= int64_t{1} << 18, "at most 2^18 pixels");
  const auto conv = ops.make(desc);
  const Expected expected(desc);
  const Shape vector{1, 1, 1, desc.out_channels};
  Guarded x("x", desc.input, desc.dtype), y("y", desc.output(), desc.dtype);
  Guarded dy("dy", desc.output(), desc.dtype), dx("dx", desc.input, desc.dtype);
  Guarded w("w", desc.weights(), DType::f32), bias("bias", vector, DType::f32);
  Guarded dw("dw", desc.weights(), DType::f32), packed("packed", conv->packed_bytes());
  Guarded workspace("workspace", conv->workspace_bytes());
  const std::array<Guarded*, 9> buffers{&x, &y, &dy, &dx, &w, &bias, &dw, &packed, &workspace};
  const int in_group = desc.input.c / desc.groups;
  x.fill([](int n, int r, int q, int c) {
    return int64_t{image(n)} * x_row(r) * x_column(q) * x_channel(c);
  });
  dy.fill([](int n, int r, int q, int k) {
    return int64_t{image(n)} * dy_row(r) * dy_column(q) * dy_channel(k);
  });
  w.fill([&](int k, int i, int j, int c) {
    return int64_t{w_out(k)} * w_row(i) * w_column(j) * w_in(c % in_group);
  });
  bias.fill([](int, int, int, int k) { return int64_t{bias_channel(k)}; });

  std::vector<ConvFault> faults;
  const auto note = [&](ConvPass pass, std::string what) {
    if (what.empty()) return;
    faults.push_back({desc, pass, conv->implementation_of(pass), std::move(what)});
  };
  const auto run = [&](ConvPass pass, const auto& body) {
    if (before) before(pass, *conv);
    body();
    for (Guarded* buffer : buffers) note(pass, buffer->damage());
  };
  run(ConvPass::forward, [&] {
    conv->pack(w.tensor(), desc.bias ? bias.tensor() : Tensor(), packed.data());
    conv->forward(x.tensor(), packed.data(), y.tensor(), workspace.data());
    note(ConvPass::forward, y.difference([&](int n, int r, int q, int k) {
      return expected.y(n, r, q, k) - (desc.bias ? 0 : bias_channel(k));
    }));
  });
  if (desc.backward && desc.input_gradient) {
    run(ConvPass::data_gradient, [&] {
      conv->backward_data(dy.tensor(), packed.data(), dx.tensor(), workspace.data());
      note(ConvPass::data_gradient,
           dx.difference([&](int n, int r, int q, int c) { return expected.dx(n, r, q, c); }));
    });
  }
  if (desc.backward) {
    run(ConvPass::weight_gradient, [&] {
      conv->backward_weights(x.tensor(), dy.tensor(), dw.tensor(), workspace.data());
      note(ConvPass::weight_gradient,
           dw.difference([&](int k, int i, int j, int c) { return expected.dw(k, i, j, c); }));
    });
  }
  return faults;
}

}  // namespace macadam
