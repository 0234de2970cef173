#include "engine/train/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <variant>

#include "base/error.h"
#include "base/text.h"

namespace macadam {

namespace {

// State of the optimiser in a model file: a prefix and the parameter's name.
constexpr const char* kMoments[] = {"moment1.", "moment2."};
constexpr const char* kAverage = "ema.";
constexpr const char* kUpdates = "updates.";  // a count, as PyTorch's "step"

/// A sum over the epoch under way, and the name of a term of the loss.
constexpr const char* kTermSum = "loss_sum.";

constexpr double kAny = std::numeric_limits<double>::max();

/// A member of RunState that stands in a checkpoint's progress, and its range.
struct ProgressField {
  const char* key;
  std::variant<int64_t RunState::*, double RunState::*> member;
  double least, most;
  /// The key whose value stands for it in files of older versions; null: they have it.
  const char* older = nullptr;
};

constexpr ProgressField kProgress[] = {
    {"batches", &RunState::batches, 0, 0x1p53},
    {"batch", &RunState::batch, 0, 0x1p53},
    {"loss_sum", &RunState::loss_sum, -kAny, kAny},
    {"epoch_seconds", &RunState::epoch_seconds, 0, kAny},
    {"epoch_wait", &RunState::epoch_wait, 0, kAny},
    {"best_score", &RunState::best_merit, -kAny, 1},
    {"best_epoch", &RunState::best_epoch, 0, 0x1p53},
    {"waited_score", &RunState::waited_merit, -kAny, 1, "best_score"},
    {"waited_epoch", &RunState::waited_epoch, 0, 0x1p53, "best_epoch"},
    {"recoveries", &RunState::recoveries, 0, 0x1p53, ""},
};

/// What a checkpoint says of the run beside its tensors, whatever stands in the file.
class SavedProgress {
 public:
  SavedProgress(const Model& model, const std::filesystem::path& file)
      : values_(model.info.progress), file_(file) {}

  /// A number from `least` to `most`.
  double number(const char* key, double least, double most) const {
    const auto found = values_.find(key);
    if (found == values_.end()) fail(fmt::format("the checkpoint lacks '{}'", key));
    const double value = found->second;
    if (!(value >= least && value <= most)) {  // NaN too
      fail(fmt::format("the checkpoint's '{}' is {}, not from {:.10g} to {:.10g}", key, value,
                       least, most));
    }
    return value;
  }
  /// The same, without a fraction.
  int64_t count(const char* key, double least, double most) const {
    const double value = number(key, least, most);
    if (value != std::floor(value)) fail(fmt::format("the checkpoint's '{}' is {}", key, value));
    return static_cast<int64_t>(value);
  }
  RunState state() const {
    RunState state;
    for (const ProgressField& field : kProgress) {
      const bool older = field.older != nullptr && !values_.contains(field.key);
      const char* const key = older ? field.older : field.key;
      if (*key == '\0') continue;  // and 0 is right
      if (const auto* counter = std::get_if<int64_t RunState::*>(&field.member)) {
        state.** counter = count(key, field.least, field.most);
      } else {
        state.*std::get<double RunState::*>(field.member) = number(key, field.least, field.most);
      }
    }
    for (const auto& [key, value] : values_) {  // none in files of older versions
      if (!key.starts_with(kTermSum)) continue;
      state.term_sums[key.substr(std::string_view(kTermSum).size())] =
          number(key.c_str(), -kAny, kAny);
    }
    return state;
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw InputError(what, file_.string(),
                     "start a new run with weights = \"" + file_.string() + '"');
  }

