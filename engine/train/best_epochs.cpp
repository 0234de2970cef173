#include "engine/train/best_epochs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/to_size.h"

namespace macadam {

namespace {

constexpr std::array<std::string_view, 4> kNames{"miou", "mdice", "pixel_accuracy", "val_loss"};
constexpr std::string_view kPrefix = "best_", kExtension = ".safetensors";

/// The progress of a kept model has one number: how good it is.
constexpr const char* kMerit = "merit";

/// The epoch in a file's name; 0 when it is no file of ours.
int64_t epoch_in(const std::string& name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kExtension)) return 0;
  int64_t epoch = 0;
  const char* const end = name.data() + name.size() - kExtension.size();
  const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, epoch);
  return error == std::errc() && stop == end ? epoch : 0;
}

}  // namespace

std::string_view name_of(BestBy by) { return kNames.at(static_cast<size_t>(by)); }

std::string title_of(BestBy by) {
  return by == BestBy::val_loss ? "validation loss" : title_of(name_of(by));
}

double merit_of(const EpochRecord& record, BestBy by) {
  if (by == BestBy::val_loss) return -record.val_loss;
  const auto found = std::ranges::find_if(
      record.scores, [&](const Score& score) { return score.name.starts_with(name_of(by)); });
  require(found != record.scores.end(), "an epoch has the score that decides");
  return found->value;
}

BestEpochs::BestEpochs(std::filesystem::path folder, int64_t count, int64_t epoch)
    : folder_(std::move(folder)), count_(to_size(count)) {
  if (count_ == 0) return;
  std::filesystem::create_directories(folder_);
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    const int64_t of = epoch_in(entry.path().filename().string());
    if (of == 0) continue;
    if (of > epoch) {
      std::filesystem::remove(entry.path());
      continue;
    }
    const ModelInfo info = load_model(entry.path()).info;
    const auto merit = info.progress.find(kMerit);
    if (merit == info.progress.end()) {
      throw InputError("not a model that this run has kept", entry.path().string(),
                       "remove the file");
    }
    merits_[of] = merit->second;
  }
  while (merits_.size() > count_) {
    superfluous_.push_back(worst());
    merits_.erase(superfluous_.back());
  }
  settle();
}

std::filesystem::path BestEpochs::file_of(int64_t epoch) const {
  return folder_ / fmt::format("{}{:04}{}", kPrefix, epoch, kExtension);
}

int64_t BestEpochs::worst() const {
  // Of equals the last one.
  const auto found = std::ranges::min_element(merits_, [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second < b.second : a.first > b.first;
  });
  return found->first;
}

void BestEpochs::offer(double merit, const Snapshot& model, const ModelInfo& info,
                       const RunState& state) {
  if (count_ == 0 || std::isnan(merit)) return;
  merits_[state.epoch] = merit;
  if (merits_.size() > count_) {
    const int64_t out = worst();
    merits_.erase(out);
    if (out == state.epoch) return;
    superfluous_.push_back(out);
  }
  ModelInfo marked = info;
  marked.progress[kMerit] = merit;
  model.write(file_of(state.epoch), marked, state);
}

void BestEpochs::settle() {
  for (const int64_t epoch : superfluous_) std::filesystem::remove(file_of(epoch));
  superfluous_.clear();
}

std::vector<int64_t> BestEpochs::epochs() const {
  std::vector<int64_t> epochs;
  for (const auto& [epoch, merit] : merits_) epochs.push_back(epoch);
  return epochs;
}

void BestEpochs::average_into(Parameters& parameters) const {
  require(!merits_.empty(), "an average is of an epoch at least");
  std::vector<std::vector<double>> sums(parameters.size());
  for (const auto& [epoch, merit] : merits_) {
    const std::filesystem::path file = file_of(epoch);
    const Model model = load_model(file);
    match_parameters(shapes_of(parameters), model.parameters, file.string());
    for (size_t i = 0; i < parameters.size(); ++i) {
      const std::vector<float>& values = model.parameters.at(parameters.specs()[i].name).values;
      sums[i].resize(values.size());
      for (size_t k = 0; k < values.size(); ++k) sums[i][k] += static_cast<double>(values[k]);
    }
  }
  const auto count = static_cast<double>(merits_.size());
  for (size_t i = 0; i < parameters.size(); ++i) {
    std::vector<float> means(sums[i].size());
    std::ranges::transform(sums[i], means.begin(),
                           [&](double sum) { return static_cast<float>(sum / count); });
    parameters.write(i, Parameters::Field::value, means);
  }
}

}  // namespace macadam
