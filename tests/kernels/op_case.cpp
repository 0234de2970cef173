#include "tests/kernels/op_case.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace macadam::testing {

Operand input(std::string name, Shape shape, DType dtype, Fill fill) {
  return Operand{.name = std::move(name),
                 .role = Role::input,
                 .shape = shape,
                 .dtype = dtype,
                 .fill = std::move(fill)};
}

Operand output(std::string name, Shape shape, DType dtype) {
  return Operand{
      .name = std::move(name), .role = Role::output, .shape = shape, .dtype = dtype, .fill = {}};
}

Operand update(std::string name, Shape shape, DType dtype, Fill fill) {
  return Operand{.name = std::move(name),
                 .role = Role::update,
                 .shape = shape,
                 .dtype = dtype,
                 .fill = std::move(fill)};
}

const Tensor& Arguments::operator()(std::string_view name) const {
  const auto found = tensors_.find(name);
  require(found != tensors_.end(), "the case has the operand that its call names");
  return found->second;
}

Tensor Arguments::optional(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? Tensor{} : found->second;
}

const Tensor& Arguments::either(std::string_view first, std::string_view second) const {
  return tensors_.contains(first) ? (*this)(first) : (*this)(second);
}

std::string OpCase::full_name() const {
  return op + "_" + name + "_" + std::string(name_of(dtype));
}

const Operand* OpCase::find(std::string_view operand) const {
  const auto found = std::find_if(operands.begin(), operands.end(),
                                  [&](const Operand& o) { return o.name == operand; });
  return found == operands.end() ? nullptr : &*found;
}

Fill normal(double mean, double deviation) {
  return [=](std::span<double> values, std::mt19937& random) {
    std::normal_distribution<double> distribution(mean, deviation);
    for (double& v : values) v = distribution(random);
  };
}

Fill uniform(double low, double high) {
  return [=](std::span<double> values, std::mt19937& random) {
    std::uniform_real_distribution<double> distribution(low, high);
    for (double& v : values) v = distribution(random);
  };
}

Fill integers(int low, int high) {
  return [=](std::span<double> values, std::mt19937& random) {
    std::uniform_int_distribution<int> distribution(low, high);
    for (double& v : values) v = distribution(random);
  };
}

Fill away_from_zero() {
  return [](std::span<double> values, std::mt19937& random) {
    std::uniform_real_distribution<double> magnitude(0.25, 2);
    for (double& v : values) v = (random() & 1) ? magnitude(random) : -magnitude(random);
  };
}

Fill distinct() {
  return [](std::span<double> values, std::mt19937& random) {
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = 0.25 * (static_cast<double>(i) - static_cast<double>(values.size()) / 2);
    std::shuffle(values.begin(), values.end(), random);
  };
}

Fill with_specials() {
  return [](std::span<double> values, std::mt19937& random) {
    normal()(values, random);
    using limits = std::numeric_limits<double>;
    const double specials[] = {0.0, -0.0, limits::infinity(), -limits::infinity(),
                               limits::quiet_NaN()};
    for (size_t i = 0; i < values.size(); i += 7) values[i] = specials[i / 7 % 5];
  };
}

Fill labels(int classes, int other) {
  return [=](std::span<double> values, std::mt19937& random) {
    std::uniform_int_distribution<int> distribution(0, classes - 1);
    for (double& v : values) v = random() % 5 == 0 ? other : distribution(random);
  };
}

Fill values(std::vector<double> list) {
  return [list = std::move(list)](std::span<double> values, std::mt19937&) {
    for (size_t i = 0; i < values.size(); ++i) values[i] = list[i % list.size()];
  };
}

Operand laid_out(Operand operand, Layout layout, int salt) {
  switch (layout) {
    case Layout::dense: break;
    case Layout::slices:
      operand.channels_before = 16 * (salt % 2);
      operand.channels_after = 8 * (1 + salt % 3);
      break;
    case Layout::ragged_slices:
      operand.channels_before = 1 + 2 * (salt % 3);
      operand.channels_after = salt % 2;
      break;
    case Layout::padded:
      operand.channels_after = 7 - (operand.shape.c + 7) % 8;
      operand.spare = true;
      break;
  }
  return operand;
}

std::string suffix(Layout layout) {
  switch (layout) {
    case Layout::dense: return "";
    case Layout::slices: return "_slices";
    case Layout::ragged_slices: return "_ragged";
    case Layout::padded: return "_padded";
  }
  return "";
}

}  // namespace macadam::testing
