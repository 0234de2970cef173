// macadam eval: scores of a model on a data set.

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "app/commands.h"
#include "app/console.h"
#include "app/scoring.h"
#include "engine/precision.h"
#include "models/loaded_model.h"

namespace macadam {

namespace {

struct EvalOptions {
  std::string model, dataset;
  std::string split = "val";
  std::string device = "auto", precision = "auto", absent = "drop";
  int batch = 4, threads = 0;
  bool json = false;
};

AbsentRule parse_absent(const std::string& text) {
  if (text == "drop") return AbsentRule::drop;
  if (text == "one") return AbsentRule::one;
  if (text == "zero") return AbsentRule::zero;
  throw InputError(fmt::format("'{}' is not a rule for absent classes", text), "--absent",
                   "use drop, one or zero");
}

void eval(const EvalOptions& options) {
  const AbsentRule absent = parse_absent(options.absent);
  if (options.batch < 1 || options.batch > 1024) {
    throw InputError(fmt::format("a batch of {}", options.batch), "--batch", "use 1 to 1024");
  }
  const DeviceInfo device = device_info(parse_device(options.device));
  const DType dtype = resolve_precision(options.precision, device);
  Stream stream(device.device);
  LoadedModel model(options.model, stream);
  Loader loader = open_loader(model.info(), open_dataset(options.dataset, options.split),
                              options.batch, options.threads, device.device);
  Ops ops = make_ops(stream);
  ProgressLine progress("evaluating");
  const ConfusionMatrix matrix =
      score(model, loader, stream, ops, dtype,
            [&](int64_t done, int64_t total) { progress.show(done, total); });
  const SegmentationMetrics metrics = compute_metrics(matrix, absent);
  const std::vector<std::string>& names = model.info().class_names;
  if (options.json) {
    print("{}\n", Lines{metrics_json(metrics, matrix, names)});
    return;
  }
  print(
      "{} on {} ({}, {} images at {}x{}, {}, {})\n\n{}\nrows: labels, columns: predictions, "
      "per cent of the row\n{}",
      options.model, options.dataset, options.split, loader.dataset().samples.size(),
      model.info().width, model.info().height, precision_name(dtype), device.device.name(),
      Lines{metrics_table(metrics, names)}, Lines{confusion_table(matrix, names)});
}

}  // namespace

void add_eval(CLI::App& app) {
  auto* command = app.add_subcommand("eval", "Score a model: IoU and Dice, confusion matrix");
  auto options = std::make_shared<EvalOptions>();
  command->add_option("model", options->model, "Model file")->required();
  command->add_option("dataset", options->dataset, "Data set: a folder or a pack")->required();
  command->add_option("--split", options->split, "Which part of it")->capture_default_str();
  command
      ->add_option("--absent", options->absent,
                   "What a class counts that occurs nowhere: drop (left out of the mean), one, "
                   "zero")
      ->capture_default_str();
  command->add_option("--batch", options->batch, "Images at once")->capture_default_str();
  command->add_option("--threads", options->threads, "Decoding threads, 0 = all cores")
      ->capture_default_str();
  command->add_option("--device", options->device, "auto, cpu, cuda or cuda:N")
      ->capture_default_str();
  command->add_option("--precision", options->precision, "auto, fp32, bf16 or fp16")
      ->capture_default_str();
  command->add_flag("--json", options->json, "One JSON object on stdout");
  command->callback([options] { eval(*options); });
}

}  // namespace macadam
