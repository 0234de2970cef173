#include "app/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <limits>

#include "app/config_source.h"
#include "app/loss_expression.h"
#include "base/error.h"
#include "base/files.h"
#include "base/text.h"

namespace macadam {

namespace fs = std::filesystem;

namespace {

constexpr size_t max_config_bytes = 1 << 20;

// In the order of their enumerations.
const std::array<std::string, 3> void_names{"auto", "ignore", "class"};
const std::array<std::string, 3> dice_absent_names{"skip", "zero", "suppress"};
const std::array<std::string, 2> optimizer_names{"adamw", "sgd"};
const std::array<std::string, 3> schedule_names{"constant", "cosine", "poly"};
const std::array<std::string, 3> batch_norm_names{"none", "encoder", "all"};
const std::array<std::string, 4> precision_names{"auto", "fp32", "bf16", "fp16"};
const std::array<std::string, 3> absent_names{"drop", "one", "zero"};

template <typename Enum, size_t N>
void read_enum(ConfigSource& source, std::string_view key, const std::array<std::string, N>& names,
               Enum& value) {
  value = static_cast<Enum>(source.read_choice(key, names, static_cast<size_t>(value)));
}

void read_int(ConfigSource& source, std::string_view key, int& value, int least, int most) {
  int64_t wide = value;
  source.read_integer(key, wide, least, most);
  value = static_cast<int>(wide);
}

void read_float(ConfigSource& source, std::string_view key, float& value, double least,
                double most) {
  double wide = value;
  source.read_number(key, wide, least, most);
  value = static_cast<float>(wide);
}

void read_triple(ConfigSource& source, std::string_view key, std::array<float, 3>& value,
                 double least) {
  std::vector<double> wide(value.begin(), value.end());
  source.read_numbers(key, wide, value.size(), least, 1e3);
  std::ranges::transform(wide, value.begin(), [](double v) { return static_cast<float>(v); });
}

/// Refuses `key` where it does nothing because of what `cause` says. An override of the cause may
/// leave keys of the file without effect: there is no way to take them back on a command line.
void needs(ConfigSource& source, bool has_effect, std::string_view key, std::string_view cause,
           std::string_view remedy) {
  if (!source.given(key) || has_effect) return;
  if (!source.overridden(key) && source.overridden(cause)) return;
  source.fail(key, "has no effect here", remedy);
}

void read_network(ConfigSource& source, Config& config) {
  if (source.is_table("network")) {
    source.read_string("network.name", config.network);
    config.network_options = source.read_options("network", "name");
  } else {
    source.read_string("network", config.network);
  }
}

void read_dataset(ConfigSource& source, Config& config) {
  DatasetPaths& paths = config.dataset;
  if (source.is_table("dataset")) {
    source.read_path("dataset.train", paths.train);
    source.read_path("dataset.val", paths.val);
    source.read_path("dataset.test", paths.test);
  } else {
    source.read_path("dataset", paths.train);
    paths.val = paths.test = paths.train;
  }
}

void read_data(ConfigSource& source, Config& config) {
  source.read_string("label_set", config.label_set);
  read_enum(source, "void", void_names, config.void_policy);
  std::vector<double> size{static_cast<double>(config.height), static_cast<double>(config.width)};
  source.read_numbers("size", size, 2, 1, 1 << 16);
  if (std::ranges::any_of(size, [](double v) { return v != std::floor(v); })) {
    source.fail("size", "holds a fraction", "write [height, width] in pixels");
  }
  config.height = static_cast<int>(size[0]);
  config.width = static_cast<int>(size[1]);
  read_int(source, "batch", config.batch, 1, 1 << 16);
  read_triple(source, "normalization.mean", config.normalization.mean, -1e3);
  read_triple(source, "normalization.std", config.normalization.std, 1e-6);
  read_float(source, "normalization.range", config.normalization.range, 1e-3, 1e3);
  source.read_bool("normalization.bgr", config.normalization.bgr);
  config.own_normalization = source.is_table("normalization");
  if (source.given("augment")) {
    ParameterValue augment;
    source.read_value("augment", augment);
    config.augment =
        parse_augmentation(augment, source.where("augment"), {config.height, config.width});
  }
  read_int(source, "loader.threads", config.loader_threads, 0, 1024);
  source.read_integer("loader.cache", config.loader_cache, 0, int64_t{1} << 30);
  source.read_integer("loader.device_cache", config.device_cache, 0, int64_t{1} << 30);
  source.read_bool("loader.reduced_decoding", config.reduced_decoding);
  source.read_bool("loader.strict", config.strict);
}

void read_loss(ConfigSource& source, Config& config) {
  std::string expression = loss_text({config.loss.ce_weight, config.loss.dice_weight});
  source.read_string("loss", expression);
  const LossWeights weights = parse_loss(expression, source.where("loss"));
  config.loss.ce_weight = weights.ce;
  config.loss.dice_weight = weights.dice;
  read_float(source, "label_smoothing", config.loss.label_smoothing, 0, 0.999);
  read_float(source, "dice_smooth", config.loss.dice_smooth, 0, 1e6);
  read_enum(source, "dice_absent", dice_absent_names, config.loss.absent);

  std::vector<double> class_weights;
  std::string none = "none";
  if (source.given("class_weights") && !source.is_list("class_weights")) {
    source.read_string("class_weights", none);
    if (none != "none") {
      source.fail("class_weights", fmt::format("is {}", quote(none)),
                  "write \"none\" or a list of one number a class");
    }
  } else {
    source.read_numbers("class_weights", class_weights, 0, 0, 1e6);
    if (source.given("class_weights") &&
        std::ranges::none_of(class_weights, [](double w) { return w > 0; })) {
      source.fail("class_weights", "has no positive weight",
                  "write \"none\" or a list of one number a class");
    }
  }
  for (const double weight : class_weights) {
    config.class_weights.push_back(static_cast<float>(weight));
  }
  const bool ce = weights.ce > 0, dice = weights.dice > 0;
  needs(source, ce, "label_smoothing", "loss", "remove it, or add ce to the loss");
  needs(source, ce || config.class_weights.empty(), "class_weights", "loss",
        "remove it, or add ce to the loss");
  needs(source, dice, "dice_smooth", "loss", "remove it, or add dice to the loss");
  needs(source, dice, "dice_absent", "loss", "remove it, or add dice to the loss");
}

void read_optimizer(ConfigSource& source, Config& config) {
  OptimizerOptions& optimizer = config.optimizer;
  read_enum(source, "optimizer", optimizer_names, optimizer.kind);
  const bool sgd = optimizer.kind == OptimizerKind::sgd;
  if (sgd) {  // its weight decay is part of the gradient and its steps are not normalised
    config.lr = 1e-2;
    optimizer.weight_decay = 5e-4f;
  }
  source.read_number("lr", config.lr, 1e-12, 100);
  read_float(source, "weight_decay", optimizer.weight_decay, 0, 1);
  read_float(source, "momentum", optimizer.sgd.momentum, 0, 0.9999);
  source.read_bool("nesterov", optimizer.sgd.nesterov);
  std::vector<double> betas{optimizer.adamw.beta1, optimizer.adamw.beta2};
  source.read_numbers("betas", betas, 2, 0, 0.99999);
  optimizer.adamw.beta1 = static_cast<float>(betas[0]);
  optimizer.adamw.beta2 = static_cast<float>(betas[1]);
  needs(source, sgd, "momentum", "optimizer", "remove it, or write optimizer = \"sgd\"");
  needs(source, sgd, "nesterov", "optimizer", "remove it, or write optimizer = \"sgd\"");
  needs(source, !optimizer.sgd.nesterov || optimizer.sgd.momentum > 0, "nesterov", "momentum",
        "remove it, or give a momentum");
  needs(source, !sgd, "betas", "optimizer", "remove it, or write optimizer = \"adamw\"");

  source.read_integer("accumulate", optimizer.accumulate, 1, 1 << 16);
  read_float(source, "clip_norm", optimizer.clip_norm, 0, 1e6);
  read_float(source, "ema", optimizer.ema, 0, 0.999999);

  read_enum(source, "schedule", schedule_names, config.schedule);
  source.read_number("min_lr", config.min_lr, 0, config.lr);
  needs(source, config.schedule != ScheduleKind::constant, "min_lr", "schedule",
        "remove it, or write schedule = \"cosine\"");
  source.read_integer("epochs", config.epochs, 1, 1'000'000);
  config.warmup = std::min(1.0, 0.1 * static_cast<double>(config.epochs));
  source.read_number("warmup", config.warmup, 0, static_cast<double>(config.epochs));
}

void read_fine_tuning(ConfigSource& source, FineTuning& tuning) {
  source.read_freeze_rules("freeze", tuning.freeze);
  read_float(source, "encoder_lr", tuning.encoder_lr, 1e-6, 1e3);
  read_enum(source, "freeze_batch_norm", batch_norm_names, tuning.batch_norms);
}

void read_run(ConfigSource& source, Config& config) {
  read_enum(source, "precision", precision_names, config.precision);
  source.read_string("device", config.device);
  auto seed = static_cast<int64_t>(config.seed);
  source.read_integer("seed", seed, 0, std::numeric_limits<int64_t>::max());
  config.seed = static_cast<uint64_t>(seed);
  config.name = config.network.empty() ? "run" : config.network;
  source.read_string("name", config.name);
  const bool plain = std::ranges::none_of(
      config.name, [](char c) { return c == '/' || static_cast<unsigned char>(c) < 0x20; });
  if (config.name.empty() || config.name[0] == '.' || config.name.size() > 100 || !plain) {
    source.fail("name", fmt::format("is {}", quote(config.name)),
                "name a folder: 1 to 100 bytes, no '/', no '.' at the beginning");
  }
  config.runs = fs::absolute("runs").lexically_normal().string();
  source.read_path("runs", config.runs);
  if (config.runs.empty()) source.fail("runs", "is empty", "name the folder of the runs");
  source.read_path("weights", config.weights);
  source.read_integer("early_stopping.patience", config.patience, 0, 1'000'000);
  read_enum(source, "metrics.absent", absent_names, config.absent);
  source.read_number("checkpoint_seconds", config.checkpoint_seconds, 0, 1e6);
}

/// Last, so that a misspelt key is called that rather than missing.
void check_complete(const ConfigSource& source, const Config& config) {
  if (config.network.empty()) {
    source.fail("network", "is missing", "write for example network = \"unet_mini\"");
  }
  if (config.dataset.train.empty() || config.dataset.val.empty()) {
    source.fail("dataset", "is missing or lacks train or val",
                "write dataset = \"FOLDER\", or a table with train and val");
  }
}

/// A key as TOML writes it: bare where it may be.
std::string toml_key(const std::string& key) {
  const bool bare = !key.empty() && std::ranges::all_of(key, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-';
  });
  return bare ? key : toml_string(key);
}

std::string network_text(const Config& config) {
  if (config.network_options.empty()) return toml_string(config.network);
  std::string text = fmt::format("{{name = {}", toml_string(config.network));
  for (const auto& [key, value] : config.network_options) {
    text += fmt::format(", {} = {}", toml_key(key), toml_string(value));
  }
  return text + "}";
}

std::string freeze_text(const std::vector<FreezeRule>& rules) {
  std::vector<std::string> items;
  for (const FreezeRule& rule : rules) {
    const std::string pattern = toml_string(rule.pattern);
    items.push_back(rule.epochs == FreezeRule::kWholeRun
                        ? pattern
                        : fmt::format("{{pattern = {}, epochs = {}}}", pattern, rule.epochs));
  }
  return fmt::format("[{}]", joined(items));
}

std::string dataset_text(const DatasetPaths& paths) {
  if (paths.train == paths.val && paths.train == paths.test) return toml_string(paths.train);
  std::string text =
      fmt::format("{{train = {}, val = {}", toml_string(paths.train), toml_string(paths.val));
  if (!paths.test.empty()) text += fmt::format(", test = {}", toml_string(paths.test));
  return text + "}";
}

template <typename Enum, size_t N>
const std::string& name_in(const std::array<std::string, N>& names, Enum value) {
  return names.at(static_cast<size_t>(value));
}

}  // namespace