 private:
  const std::map<std::string, double>& values_;
  const std::filesystem::path& file_;
};

std::map<std::string, double> progress_of(const RunState& state) {
  std::map<std::string, double> progress;
  for (const ProgressField& field : kProgress) {
    progress[field.key] =
        std::visit([&](auto member) { return static_cast<double>(state.*member); }, field.member);
  }
  for (const auto& [term, sum] : state.term_sums) {
    if (!std::isnan(sum)) progress[kTermSum + term] = sum;
  }
  return progress;
}

/// The optimiser's tensor of that name. Throws InputError when the file has none of that shape.
const std::vector<float>& optimizer_tensor(const Model& model, const std::string& name,
                                           const TensorShape& shape,
                                           const std::filesystem::path& file) {
  const auto found = model.optimizer.find(name);
  if (found == model.optimizer.end() || found->second.shape != shape) {
    throw InputError("the checkpoint lacks optimiser state '" + name + "'", file.string(),
                     "start a new run with weights = \"" + file.string() + '"');
  }
  return found->second.values;
}

std::vector<std::string> described_classes(const ModelInfo& info) {
  std::vector<std::string> items;
  for (size_t c = 0; c < info.class_names.size(); ++c) {
    items.push_back(fmt::format("{} (id {})", quote(info.class_names[c]), info.inverse_ids[c]));
  }
  return items;
}

/// Throws InputError unless a checkpoint is of the model that is to be trained on.
void check_same_model(const ModelInfo& begun, const ModelInfo& now,
                      const std::filesystem::path& file) {
  const auto fail = [&](const std::string& what, std::string_view remedy) {
    throw InputError(what, file.string(), remedy);
  };
  const auto then_classes = described_classes(begun), now_classes = described_classes(now);
  const size_t common = std::min(then_classes.size(), now_classes.size());
  for (size_t c = 0; c < common; ++c) {
    if (then_classes[c] == now_classes[c]) continue;
    fail(fmt::format("class {} is {}, but the run was begun with {}", c, now_classes[c],
                     then_classes[c]),
         "restore the classes, or train under another name");
  }
  if (then_classes.size() != now_classes.size()) {
    fail(fmt::format("there are {} classes, but the run was begun with {}", now_classes.size(),
                     then_classes.size()),
         "restore the classes, or train under another name");
  }
  if (begun.precision != now.precision) {
    fail(fmt::format("the precision is {}, but the run was begun in {}", now.precision,
                     quote(begun.precision)),
         fmt::format("resume with precision={}, or train under another name",
                     quote(begun.precision)));
  }
}

/// Throws InputError when batches and steps are not those of one run.
void check_position(const RunState& state, int64_t accumulate, const SavedProgress& progress,
                    const std::filesystem::path& file) {
  if (state.batch % accumulate != 0 && state.batch != state.batches) {
    throw InputError(
        fmt::format("the checkpoint was taken after batch {} of an epoch", state.batch),
        file.string(), "resume with the same accumulate");
  }
  const auto steps_of = [&](int64_t n) { return (n + accumulate - 1) / accumulate; };
  const int64_t in_epoch = steps_of(state.batch), an_epoch = steps_of(state.batches);
  if (state.steps < in_epoch || (state.steps - in_epoch) % an_epoch != 0 ||
      (state.steps - in_epoch) / an_epoch != state.epoch) {
    progress.fail(fmt::format("the checkpoint's {} steps are not those of {} epochs and {} batches",
                              state.steps, state.epoch, state.batch));
  }
}

/// The updates that a parameter has seen.
uint64_t updates_of(const Model& model, const ParameterSpec& spec, int64_t steps,
                    const SavedProgress& progress, const std::filesystem::path& file) {
  const std::string name = kUpdates + spec.name;
  const float updates = optimizer_tensor(model, name, {1}, file)[0];
  if (!(updates >= 0 && updates <= static_cast<float>(steps) && updates == std::floor(updates))) {
    progress.fail(fmt::format("the checkpoint's '{}' is {}", name, updates));
  }
  return static_cast<uint64_t>(updates);
}

void restore_optimizer(const Model& model, int64_t steps, const SavedProgress& saved,
                       const std::filesystem::path& file, Optimizer& optimizer) {
  OptimizerProgress progress = optimizer.progress(0);
  // Files of older versions do not count: every parameter has taken all steps there.
  const bool counted = std::ranges::any_of(
      model.optimizer, [](const auto& tensor) { return tensor.first.starts_with(kUpdates); });
  std::vector<Parameters>& moments = optimizer.moments();
  const std::vector<ParameterSpec>& specs = moments.front().specs();
  for (size_t i = 0; i < specs.size(); ++i) {
    const ParameterSpec& spec = specs[i];
    const auto read = [&](const char* prefix, Parameters& into) {
      into.write(i, Parameters::Field::value,
                 optimizer_tensor(model, prefix + spec.name, spec.file_shape(), file));
    };
    if (Parameters* const averages = optimizer.averages()) read(kAverage, *averages);
    if (!spec.trainable()) continue;
    for (size_t m = 0; m < moments.size(); ++m) read(kMoments[m], moments[m]);
    progress.updates[i] =
        counted ? updates_of(model, spec, steps, saved, file) : static_cast<uint64_t>(steps);
  }
  if (optimizer.loss_scale() != nullptr) {
    GradientState& gradient = progress.gradient;
    gradient.loss_scale =
        static_cast<float>(saved.number("loss_scale", static_cast<double>(kSmallestLossScale),
                                        static_cast<double>(std::numeric_limits<float>::max())));
    gradient.good_steps =
        static_cast<uint32_t>(saved.count("good_steps", 0, GradScaler::kGrowthInterval - 1));
    gradient.skipped =
        static_cast<uint32_t>(saved.count("skipped_steps", 0, static_cast<double>(steps)));
  }
  optimizer.restore(progress, static_cast<uint64_t>(steps));
}

}  // namespace

void Snapshot::add(Tensors& tensors, const std::string& name, TensorShape shape,
                   std::vector<float> values) {
  values_.push_back(std::move(values));
  for (float v : values_.back()) finite_ = finite_ && std::isfinite(v);
  tensors[name] = {std::move(shape), values_.back()};
}

Snapshot Snapshot::of_model(const Parameters& parameters) {
  Snapshot snapshot;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const ParameterSpec& spec = parameters.specs()[i];
    snapshot.add(snapshot.parameters_, spec.name, spec.file_shape(),
                 parameters.read(i, Parameters::Field::value));
  }
  return snapshot;
}

