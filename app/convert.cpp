// macadam convert: other tools' weights to a model, a model to ONNX or to PyTorch's names.

#include <fmt/format.h>

#include <filesystem>

#include "app/command_line.h"
#include "app/commands.h"
#include "app/console.h"
#include "base/files.h"
#include "loader/label_set.h"
#include "models/conversion.h"
#include "models/loaded_model.h"
#include "models/onnx_export.h"
#include "run/new_model.h"

namespace macadam {

namespace {

namespace fs = std::filesystem;

struct ConvertOptions {
  std::string source, destination;
  std::string network, dataset, size;
  std::string label_set{kAutoLabelSet}, void_policy = "auto";
  std::vector<std::string> network_options;
  uint64_t seed = 1;
  bool partial = false, argmax = false, fixed = false, keep_norms = false;
};

/// "KEY=VALUE" words.
std::map<std::string, std::string> parse_options(const std::vector<std::string>& words) {
  std::map<std::string, std::string> options;
  for (const std::string& word : words) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw InputError(fmt::format("'{}' is not KEY=VALUE", word), "--option",
                       "write for instance --option batch_norm=false");
    }
    options[word.substr(0, equals)] = word.substr(equals + 1);
  }
  return options;
}

void import_weights(const ConvertOptions& options) {
  std::string network = options.network;
  if (network.empty()) {
    const auto weights = open_weights(options.source);
    network = network_of(*weights);
    if (network.empty()) {
      throw InputError(
          fmt::format("the weights fit no network as a whole ({})", summary_of(weights->tensors())),
          options.source, "name one with --network, and --partial if they are a part of it");
    }
  }
  find_segmentation_network(network);
  const bool usual = options.label_set == kAutoLabelSet && options.dataset.empty();
  const LabelSet labels = make_label_set(usual ? "categories8" : options.label_set,
                                         parse_void_policy(options.void_policy), options.dataset);
  const auto [width, height] =
      parse_size(options.size.empty() ? "512x256" : options.size, "--size");
  ModelInfo info = new_model_info(labels);
  info.network = network;
  info.network_options = parse_options(options.network_options);
  info.height = height;
  info.width = width;
  info.precision = "fp32";
  info.seed = options.seed;
  const ImportReport report =
      convert_weights(options.source, options.destination, info, options.partial);
  print_summary("{}wrote {}: {}, {} classes\n", Lines{report.text()}, options.destination, network,
                info.class_names.size());
}

void export_model(const ConvertOptions& options) {
  Model model = load_model(options.source);
  const std::string extension = fs::path(options.destination).extension().string();
  if (extension == ".safetensors") {
    export_pytorch(options.destination, model, options.source);
    print_summary("wrote {}, {} as PyTorch has it\n", options.destination, model.info.network);
    return;
  }
  if (!options.size.empty()) {
    std::tie(model.info.width, model.info.height) = parse_size(options.size, "--size");
  }
  const Graph graph =
      model_network(model.info, {1, model.info.height, model.info.width, 3}, options.source);
  export_onnx(options.destination, graph, model.parameters, model.info,
              {.fold_batch_norm = !options.keep_norms,
               .dynamic = !options.fixed,
               .argmax = options.argmax});
  print_summary("wrote {}, opset 17, {}\n", options.destination,
                options.fixed
                    ? fmt::format("for {}x{} (width x height)", model.info.width, model.info.height)
                    : "for any batch and size");
}

void convert(const ConvertOptions& options, const Command& command) {
  const std::string extension = fs::path(options.destination).extension().string();
  if (extension != ".safetensors" && extension != ".onnx") {
    throw InputError(fmt::format("'{}' is no format to write", extension), options.destination,
                     "end the name in .safetensors or .onnx");
  }
  check_place(options.destination);
  std::error_code missing;
  if (fs::equivalent(options.source, options.destination, missing)) {
    throw InputError("source and destination are the same file", options.destination,
                     "give the new file another name");
  }
  if (is_model_file(options.source)) {
    command.refuse(
        {"--network", "--option", "--label-set", "--void", "--dataset", "--seed", "--partial"},
        "what is a model already");
    if (extension == ".safetensors") {
      command.refuse({"--size", "--argmax", "--static", "--keep-batch-norm"},
                     "PyTorch's parameters");
    }
    export_model(options);
  } else if (extension == ".onnx") {
    throw InputError("only a Macadam model becomes ONNX", options.source,
                     "convert the weights to .safetensors first");
  } else {
    command.refuse({"--argmax", "--static", "--keep-batch-norm"}, "a model, only on ONNX");
    import_weights(options);
  }
}

}  // namespace

void add_convert(CommandLine& line) {
  Command command =
      line.add("convert", "Other tools' weights to a model; a model to ONNX or to PyTorch's names");
  auto options = std::make_shared<ConvertOptions>();
  command
      .option("source", &options->source,
              "A model, or weights: .pth, .safetensors, .h5, .npz, a folder of .npy")
      .required();
  command.option("destination", &options->destination, "FILE.safetensors or FILE.onnx").required();
  command.option("--network", &options->network,
                 "Of the weights; else the one that they look like");
  command.option("--option", &options->network_options, "KEY=VALUE of the network");
  command
      .option("--label-set", &options->label_set,
              "Classes of the new model; auto: the data set's own, without one categories8")
      .show_default();
  command.option("--void", &options->void_policy, "ignore, class, or auto: as usual for the set")
      .show_default();
  command.option("--dataset", &options->dataset,
                 "Data set that the model is for; needed for a custom label set");
  command.option("--size", &options->size,
                 "Width x height of a new model (512x256), or of the ONNX graph");
  command.option("--seed", &options->seed, "Of the parameters that the weights lack")
      .show_default();
  command.flag("--partial", options->partial, "Load what fits, even if it is not whole");
  command.flag("--argmax", options->argmax, "ONNX: the class of each pixel, not the scores");
  command.flag("--static", options->fixed, "ONNX: one batch of one image of one size");
  command.flag("--keep-batch-norm", options->keep_norms,
               "ONNX: do not fold batch norms into convolutions");
  command.run([options, command] { convert(*options, command); });
}

}  // namespace macadam
