#include "run/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "base/toml.h"
#include "run/config_kinds.h"
#include "run/config_loss.h"
#include "run/config_source.h"
#include "run/loss_expression.h"
#include "run/loss_presets.h"

namespace macadam {

namespace fs = std::filesystem;

namespace {

constexpr size_t kMaxConfigBytes = 1 << 20;
constexpr double kSgdLr = 1e-2;
constexpr float kSgdWeightDecay = 5e-4f;  // part of the gradient, whose steps are not normalised

using Words = std::vector<std::string>;

const Words& best_by_names() {
  static const Words names = [] {
    Words all;
    for (const BestBy by :
         {BestBy::miou, BestBy::mdice, BestBy::pixel_accuracy, BestBy::val_loss}) {
      all.emplace_back(name_of(by));
    }
    return all;
  }();
  return names;
}

const Words& precision_names() {
  static const Words names{"auto", "fp32", "bf16", "fp16"};
  return names;
}

void describe_data(Fields& f, Config& c) {
  f.section("What is trained on what");
  f.visit({"network",
           "the network; its options stand in the table (docs/networks.md)",
           {.by_default = "must be given"}},
          network_kind(c.network, c.network_options));
  f.visit({"dataset",
           "the data set, or one for each split (docs/datasets.md)",
           {.on_resume = OnResume::resolved, .by_default = "must be given"}},
          dataset_kind(c.dataset));
  f.text({"label_set",
          "which classes the ids in masks become: categories8, trainids19, camvid11, custom, or "
          "auto, the data set's own",
          {.on_resume = OnResume::resolved}},
         c.label_set);
  f.choice({"void",
            "what becomes of pixels of no class; auto: as usual for the label set",
            {.on_resume = OnResume::resolved}},
           c.void_policy, Words{"auto", "ignore", "class"});
  std::array<double, 2> size{static_cast<double>(c.height), static_cast<double>(c.width)};
  f.numbers({"size", "height and width, in pixels, that the network sees"}, size, 1, 1 << 16);
  f.check(std::ranges::all_of(size, [](double v) { return v == std::floor(v); }), "size",
          "holds a fraction", "write [height, width] in pixels");
  c.height = static_cast<int>(size[0]);
  c.width = static_cast<int>(size[1]);
  f.visit({"batch",
           "photos in a batch; auto: the largest power of two that fits the device's memory, at "
           "most 64 and an eighth of the training photos"},
          batch_kind(c.batch, c.auto_batch));
  f.integer({"epochs",
             "passes over the training photos; the schedule is stretched over them",
             {.on_resume = OnResume::free}},
            c.epochs, 1, 1'000'000);
}

void describe_optimizer(Fields& f, Config& c) {
  f.section("The optimiser");
  OptimizerOptions& optimizer = c.optimizer;
  f.choice({"optimizer", "AdamW, or SGD with momentum"}, optimizer.kind, Words{"adamw", "sgd"});
  const bool sgd = optimizer.kind == OptimizerKind::sgd;
  const Effect of_sgd{sgd, "optimizer", "optimizer = \"sgd\""};
  const Effect of_adamw{!sgd, "optimizer", "optimizer = \"adamw\""};
  if (sgd && !f.given("lr")) c.lr = kSgdLr;
  f.number({"lr",
            "the learning rate at its peak",
            {.by_default = fmt::format("{}, with sgd {}", Config().lr, kSgdLr)}},
           c.lr, 1e-12, 100);
  if (sgd && !f.given("weight_decay")) optimizer.weight_decay = kSgdWeightDecay;
  f.number({"weight_decay",
            "shrinks convolution weights, and nothing else; decoupled with adamw, in the gradient "
            "with sgd",
            {.by_default =
                 fmt::format("{}, with sgd {}", OptimizerOptions().weight_decay, kSgdWeightDecay)}},
           optimizer.weight_decay, 0, 1);
  f.number({"momentum", "share of the last step in the next one of sgd", {.effect = of_sgd}},
           optimizer.sgd.momentum, 0, 0.9999);
  f.boolean({"nesterov", "momentum in the form of Nesterov", {.effect = of_sgd}},
            optimizer.sgd.nesterov);
  f.needs("nesterov", {!optimizer.sgd.nesterov || optimizer.sgd.momentum > 0, "momentum",
                       "a positive momentum"});
  optimizer.sgd.nesterov = optimizer.sgd.nesterov && optimizer.sgd.momentum > 0;
  std::array<float, 2> betas{optimizer.adamw.beta1, optimizer.adamw.beta2};
  f.numbers({"betas", "decay of adamw's two moments", {.effect = of_adamw}}, betas, 0, 0.99999);
  optimizer.adamw.beta1 = betas[0];
  optimizer.adamw.beta2 = betas[1];
  f.integer({"accumulate", "batches a step: the gradient is that of the mean of their losses"},
            optimizer.accumulate, 1, 1 << 16);
  f.number({"clip_norm", "largest norm of the gradient of all that is trained; 0: any"},
           optimizer.clip_norm, 0, 1e6);
  f.number({"ema",
            "decay of a moving average of the parameters, which is validated and kept as "
            "the best; 0: none"},
           optimizer.ema, 0, 0.999999);
}

void describe_schedule(Fields& f, Config& c) {
  f.section("The learning rate's schedule");
  f.choice({"schedule",
            "how the learning rate falls behind the warm-up; one_cycle also rises as a half "
            "cosine, from lr / 25"},
           c.schedule, Words{"constant", "cosine", "poly", "one_cycle", "step"});
  const auto is = [&](ScheduleKind kind) { return c.schedule == kind; };
  f.number({"min_lr",
            "where the schedule ends",
            {.effect = {!is(ScheduleKind::constant) && !is(ScheduleKind::step), "schedule",
                        "schedule = \"cosine\", \"poly\" or \"one_cycle\""},
             .type = "a number from 0 to lr"}},
           c.min_lr, 0, c.lr);
  const auto epochs = static_cast<double>(c.epochs);
  const bool one_cycle = is(ScheduleKind::one_cycle);
  if (!f.given("warmup")) c.warmup = one_cycle ? 0.3 * epochs : std::min(1.0, 0.1 * epochs);
  f.number({"warmup",
            "epochs in which the learning rate rises, linearly; may be a fraction",
            {.on_resume = OnResume::kept,
             .type = "a number from 0 to epochs",
             .by_default = "a tenth of epochs, at most 1; with one_cycle 0.3 of them"}},
           c.warmup, 0, epochs);
  f.number({"poly_power",
            "the exponent of poly; 1: a straight line",
            {.effect = {is(ScheduleKind::poly), "schedule", "schedule = \"poly\""}}},
           c.poly_power, 0.1, 10);
  const Effect of_step{is(ScheduleKind::step), "schedule", "schedule = \"step\""};
  if (!f.given("step_epochs")) c.step_epochs = epochs / 3;
  f.number({"step_epochs",
            "epochs after which the learning rate is multiplied by step_factor, each time",
            {.on_resume = OnResume::kept, .effect = of_step, .by_default = "a third of epochs"}},
           c.step_epochs, 0.001, 1e6);
  f.number({"step_factor", "what it is multiplied by", {.effect = of_step}}, c.step_factor, 1e-6,
           1);
}

void describe_fine_tuning(Fields& f, FineTuning& tuning) {
  f.section("Fine-tuning");
  f.visit({"freeze",
           "parameters that are not trained, by name, for the whole run or its first "
           "epochs; * stands for any characters, ? for one"},
          freeze_kind(tuning.freeze));
  f.number({"encoder_lr", "factor on the encoder's learning rate"}, tuning.encoder_lr, 1e-6, 1e3);
  f.choice({"freeze_batch_norm", "which batch norms keep the running statistics of the weights"},
           tuning.batch_norms, Words{"none", "encoder", "all"});
}

void describe_run(Fields& f, Config& c) {
  f.section("The run");
  f.choice({"precision",
            "the dtype of activations; auto: bf16 where the device is fast at it, fp16 on GPUs "
            "that are fast "
            "at that alone, else fp32",
            {.on_resume = OnResume::resolved}},
           c.precision, precision_names());
  f.text({"device",
          "where the run computes: auto (a GPU if there is one), cpu, cuda or cuda:N; another one "
          "rounds otherwise",
          {.on_resume = OnResume::free}},
         c.device);
  auto seed = static_cast<int64_t>(c.seed);
  f.integer({"seed", "of all that is drawn: weights, order, augmentation, dropout"}, seed, 0,
            std::numeric_limits<int64_t>::max());
  c.seed = static_cast<uint64_t>(seed);
  if (!f.given("name")) c.name = c.network.empty() ? "run" : c.network;
  f.text({"name",
          "the name of the run and of its folder",
          {.on_resume = OnResume::free, .type = "a folder's name", .by_default = "the network's"}},
         c.name);
  const bool plain = std::ranges::none_of(
      c.name, [](char byte) { return byte == '/' || static_cast<unsigned char>(byte) < 0x20; });
  f.check(!c.name.empty() && c.name[0] != '.' && c.name.size() <= 100 && plain, "name",
          fmt::format("is {}", quote(c.name)),
          "name a folder: 1 to 100 bytes, no '/', no '.' at the beginning");
  if (!f.given("runs")) c.runs = fs::absolute("runs").lexically_normal().string();
  f.path({"runs",
          "the folder of the runs",
          {.on_resume = OnResume::free, .by_default = "runs in the current folder"}},
         c.runs);
  f.check(!c.runs.empty(), "runs", "is empty", "name the folder of the runs");
  f.path({"weights",
          "a file to start from (docs/networks.md); \"\": random weights",
          {.on_resume = OnResume::kept}},
         c.weights);
  f.visit({"augment", "what is done to training photos: transforms (docs/augmentation.md)"},
          augment_kind(c.augment, {c.height, c.width}));
  f.number({"checkpoint_seconds",
            "seconds between checkpoints within an epoch",
            {.on_resume = OnResume::free}},
           c.checkpoint_seconds, 0, 1e6);
  f.integer({"keep_every",
             "epochs between models that are kept in the folder models, whatever they are worth; "
             "0: none",
             {.on_resume = OnResume::free}},
            c.keep_every, 0, 1'000'000);
  f.integer({"average_best",
             "best epochs whose models are kept, and whose parameters are averaged into "
             "average.safetensors in the end; 0: none"},
            c.average_best, 0, 100);
  f.integer({"recoveries",
             "how often a run whose loss is not finite goes back to its last checkpoint, each time "
             "with half the learning rate",
             {.on_resume = OnResume::free}},
            c.recoveries, 0, 100);
}

void describe_tables(Fields& f, Config& c) {
  f.section("Sweeps");
  f.visit({"variant",
           "the runs of `macadam sweep`, each with what it has of its own (docs/comparing.md); "
           "`train` takes no file that has them",
           {.on_resume = OnResume::free, .by_default = "`[]`"}},
          variants_kind(c.variants));

  f.section("Normalisation (where the table is not given: what the weights or the network need)");
  Normalization& n = c.normalization;
  const FieldNotes kept{.on_resume = OnResume::kept};
  f.numbers({"normalization.mean", "mean of the channels R, G, B, which is subtracted", kept},
            n.mean, -1e3, 1e3);
  f.numbers(
      {"normalization.std", "standard deviation of the channels, by which they are divided", kept},
      n.std, 1e-6, 1e3);
  f.number(
      {"normalization.range", "what a byte of 255 stands for: 1 (torchvision), 255 (caffe)", kept},
      n.range, 1e-3, 1e3);
  f.boolean({"normalization.bgr", "the network takes B, G, R", kept}, n.bgr);

  f.section("Loading");
  f.integer(
      {"loader.threads", "threads that decode ahead; 0: all cores", {.on_resume = OnResume::free}},
      c.loader_threads, 0, 1024);
  f.integer({"loader.cache",
             "MiB of decoded samples that may stay in memory, of all splits together",
             {.on_resume = OnResume::free}},
            c.loader_cache, 0, int64_t{1} << 30);
  f.integer({"loader.device_cache",
             "MiB of decoded samples that may stay in the GPU's memory",
             {.on_resume = OnResume::free}},
            c.device_cache, 0, int64_t{1} << 30);
  f.boolean({"loader.reduced_decoding",
             "large JPEGs are decoded at a half, a quarter or an eighth where that suffices"},
            c.reduced_decoding);
  f.boolean({"loader.strict",
             "JPEGs with faults that cost no pixel are errors; false: warnings",
             {.on_resume = OnResume::free}},
            c.strict);

  f.section("Tracking");
  f.boolean({"tracking.tensorboard",
             "TensorBoard's event file is written into the run's folder",
             {.on_resume = OnResume::free}},
            c.tensorboard);
  f.text({"tracking.mlflow",
          "the address of an MLflow server that is told of the run, as http://127.0.0.1:5000; "
          "\"\": none",
          {.on_resume = OnResume::free}},
         c.mlflow);
  f.text({"tracking.experiment",
          "the experiment of the run there",
          {.on_resume = OnResume::free,
           .effect = {!c.mlflow.empty(), "tracking.mlflow", "tracking.mlflow"}}},
         c.mlflow_experiment);

  f.section("Validation");
  f.choice({"best_by",
            "by what an epoch is the best: the highest mean IoU, mean Dice or pixel accuracy, or "
            "the lowest loss"},
           c.best_by, best_by_names());
  f.integer({"early_stopping.patience",
             "epochs without a better one after which training stops; 0: never",
             {.on_resume = OnResume::free}},
            c.patience, 0, 1'000'000);
  f.number({"early_stopping.min_delta",
            "by how much an epoch is to be better for that",
            {.effect = {c.patience > 0, "early_stopping.patience", "a positive patience"}}},
           c.min_delta, 0, 1e6);
  f.choice({"metrics.absent",
            "a class that occurs neither in labels nor in predictions: is left out of means, or "
            "counts as 1 or 0"},
           c.absent, Words{"drop", "one", "zero"});
}

/// Behind the description, so that a misspelt key is called that rather than missing.
void check_complete(const FieldReader& reader, const Config& config) {
  if (config.network.empty()) {
    reader.fail("network", "is missing", "write for example network = \"unet_mini\"");
  }
  if (config.dataset.train.empty() || config.dataset.val.empty()) {
    reader.fail("dataset", "is missing or lacks train or val",
                "write dataset = \"FOLDER\", or a table with train and val");
  }
}

Config read_config(const ParameterTable& values, const fs::path& file) {
  FieldReader reader(values, {"'", "'", file.string(), file.parent_path()});
  Config config;
  describe(reader, config);
  reject_unknown(reader);
  check_complete(reader, config);
  config.own_normalization = reader.given("normalization");
  config.given = reader.given_keys();
  return config;
}

std::string text_of(const DescribedField& field) {
  const auto* list = std::get_if<ParameterList>(&field.value.value);
  if (!field.one_a_line || list == nullptr || list->size() < 2) return toml_text(field.value);
  std::string text = "[\n";
  for (const ParameterValue& item : *list) text += fmt::format("  {},\n", toml_text(item));
  return text + "]";
}

}  // namespace

void describe(Fields& fields, Config& config) {
  describe_data(fields, config);
  describe_loss(fields, config);
  describe_optimizer(fields, config);
  describe_schedule(fields, config);
  describe_fine_tuning(fields, config.fine_tuning);
  describe_run(fields, config);
  describe_tables(fields, config);
}

std::vector<DescribedField> fields_of(Config config) {
  FieldList list;
  describe(list, config);
  return list.fields();
}

std::string_view name_of(Precision precision) {
  return precision_names().at(static_cast<size_t>(precision));
}

Config parse_config(std::string_view toml, const fs::path& file,
                    std::span<const std::string> overrides) {
  return read_config(with_overrides(parse_toml(toml, file.string()), overrides), file);
}

Config load_config(const fs::path& file, std::span<const std::string> overrides) {
  return load_config(file, overrides, {}, {});
}

Config load_config(const fs::path& file, std::span<const std::string> overrides,
                   const ParameterTable& variant, std::span<const std::string> more) {
  ParameterTable values = parse_toml(read_file(file, kMaxConfigBytes), file.string());
  values = with_variant(with_overrides(std::move(values), overrides), variant);
  return read_config(with_overrides(std::move(values), more), file);
}

Schedule schedule_of(const Config& config, int64_t steps_per_epoch) {
  const auto steps = static_cast<double>(steps_per_epoch);
  return {.kind = config.schedule,
          .lr = config.lr,
          .min_lr = config.min_lr,
          .warmup_steps = std::llround(config.warmup * steps),
          .total_steps = config.epochs * steps_per_epoch,
          .power = config.poly_power,
          .factor = config.step_factor,
          .step_steps = std::max<int64_t>(1, std::llround(config.step_epochs * steps))};
}

std::string to_toml(const Config& config) {
  std::string plain;  // keys in no table come first
  std::vector<std::pair<std::string_view, std::string>> tables;
  for (const DescribedField& field : fields_of(config)) {
    if (!field.field.notes.effect.holds) continue;
    std::string_view key = field.field.key;
    std::string* text = &plain;
    if (const size_t dot = key.find('.'); dot != std::string_view::npos) {
      const std::string_view name = key.substr(0, dot);
      const auto known = std::ranges::find(tables, name, [](const auto& t) { return t.first; });
      text = known != tables.end()
                 ? &known->second
                 : &tables.emplace_back(name, fmt::format("\n[{}]\n", name)).second;
      key.remove_prefix(dot + 1);
    }
    *text += fmt::format("{} = {}\n", key, text_of(field));
  }
  for (const auto& [name, text] : tables) plain += text;
  return plain;
}

}  // namespace macadam
