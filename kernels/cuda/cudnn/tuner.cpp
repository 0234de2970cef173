#include "kernels/cuda/cudnn/tuner.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>
#include <vector>

#include "base/error.h"

namespace macadam::cuda {

namespace {

/// Heuristics rarely put the best plan later; PyTorch settled on ten as well. Where a run takes
/// long, trying all the others costs little beside what a few per cent of it are worth.
constexpr size_t kMostCandidates = 10, kAllCandidates = 100;
constexpr int64_t kLongMacs = 10'000'000'000;

/// Noise of a measurement: what lies within it is one speed, and then the workspace decides, beyond
/// what every plan has anyway.
constexpr float kAboutAsFast = 1.005f;
constexpr size_t kSmallWorkspace = size_t{32} << 20;

/// Over the candidates; the least time of each counts.
constexpr int kRounds = 2;

bool smaller(const ConvPath* a, const ConvPath* b) {
  return a->plan->workspace_bytes() < b->plan->workspace_bytes();
}

/// Whether a's workspace is smaller by more than does not matter.
bool notably_smaller(const ConvPath* a, const ConvPath* b) {
  const auto counted = [](const ConvPath* path) {
    return std::max(path->plan->workspace_bytes(), kSmallWorkspace);
  };
  return counted(a) < counted(b);
}

}  // namespace

BestPath best_path(ConvDirection direction, std::span<const ConvPath> candidates,
                   ConvTrials& trials, size_t most_workspace, bool cold) {
  require(!candidates.empty(), "at least one path to choose from");
  std::vector<ConvPath> modest;
  std::copy_if(
      candidates.begin(), candidates.end(), std::back_inserter(modest),
      [&](const ConvPath& path) { return path.plan->workspace_bytes() <= most_workspace; });
  if (!modest.empty() && modest.size() < candidates.size()) {
    return best_path(direction, modest, trials, most_workspace, cold);
  }
  if (candidates.size() == 1) return {candidates.front(), std::nullopt};
  try {
    trials.prepare(direction, candidates);
  } catch (const RunError&) {
    const auto least =
        std::min_element(candidates.begin(), candidates.end(),
                         [](const ConvPath& a, const ConvPath& b) { return smaller(&a, &b); });
    return {*least, std::nullopt};
  }

  std::vector<std::pair<const ConvPath*, float>> measured;
  for (const ConvPath& path : candidates) {
    measured.emplace_back(&path, std::numeric_limits<float>::infinity());
  }
  std::string why;
  for (int round = 0; round < kRounds; ++round) {
    for (auto m = measured.begin(); m != measured.end();) {
      auto& [path, milliseconds] = *m;
      try {
        if (cold) trials.warm_up(direction, *path);
        cold = false;
        milliseconds = std::min(milliseconds, trials.measure(direction, *path));
        ++m;
      } catch (const RunError& error) {
        why = error.what();
        m = measured.erase(m);
      }
    }
  }
  if (measured.empty()) {
    throw RunError(fmt::format("no cuDNN plan ran for the {}", name_of(direction)), why,
                   "check the driver and cuDNN, or use --device cpu");
  }
  float fastest = std::numeric_limits<float>::infinity();
  for (const auto& [path, milliseconds] : measured) fastest = std::min(fastest, milliseconds);
  std::erase_if(measured, [&](const auto& m) { return m.second > fastest * kAboutAsFast; });
  const auto& [path, milliseconds] =
      *std::min_element(measured.begin(), measured.end(), [](const auto& a, const auto& b) {
        if (notably_smaller(a.first, b.first)) return true;
        return !notably_smaller(b.first, a.first) && a.second < b.second;
      });
  return {*path, milliseconds};
}

ConvTuner::ConvTuner(std::shared_ptr<const CudnnDevice> device, PlanCache cache)
    : device_(std::move(device)), cache_(std::move(cache)) {}

ConvPath ConvTuner::choose(const ConvDesc& desc, ConvDirection direction, ConvTrials& trials) {
  const std::string key = path_key(desc, direction);
  if (const auto known = chosen_.find(key); known != chosen_.end()) return known->second;

  if (const TunedPlan* tuned = cache_.find(key)) {
    if (const auto path = restore_path(*device_, desc, direction, *tuned)) {
      return chosen_.emplace(key, *path).first->second;
    }
  }
  const std::vector<ConvPath> candidates = find_paths(
      *device_, desc, direction, desc.macs() > kLongMacs ? kAllCandidates : kMostCandidates);
  const BestPath best = best_path(direction, candidates, trials, kWorkspaceLimit, cold_);
  if (best.milliseconds) cold_ = false;
  // A choice made for lack of memory holds for today only.
  if (best.milliseconds || candidates.size() == 1) {
    cache_.store(key, {best.path.plan->recipe(), best.path.epilogue,
                       best.path.plan->workspace_bytes(), best.milliseconds.value_or(0.0f)});
  }
  return chosen_.emplace(key, best.path).first->second;
}

}  // namespace macadam::cuda
