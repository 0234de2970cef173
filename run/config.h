#pragma once
// The configuration of a training run: a TOML file, key=value overrides, and a default for every
// key but `network` and `dataset`.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/field_reader.h"
#include "engine/infer/metrics.h"
#include "engine/train/best_epochs.h"
#include "engine/train/fine_tuning.h"
#include "engine/train/optimizer.h"
#include "engine/train/schedule.h"
#include "kernels/augment.h"
#include "kernels/distill.h"
#include "kernels/loss.h"
#include "loader/augment/list.h"
#include "loader/class_weights.h"
#include "loader/label_set.h"

namespace macadam {

/// `automatic`: bf16 where the device is fast at it, fp16 on GPUs that are fast at that alone, else
/// fp32.
enum class Precision : uint8_t { automatic, fp32, bf16, fp16 };

/// Where each split is looked for; `test` is empty when the table does not name it. One folder
/// for all is the usual case.
struct DatasetPaths {
  std::string train, val, test;

  bool operator==(const DatasetPaths&) const = default;
};

/// One of the runs that a file for `macadam sweep` lists, and what is its own of the configuration.
struct Variant {
  std::string name;
  ParameterTable values;  // but the name
};

/// What each member means, its key, range and default: describe().
struct Config {
  std::string network;
  std::map<std::string, std::string> network_options;  // as text
  DatasetPaths dataset;
  std::string label_set{kAutoLabelSet};
  VoidPolicy void_policy = VoidPolicy::standard;
  int height = 256, width = 512;
  int batch = 4;
  bool auto_batch = false;  // a run chooses it (run/auto_batch.h)
  int64_t epochs = 30;

  LossDesc loss = make_loss({loss_term("ce"), loss_term("dice")});
  std::vector<float> class_weights;               // one a class; empty: "none", or by the rule
  std::optional<ClassWeighting> class_weighting;  // the rule; none with given weights
  ClassWeightingOptions class_weighting_options;
  std::string teacher;  // a model file; none when empty
  DistillDesc distill;  // from it

  OptimizerOptions optimizer;
  double lr = 1e-3;
  ScheduleKind schedule = ScheduleKind::cosine;
  double min_lr = 0;
  double warmup = 1;  // epochs
  double poly_power = 0.9;
  double step_epochs = 10, step_factor = 0.1;
  FineTuning fine_tuning;

  Precision precision = Precision::automatic;
  std::string device = "auto";
  uint64_t seed = 1;
  std::string name;
  std::string runs;
  std::string weights;  // none when empty
  AugmentList augment = default_augmentation();
  Normalization normalization;
  bool own_normalization = false;  // the table is given; else weights or the network decide

  int loader_threads = 0;
  int64_t loader_cache = 1024;  // MiB
  int64_t device_cache = 0;     // MiB
  bool reduced_decoding = true;
  bool strict = true;
  int64_t patience = 10;  // epochs
  double min_delta = 0;
  BestBy best_by = BestBy::miou;
  int64_t average_best = 0, keep_every = 0, recoveries = 2;
  AbsentRule absent = AbsentRule::drop;
  double checkpoint_seconds = 300;
  bool tensorboard = true;
  std::string mlflow, mlflow_experiment = "macadam";  // an address; none when empty

  std::vector<Variant> variants;             // of a sweep; a run of its own has none
  std::set<std::string, std::less<>> given;  // keys that are not left to their defaults
};

/// The one description of a configuration: every key with its kind, range, default and meaning, and
/// what resuming asks of it, in the order in which it is written. A new key is a member above and a
/// line there; what is read, written, compared on resume, listed by `macadam train --keys` and
/// documented in docs/configuration.md follows.
void describe(Fields& fields, Config& config);

/// All keys with their values.
std::vector<DescribedField> fields_of(Config config);

/// Reads a configuration. `overrides` are "key=value" with dotted keys; a value is TOML, or a bare
/// word that stands for a string. Relative paths are seen from the folder of the file, in
/// overrides and defaults from the current folder; all come out absolute.
/// Throws InputError naming file and line (or the override): syntax, unknown keys (with ours for
/// another tool's, or the nearest), wrong types, values out of range, and keys that have no effect
/// beside the others (unless an override made them so).
Config load_config(const std::filesystem::path& file, std::span<const std::string> overrides = {});
/// The same of a run of a sweep: over `overrides` stands a `variant` of that file, over that
/// `more` overrides. What the variant has dotted (network.dropout = 0.1) is set in the
/// configuration's table, anything else replaces the value.
Config load_config(const std::filesystem::path& file, std::span<const std::string> overrides,
                   const ParameterTable& variant, std::span<const std::string> more);
/// The same from text; `file` is its name in errors, and its folder counts for paths.
Config parse_config(std::string_view toml, const std::filesystem::path& file,
                    std::span<const std::string> overrides = {});

/// The whole configuration, nothing left to defaults; parsing it gives the same one again.
std::string to_toml(const Config& config);

/// The learning rates of the run; its steps are the optimiser's. Requires steps_per_epoch >= 1.
Schedule schedule_of(const Config& config, int64_t steps_per_epoch);

/// "auto", "fp32", "bf16", "fp16".
std::string_view name_of(Precision precision);

}  // namespace macadam
