#pragma once
// Pixels of a class by the size of their error, counted in bins instead of sorted: the counts are
// integers, so that they do not depend on the order of counting, and add up over parts of a batch.

#include "kernels/scalar/host_device.h"
#include "kernels/scalar/loss_terms.h"

namespace macadam::scalar {

/// An error, from 0 to 1, counts as the nearest multiple of 1 / kErrorSteps. A rank term's loss of
/// a class is its slopes' sum over the errors, and the slopes add up to 1 at most: so it is off by
/// half a step, 0.0005, at most; sorted, it would be exact.
constexpr int kErrorSteps = 1024;
constexpr int kErrorBins = kErrorSteps + 1;

/// The bin of |[the class is the label] - p|; 0 for NaN.
template <typename Real>
MACADAM_HD int error_bin(Real p, bool is_label) {
  const Real bin = (is_label ? 1 - p : p) * Real{kErrorSteps} + Real{0.5};
  return bin > 0 ? static_cast<int>(bin < Real{kErrorSteps} ? bin : Real{kErrorSteps}) : 0;
}

/// Where the pixels of a class and a bin are counted, and where their slopes stand: those whose
/// label it is behind the others.
MACADAM_HD int error_place(int c, int bin, bool is_label) {
  return (c * kErrorBins + bin) * 2 + (is_label ? 1 : 0);
}

/// The counts of one class. Those of bin 0, where most errors are, need not be taken: they are what
/// the other bins leave.
struct ClassErrors {
  const double* counts;  // from error_place(c, 0, false)
  double labeled, pixels;

  MACADAM_HD double other(int bin) const { return counts[2 * bin]; }
  MACADAM_HD double label(int bin) const { return counts[2 * bin + 1]; }
};

/// Adds what a term's loss of the class has of the bins `first`, `first` - 1, ... `last`, with
/// `above` of larger errors: visit(bin, slopes) for each. Returns the loss.
template <typename Term, typename Visit>
MACADAM_HD double walk_down(const Term& term, const ClassErrors& errors, ErrorCounts above,
                            int first, int last, const Visit& visit) {
  double loss = 0;
  for (int bin = first; bin >= last; --bin) {
    const ErrorCounts here = bin > 0 ? ErrorCounts{errors.label(bin), errors.other(bin)}
                                     : ErrorCounts{errors.labeled - above.label,
                                                   errors.pixels - errors.labeled - above.other};
    const RankSlopes slopes = term(errors.labeled, above, here);
    loss += (slopes.label * here.label + slopes.other * here.other) * bin / kErrorSteps;
    visit(bin, slopes);
    above.label += here.label;
    above.other += here.other;
  }
  return loss;
}

}  // namespace macadam::scalar
