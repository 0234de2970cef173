#include "kernels/loss.h"

#include <algorithm>
#include <array>
#include <functional>
#include <vector>

#include "base/error.h"
#include "base/to_size.h"

namespace macadam {

namespace {

constexpr auto kInfos = [] {
  using Pixel = scalar::PixelTerms<float>;
  using Region = scalar::RegionTerms;
  using Rank = scalar::RankTerms;
  std::array<LossTermInfo, Pixel::kCount + Region::kCount + Rank::kCount> all;
  std::copy_n(Pixel::kInfos, Pixel::kCount, all.begin());
  std::copy_n(Region::kInfos, Region::kCount, all.begin() + Pixel::kCount);
  std::copy_n(Rank::kInfos, Rank::kCount, all.begin() + Pixel::kCount + Region::kCount);
  return all;
}();

}  // namespace

std::span<const LossTermInfo> loss_term_infos() { return kInfos; }

LossTerm loss_term(int kind, float weight) {
  LossTerm term{.weight = weight, .kind = kind};
  const LossTermInfo& info = kInfos.at(static_cast<size_t>(kind));
  for (int i = 0; i < kMaxLossParameters; ++i) {
    term.parameters[i] = static_cast<float>(info.parameters[i].by_default);
  }
  return term;
}

LossTerm loss_term(std::string_view name, float weight, std::span<const float> parameters) {
  const auto found =
      std::ranges::find_if(kInfos, [&](const LossTermInfo& info) { return info.name == name; });
  require(found != kInfos.end(), "a loss term that there is");
  require(parameters.size() <= kMaxLossParameters, "no more parameters than a term has");
  LossTerm term = loss_term(static_cast<int>(found - kInfos.begin()), weight);
  std::ranges::copy(parameters, term.parameters);
  return term;
}

LossDesc make_loss(std::span<const LossTerm> terms) {
  require(terms.size() <= kMaxLossTerms, "no more terms than a loss may have");
  LossDesc loss;
  std::vector<LossTerm> sorted(terms.begin(), terms.end());
  std::ranges::sort(sorted, {}, &LossTerm::kind);
  sorted.resize(kMaxLossTerms);
  std::ranges::copy(sorted, loss.terms);
  return loss;
}

LossDesc with_classes(LossDesc loss, int classes) {
  for (LossTerm& term : loss.terms) {
    if (term.over_classes) term.weight /= static_cast<float>(classes);
    term.over_classes = false;
  }
  return loss;
}

std::span<const LossTerm> LossDesc::used() const {
  const auto end =
      std::ranges::find_if(terms, [](const LossTerm& term) { return term.weight == 0; });
  return {terms, to_size(end - terms)};
}

void check_loss(const LossDesc& desc, const Tensor& logits, const Tensor& labels) {
  const std::span<const LossTerm> used = desc.used();
  const bool ascending =
      std::ranges::adjacent_find(used, std::greater_equal(), &LossTerm::kind) == used.end();
  require(!used.empty() && ascending, "a loss has terms in the order of their kinds");
  require(std::ranges::none_of(used, &LossTerm::over_classes), "a loss for its classes");
  require(logits.shape.c >= 1 && logits.shape.c <= kMaxLossClasses,
          "a loss has 1 to kMaxLossClasses classes");
  require(labels.shape.c == 1 && labels.shape.pixels() == logits.shape.pixels(),
          "a loss has one label a pixel");
}

}  // namespace macadam
