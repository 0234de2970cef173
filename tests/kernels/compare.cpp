#include "tests/kernels/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace macadam::testing {
namespace {

/// Distance of neighbouring values, relative to the larger power of two below them.
double spacing_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return 0x1p-23;
    case DType::bf16: return 0x1p-7;
    case DType::f16: return 0x1p-10;
    case DType::u8: break;
  }
  return 0;
}

std::string describe(size_t i, double got, double want) {
  return fmt::format("element {} is {:.9g}, expected {:.9g}", i, got, want);
}

/// Empty when at most one byte in a hundred, or one, is one more or less.
std::string rounded_difference(std::span<const double> got, std::span<const double> want) {
  size_t apart = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    if (std::abs(got[i] - want[i]) > 1) return describe(i, got[i], want[i]);
    apart += got[i] != want[i];
  }
  if (100 * apart <= std::max<size_t>(100, want.size())) return {};
  return fmt::format("{} of {} bytes differ by one", apart, want.size());
}

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

}  // namespace

double tolerance_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return 2e-6;
    case DType::bf16: return 1e-3;
    case DType::f16: return 1.5e-4;
    case DType::u8: break;
  }
  return 0;
}

std::string difference(std::span<const double> got, std::span<const double> want, DType dtype,
                       double slack) {
  const double tolerance = slack * tolerance_of(dtype);
  double error = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const bool must_be_same = tolerance == 0 || !std::isfinite(want[i]) || !std::isfinite(got[i]);
    if (must_be_same && !same(got[i], want[i])) return describe(i, got[i], want[i]);
    if (must_be_same) continue;
    error += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  error = std::sqrt(error);
  norm = std::sqrt(norm);
  const double typical = norm / std::sqrt(static_cast<double>(want.size()));
  double worst = 0;
  size_t worst_at = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    if (!std::isfinite(want[i])) continue;
    const double allowed = spacing_of(dtype) * std::abs(want[i]) + 8 * tolerance * typical;
    const double excess = std::abs(got[i] - want[i]) - allowed;
    if (excess > worst) {
      worst = excess;
      worst_at = i;
    }
  }
  if (worst > 0) return describe(worst_at, got[worst_at], want[worst_at]);
  if (error > tolerance * norm)
    return fmt::format("normalised error {:.3g}, allowed {:.3g}", error / norm, tolerance);
  return {};
}

std::string differences(const OpCase& op, const Values& got, const Values& want, bool cuda) {
  std::string text;
  for (const auto& [name, elements] : want) {
    const Operand& operand = *op.find(name);
    Closeness close{operand.dtype, operand.slack};
    if (cuda && operand.on_cuda) close = *operand.on_cuda;
    const std::string found = operand.rounded
                                  ? rounded_difference(got.at(name), elements)
                                  : difference(got.at(name), elements, close.dtype, close.slack);
    if (!found.empty())
      text += fmt::format("{} ({} {}): {}\n", name, operand.shape.text(), name_of(operand.dtype),
                          found);
  }
  return text;
}

}  // namespace macadam::testing
