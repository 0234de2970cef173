#pragma once
// What one check of one op is made of: its operands, how they are filled, and the call. Knows no
// test framework, so that benchmarks use the same cases.

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/ops.h"

namespace macadam::testing {

/// Fills the elements of an operand in dense NHWC order; they are rounded to its dtype afterwards.
using Fill = std::function<void(std::span<double> values, std::mt19937& random)>;

enum class Role : uint8_t {
  input,   // must not change
  output,  // poisoned before the call
  update,  // read and written: accumulation, running statistics, in-place calls
};

/// How close a result must come to the reference: `slack` times the tolerance of a dtype that it
/// was rounded to on its way.
struct Closeness {
  DType dtype = DType::f32;
  double slack = 1;
};

/// One tensor of a call. It may be a slice of the channels of a wider tensor, whose other channels
/// are poisoned and must not change, unless those behind it are spare.
struct Operand {
  std::string name;
  Role role = Role::input;
  Shape shape;
  DType dtype = DType::f32;
  Fill fill;                // null for outputs
  int channels_before = 0;  // channels of the wider tensor on either side of this slice
  int channels_after = 0;
  bool spare = false;        // the channels after it
  bool keeps_spare = false;  // they must not change all the same
  bool rounded = false;      // bytes: one in a hundred may be one more or less
  double slack = 1;  // multiplies the dtype's tolerance; 0: equal to the reference, bit for bit
  std::optional<Closeness> on_cuda =
      std::nullopt;  // where that device may be less exact than the others

  Operand exact() && {
    slack = 0;
    return std::move(*this);
  }
  Operand nearly() && {
    rounded = true;
    return std::move(*this);
  }
  Operand loose(double slack_) && {
    slack = slack_;
    return std::move(*this);
  }
  Operand loose_on_cuda(DType rounded_to, double slack_) && {
    on_cuda = Closeness{rounded_to, slack_};
    return std::move(*this);
  }
};

/// How the tensors of a case lie in memory.
enum class Layout : uint8_t {
  dense,
  slices,         // of wider tensors, at offsets that suit vector loads
  ragged_slices,  // at odd offsets
  padded,         // with spare channels up to a multiple of 8
};

Operand input(std::string name, Shape shape, DType dtype, Fill fill);
Operand output(std::string name, Shape shape, DType dtype);
Operand update(std::string name, Shape shape, DType dtype, Fill fill);
/// A structure in device memory (StepState, counters ...), compared byte by byte.
template <typename T>
Operand raw(std::string name, Role role, std::vector<T> elements) {
  const auto count = static_cast<int>(elements.size() * sizeof(T));
  Fill fill = [elements = std::move(elements)](std::span<double> values, std::mt19937&) {
    const auto bytes = std::as_bytes(std::span(elements));
    for (size_t i = 0; i < bytes.size(); ++i) values[i] = std::to_integer<int>(bytes[i]);
  };
  return Operand{.name = std::move(name),
                 .role = role,
                 .shape = {1, 1, 1, count},
                 .dtype = DType::u8,
                 .fill = std::move(fill)};
}

/// The operands of a call, bound to memory of the backend's device.
class Arguments {
 public:
  void bind(std::string name, const Tensor& tensor) { tensors_[std::move(name)] = tensor; }
  void bind_scratch(void* workspace, void* packed) {
    workspace_ = workspace;
    packed_ = packed;
  }

  const Tensor& operator()(std::string_view name) const;
  /// A tensor with null data when the case has no such operand.
  Tensor optional(std::string_view name) const;
  /// The first that exists: the output of a call that may be in place.
  const Tensor& either(std::string_view first, std::string_view second) const;
  /// A raw operand as the structure that it holds.
  template <typename T>
  T* pointer(std::string_view name) const {
    return static_cast<T*>(optional(name).data);
  }
  void* workspace() const { return workspace_; }
  void* packed() const { return packed_; }

 private:
  std::map<std::string, Tensor, std::less<>> tensors_;
  void* workspace_ = nullptr;
  void* packed_ = nullptr;
};

/// An op made ready by one backend.
struct PreparedOp {
  size_t workspace_bytes = 0;
  size_t packed_bytes = 0;
  std::function<void(const Arguments&)> setup;  // once, before the call; may be null
  std::function<void(const Arguments&)> call;
};

/// A case yields a comparison with the reference, and a timing. With `forward` it also yields a
/// finite-difference check: this op computes the gradients of that one. The two are tied by names:
/// an operand that both know has one value (so `y`, `index` and saved statistics are those of the
/// forward pass), and "dX" is the gradient of X. Without an operand "dY" for an output Y of
/// `forward`, the gradients are those of the first element of its first output.
struct OpCase {
  std::string op;    // "max_pool_backward"
  std::string name;  // "2x5x9x11_k3x3_s2x2"
  DType dtype = DType::f32;
  std::vector<Operand> operands;
  std::function<PreparedOp(Ops&)> prepare;
  std::shared_ptr<const OpCase> forward;

  /// Letters, digits and underscores alone.
  std::string full_name() const;
  const Operand* find(std::string_view operand) const;
};

/// Fills.
Fill normal(double mean = 0, double deviation = 1);
Fill uniform(double low, double high);
/// Whole numbers in [low, high]: many equal values.
Fill integers(int low, int high);
/// Magnitudes in [0.25, 2], both signs: finite differences meet no kink at zero.
Fill away_from_zero();
/// A shuffled ladder of step 0.25: finite differences change no maximum.
Fill distinct();
/// Some zeros, infinities and NaN among normal values.
Fill with_specials();
/// Labels below `classes`, about a fifth of them replaced by `other`.
Fill labels(int classes, int other);
/// The same values in every call, repeated when there are more elements.
Fill values(std::vector<double> list);

/// The operand moved into a wider tensor as `layout` says; `salt` varies the offsets.
Operand laid_out(Operand operand, Layout layout, int salt);
std::string suffix(Layout layout);

}  // namespace macadam::testing
