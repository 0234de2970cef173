#pragma once
// The configuration of a training run: a TOML file, key=value overrides, and a default for every
// key but `network` and `dataset`.

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/infer/metrics.h"
#include "engine/train/fine_tuning.h"
#include "engine/train/optimizer.h"
#include "engine/train/schedule.h"
#include "kernels/augment.h"
#include "kernels/loss.h"
#include "loader/augment/list.h"
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

/// The keys follow the members' order; those of another name are in brackets.
struct Config {
  std::string network;                                 // [network or network.name]
  std::map<std::string, std::string> network_options;  // [network.OPTION] as text
  DatasetPaths dataset;
  std::string label_set{kAutoLabelSet};
  VoidPolicy void_policy = VoidPolicy::standard;  // [void = "auto" | "ignore" | "class"]
  int height = 256, width = 512;                  // [size = [height, width]] that the network sees
  int batch = 4;
  int64_t epochs = 30;

  LossDesc loss{.dice_weight = 1};   // [loss, label_smoothing, dice_absent, dice_smooth]
  std::vector<float> class_weights;  // one a class; empty: "none"

  // [optimizer, weight_decay, betas, momentum, nesterov, accumulate, clip_norm, ema]
  OptimizerOptions optimizer;
  double lr = 1e-3;  // the peak; 1e-2 with sgd
  ScheduleKind schedule = ScheduleKind::cosine;
  double min_lr = 0;  // where the schedule ends
  double warmup = 1;  // epochs of linear rise, may be a fraction; by default a tenth, at most 1
  FineTuning fine_tuning;  // [freeze, encoder_lr, freeze_batch_norm = "none" | "encoder" | "all"]

  Precision precision = Precision::automatic;
  std::string device = "auto";
  uint64_t seed = 1;
  std::string name;     // of the run; the network's by default
  std::string runs;     // folder of the runs; "runs" in the current folder by default
  std::string weights;  // model file to start from; none when empty
  AugmentList augment = default_augmentation();  // of training photos
  Normalization normalization;                   // [normalization.mean, .std, .range, .bgr]
  bool own_normalization = false;  // the table is given; else weights or the network decide

  int loader_threads = 0;        // [loader.threads] 0: all cores
  int64_t loader_cache = 1024;   // [loader.cache] MiB of decoded samples that may stay in memory
  int64_t device_cache = 0;      // [loader.device_cache] the same in the device's memory, CUDA only
  bool reduced_decoding = true;  // [loader.reduced_decoding] see DecodeOptions
  bool strict = true;            // [loader.strict] JPEGs with faults that cost no pixel are errors
  int64_t patience = 10;         // [early_stopping.patience] epochs; 0: never stop early
  AbsentRule absent = AbsentRule::drop;  // [metrics.absent = "drop" | "one" | "zero"]
  double checkpoint_seconds = 300;       // between checkpoints within an epoch

  std::set<std::string, std::less<>> given;  // keys that are not left to their defaults
};

/// Reads a configuration. `overrides` are "key=value" with dotted keys; a value is TOML, or a bare
/// word that stands for a string. Relative paths are seen from the folder of the file, in
/// overrides and defaults from the current folder; all come out absolute.
/// Throws InputError naming file and line (or the override): syntax, unknown keys (with ours for
/// another tool's, or the nearest), wrong types, values out of range, and keys that have no effect
/// beside the others (unless an override made them so).
Config load_config(const std::filesystem::path& file, std::span<const std::string> overrides = {});
/// The same from text; `file` is its name in errors, and its folder counts for paths.
Config parse_config(std::string_view toml, const std::filesystem::path& file,
                    std::span<const std::string> overrides = {});

/// The whole configuration, nothing left to defaults; parsing it gives the same one again.
std::string to_toml(const Config& config);

/// `text` as a TOML string.
std::string toml_string(std::string_view text);

/// The learning rates of the run; its steps are the optimiser's. Requires steps_per_epoch >= 1.
Schedule schedule_of(const Config& config, int64_t steps_per_epoch);

/// "auto", "fp32", "bf16", "fp16".
std::string_view name_of(Precision precision);

}  // namespace macadam