Snapshot Snapshot::of_run(const Parameters& parameters, const Optimizer& optimizer, int64_t steps) {
  Snapshot snapshot = of_model(parameters);
  snapshot.of_run_ = true;
  snapshot.scales_loss_ = optimizer.loss_scale() != nullptr;
  snapshot.progress_ = optimizer.progress(static_cast<uint64_t>(steps));
  const std::vector<Parameters>& moments = optimizer.moments();
  for (size_t i = 0; i < parameters.size(); ++i) {
    const ParameterSpec& spec = parameters.specs()[i];
    const auto add = [&](const char* prefix, const Parameters& from) {
      snapshot.add(snapshot.optimizer_, prefix + spec.name, spec.file_shape(),
                   from.read(i, Parameters::Field::value));
    };
    if (optimizer.averages() != nullptr) add(kAverage, *optimizer.averages());
    if (!spec.trainable()) continue;
    for (size_t m = 0; m < moments.size(); ++m) add(kMoments[m], moments[m]);
    snapshot.add(snapshot.optimizer_, kUpdates + spec.name, {1},
                 {static_cast<float>(snapshot.progress_.updates[i])});
  }
  return snapshot;
}

void Snapshot::write(const std::filesystem::path& file, ModelInfo info,
                     const RunState& state) const {
  info.epoch = state.epoch;
  info.step = state.steps;
  info.metrics = state.metrics;
  if (of_run_) info.progress = progress_of(state);
  if (scales_loss_) {
    const GradientState& gradient = progress_.gradient;
    info.progress["loss_scale"] = static_cast<double>(gradient.loss_scale);
    info.progress["good_steps"] = gradient.good_steps;
    info.progress["skipped_steps"] = gradient.skipped;
  }
  save_model(file, info, parameters_, optimizer_);
}

RunState read_checkpoint(const std::filesystem::path& file, const ModelInfo& info, int64_t batches,
                         Parameters& parameters, Optimizer& optimizer) {
  const Model model = load_model(file, ModelPart::everything);
  load_parameters(model, parameters, file.string());
  check_same_model(model.info, info, file);
  const SavedProgress progress(model, file);
  const double begun_batches = progress.number("batches", 0, kAny);
  if (begun_batches != static_cast<double>(batches)) {
    throw InputError(fmt::format("the run was begun with {} batches an epoch, now there are {}",
                                 begun_batches, batches),
                     file.string(), "resume with the same training images and batch size");
  }
  RunState state = progress.state();
  state.epoch = model.info.epoch;
  state.steps = model.info.step;
  state.metrics = model.info.metrics;
  state.batch = progress.count("batch", 0, static_cast<double>(batches));
  check_position(state, optimizer.options().accumulate, progress, file);
  state.best_epoch =
      progress.count("best_epoch", static_cast<double>(std::min<int64_t>(state.epoch, 1)),
                     static_cast<double>(state.epoch));
  restore_optimizer(model, state.steps, progress, file, optimizer);
  return state;
}

}  // namespace macadam