std::string_view name_of(Precision precision) { return name_in(precision_names, precision); }

std::string toml_string(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      result += fmt::format("\\u{:04X}", static_cast<unsigned char>(c));
    } else {
      result += c;
    }
  }
  return result + '"';
}

Config parse_config(std::string_view toml, const fs::path& file,
                    std::span<const std::string> overrides) {
  ConfigSource source(toml, file, overrides);
  Config config;
  read_network(source, config);
  read_dataset(source, config);
  read_data(source, config);
  read_loss(source, config);
  read_optimizer(source, config);
  read_fine_tuning(source, config.fine_tuning);
  read_run(source, config);
  source.reject_unknown();
  check_complete(source, config);
  config.given = source.given_keys();
  return config;
}

Config load_config(const fs::path& file, std::span<const std::string> overrides) {
  return parse_config(read_file(file, max_config_bytes), file, overrides);
}

Schedule schedule_of(const Config& config, int64_t steps_per_epoch) {
  const auto steps = static_cast<double>(steps_per_epoch);
  return {.kind = config.schedule,
          .lr = config.lr,
          .min_lr = config.min_lr,
          .warmup_steps = std::llround(config.warmup * steps),
          .total_steps = config.epochs * steps_per_epoch};
}

std::string to_toml(const Config& config) {
  std::string text;
  const auto line = [&](std::string_view key, const std::string& value) {
    text += fmt::format("{} = {}\n", key, value);
  };
  const auto number = [](auto value) { return fmt::to_string(value); };
  const auto list = [](const auto& values) { return fmt::format("[{}]", fmt::join(values, ", ")); };
  const auto word = [](const std::string& value) { return toml_string(value); };

  line("network", network_text(config));
  line("dataset", dataset_text(config.dataset));
  line("label_set", word(config.label_set));
  line("void", word(name_in(void_names, config.void_policy)));
  line("size", fmt::format("[{}, {}]", config.height, config.width));
  line("batch", number(config.batch));
  line("epochs", number(config.epochs));

  const LossDesc& loss = config.loss;
  line("loss", word(loss_text({loss.ce_weight, loss.dice_weight})));
  if (loss.ce_weight > 0) {
    line("class_weights", config.class_weights.empty() ? word("none") : list(config.class_weights));
    line("label_smoothing", number(loss.label_smoothing));
  }
  if (loss.dice_weight > 0) {
    line("dice_absent", word(name_in(dice_absent_names, loss.absent)));
    line("dice_smooth", number(loss.dice_smooth));
  }

  const OptimizerOptions& optimizer = config.optimizer;
  line("optimizer", word(name_in(optimizer_names, optimizer.kind)));
  line("lr", number(config.lr));
  line("weight_decay", number(optimizer.weight_decay));
  if (optimizer.kind == OptimizerKind::sgd) {
    line("momentum", number(optimizer.sgd.momentum));
    line("nesterov", optimizer.sgd.nesterov ? "true" : "false");
  } else {
    line("betas", list(std::array{optimizer.adamw.beta1, optimizer.adamw.beta2}));
  }
  line("accumulate", number(optimizer.accumulate));
  line("clip_norm", number(optimizer.clip_norm));
  line("ema", number(optimizer.ema));
  line("schedule", word(name_in(schedule_names, config.schedule)));
  if (config.schedule != ScheduleKind::constant) line("min_lr", number(config.min_lr));
  line("warmup", number(config.warmup));
  line("freeze", freeze_text(config.fine_tuning.freeze));
  line("encoder_lr", number(config.fine_tuning.encoder_lr));
  line("freeze_batch_norm", word(name_in(batch_norm_names, config.fine_tuning.batch_norms)));

  line("precision", word(name_in(precision_names, config.precision)));
  line("device", word(config.device));
  line("seed", number(config.seed));
  line("name", word(config.name));
  line("runs", word(config.runs));
  line("weights", word(config.weights));
  line("augment", to_text(config.augment));
  line("checkpoint_seconds", number(config.checkpoint_seconds));

  text += "\n[normalization]\n";
  line("mean", list(config.normalization.mean));
  line("std", list(config.normalization.std));
  line("range", number(config.normalization.range));
  line("bgr", config.normalization.bgr ? "true" : "false");
  text += "\n[loader]\n";
  line("threads", number(config.loader_threads));
  line("cache", number(config.loader_cache));
  line("device_cache", number(config.device_cache));
  line("reduced_decoding", config.reduced_decoding ? "true" : "false");
  line("strict", config.strict ? "true" : "false");
  text += "\n[early_stopping]\n";
  line("patience", number(config.patience));
  text += "\n[metrics]\n";
  line("absent", word(name_in(absent_names, config.absent)));
  return text;
}

}  // namespace macadam
