// macadam info: networks, models, data sets, devices; and whether this machine computes rightly.

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/command_line.h"
#include "app/commands.h"
#include "app/console.h"
#include "base/cache_file.h"
#include "base/cores.h"
#include "base/json_text.h"
#include "base/text.h"
#include "base/to_size.h"
#include "base/version.h"
#include "engine/graph/rewrite.h"
#include "engine/infer/metrics.h"
#include "engine/plan/plan.h"
#include "engine/plan/precision.h"
#include "engine/train/optimizer.h"
#include "kernels/backend_version.h"
#include "kernels/self_test.h"
#include "loader/dataset.h"
#include "loader/label_set.h"
#include "loader/pack.h"
#include "loader/split_file.h"
#include "models/conversion.h"
#include "models/loaded_model.h"
#include "run/network_costs.h"

namespace macadam {

namespace {

using Json = nlohmann::json;

struct InfoOptions {
  std::string subject;
  std::vector<std::string> compared;
  std::string size = "512x256", device = "auto", precision = "auto";
  int classes = 8, batch = 1;
  bool train = false, json = false, self_test = false;
};

double mib(size_t bytes) { return static_cast<double>(bytes) / (1024.0 * 1024.0); }

Json devices() {
  Json out{{"version", version()}, {"devices", Json::array()}, {"networks", Json::array()}};
  for (const DeviceInfo& info : list_devices()) {
    out["devices"].push_back({{"device", info.device.name()},
                              {"name", info.name},
                              {"memory_mib", mib(info.memory_bytes)},
                              {"precision", precision_name(resolve_precision("auto", info))},
                              {"convolutions", backend_version(info.device)}});
    if (info.device.is_cuda()) continue;
    out["devices"].back()["cores"] = usable_cores();
    out["devices"].back()["convolution_isa"] = convolution_isa();
    out["devices"].back()["compiled_level"] = compiled_level();
  }
  for (const NetworkEntry& entry : networks()) {
    out["networks"].push_back(
        {{"name", entry.name},
         {"summary", entry.summary},
         {"task", entry.task == Task::segmentation ? "segmentation" : "classification"}});
  }
  return out;
}

void print_devices(const Json& info) {
  print("macadam {}\n", info["version"].get<std::string>());
  for (const Json& d : info["devices"]) {
    std::string cores, code;
    if (d.contains("cores")) {
      const auto isa = d["convolution_isa"].get<std::string>();
      cores = fmt::format(", cores used {}", d["cores"].get<int>());
      code = fmt::format("{}, code for {}", isa.empty() ? "" : " (" + isa + ")",
                         d["compiled_level"].get<std::string>());
    }
    print("  {}: {}{}, {:.0f} MiB, {} by default, {}{}\n", d["device"].get<std::string>(),
          d["name"].get<std::string>(), cores, d["memory_mib"].get<double>(),
          d["precision"].get<std::string>(), d["convolutions"].get<std::string>(), code);
  }
  print("networks\n");
  for (const Json& n : info["networks"]) {
    print("  {}: {}\n", n["name"].get<std::string>(), n["summary"].get<std::string>());
  }
}

/// The plan of a network as one object.
Json describe_network(const NetworkSpec& spec, int height, int width, const InfoOptions& options) {
  if (options.batch < 1 || options.batch > 4096) {
    throw InputError(fmt::format("a batch of {}", options.batch), "--batch", "use 1 to 4096");
  }
  const Graph graph = build_network(spec, {options.batch, height, width, 3});
  const DeviceInfo device = device_info(parse_device(options.device));
  const DType dtype = resolve_precision(options.precision, device);
  if (options.train) require_sound_convolutions(device.device, dtype);
  DeviceContext context(device.device);
  Parameters parameters(graph.parameters(), context.stream, options.train);
  const Buffer state(device.device, sizeof(StepState));
  PlanOptions plan_options;
  plan_options.mode = options.train ? Mode::train : Mode::infer;
  plan_options.dtype = dtype;
  if (options.train) plan_options.loss = LossDesc{};
  plan_options.state = reinterpret_cast<const StepState*>(state.data());
  const Plan plan(graph, parameters, context, plan_options);

  const PlanMemory& memory = plan.memory();
  const size_t copy =
      to_size(parameters.flat(Parameters::Field::value).shape.elements()) * sizeof(float);
  const size_t moments = options.train ? moments_of(OptimizerKind::adamw) * copy : 0;
  const Graph computed = options.train ? graph : for_inference(graph);
  Json out{{"network", spec.name},
           {"classes", spec.classes},
           {"input", {options.batch, height, width, 3}},
           {"mode", options.train ? "train" : "infer"},
           {"device", device.device.name()},
           {"precision", precision_name(dtype)},
           {"parameters", graph.parameter_count()},
           {"macs_per_image", computed.macs() / options.batch},
           {"memory",
            {{"arena_bytes", memory.arena},
             {"peak_bytes", memory.peak},
             {"packed_weights_bytes", memory.packed},
             {"parameters_bytes", parameters.bytes() + moments}}},
           {"layers", Json::array()}};
  if (options.train) {  // an optimiser's further copies of the parameters, where they are asked for
    out["memory"]["accumulate_bytes"] = copy;
    out["memory"]["ema_bytes"] = copy;
  }
  for (const PlanLayer& layer : plan.layers()) {
    out["layers"].push_back(
        {{"name", layer.name},
         {"kind", layer.kind},
         {"output", {layer.output.n, layer.output.h, layer.output.w, layer.output.c}},
         {"parameters", layer.parameters},
         {"macs", layer.macs},
         {"implementation", layer.implementation}});
  }
  return out;
}

void print_network(const Json& info) {
  print("{} with {} classes, {}, {} on {}\n\n", info["network"].get<std::string>(),
        info["classes"].get<int>(), info["mode"].get<std::string>(),
        info["precision"].get<std::string>(), info["device"].get<std::string>());
  size_t width = 14;  // of the names of layers
  for (const Json& layer : info["layers"]) {
    width = std::max(width, layer["name"].get_ref<const std::string&>().size());
  }
  print("{:<{}}  {:<12}{:<20}{:>12}{:>10}  {}\n", "layer", width, "kind", "output (NxHxWxC)",
        "parameters", "GMAC", "implementation");
  for (const Json& layer : info["layers"]) {
    const Json& o = layer["output"];
    const std::string shape = fmt::format("{}x{}x{}x{}", o[0].get<int>(), o[1].get<int>(),
                                          o[2].get<int>(), o[3].get<int>());
    print("{:<{}}  {:<12}{:<20}{:>12}{:>10.3f}  {}\n", layer["name"].get<std::string>(), width,
          layer["kind"].get<std::string>(), shape, layer["parameters"].get<int64_t>(),
          static_cast<double>(layer["macs"].get<int64_t>()) * 1e-9,
          layer["implementation"].get<std::string>());
  }
  const Json& memory = info["memory"];
  const auto arena = memory["arena_bytes"].get<size_t>(), peak = memory["peak_bytes"].get<size_t>();
  print("\nparameters {}, {:.3f} GMAC an image\n", info["parameters"].get<int64_t>(),
        static_cast<double>(info["macs_per_image"].get<int64_t>()) * 1e-9);
  print(
      "memory: arena {:.1f} MiB ({:.3f} x the peak of live tensors, {:.1f} MiB), packed "
      "weights {:.1f} MiB, parameters {:.1f} MiB\n",
      mib(arena), static_cast<double>(arena) / static_cast<double>(peak), mib(peak),
      mib(memory["packed_weights_bytes"].get<size_t>()),
      mib(memory["parameters_bytes"].get<size_t>()));
  if (memory.contains("ema_bytes")) {
    print("training with accumulate > 1, or with ema: {:.1f} MiB more, each\n",
          mib(memory["ema_bytes"].get<size_t>()));
  }
}

Json describe_dataset(const std::string& folder) {
  const Layout layout = recognize_layout(folder);
  Json out{{"dataset", folder},
           {"layout", name_of(layout)},
           {"label_set", make_label_set(kAutoLabelSet, VoidPolicy::standard, folder).name},
           {"splits", Json::array()}};
  for (const std::string& split : list_splits(folder)) {
    const SplitScan scan = scan_split(folder, split);
    out["splits"].push_back({{"split", split},
                             {"samples", scan.dataset.samples.size()},
                             {"without_mask", scan.without_mask.size()}});
  }
  return out;
}

void print_dataset(const Json& info) {
  print("{}: {} layout, usually read with label set {}\n", info["dataset"].get<std::string>(),
        info["layout"].get<std::string>(), info["label_set"].get<std::string>());
  for (const Json& split : info["splits"]) {
    print("  {}: {} samples", split["split"].get<std::string>(), split["samples"].get<size_t>());
    const auto lonely = split["without_mask"].get<size_t>();
    print("{}\n", lonely > 0 ? fmt::format(", {} photos without a mask", lonely) : "");
  }
}

/// Checks the CPU's convolutions anew. Throws RunError when some are wrong, behind the output.
void check_convolutions(bool json) {
  Json out{{"library", self_test_library()}, {"precisions", Json::array()}};
  std::optional<SelfTestFault> first;
  for (const DType dtype : self_test_dtypes()) {
    const SelfTest test = self_test_convolutions(dtype, cache_folder(), false);
    Json faults = Json::array();
    for (const SelfTestFault& fault : test.faults) {
      faults.push_back({{"pass", fault.pass},
                        {"implementation", fault.implementation},
                        {"convolution", fault.convolution},
                        {"what", fault.what}});
      if (!json) print("{}\n", fault.text());
      if (!first) first = fault;
    }
    out["precisions"].push_back({{"precision", precision_name(dtype)},
                                 {"passes", test.passes},
                                 {"milliseconds", test.milliseconds},
                                 {"faults", std::move(faults)}});
    if (!json) {
      print("{}, {}: {} passes of convolutions in {:.0f} ms, {}\n", self_test_library(),
            precision_name(dtype), test.passes, test.milliseconds,
            test.faults.empty() ? "all exact and within their buffers"
                                : fmt::format("{} faults", test.faults.size()));
    }
  }
  if (json) print_json(out);
  if (first) {
    throw RunError("convolutions are computed wrongly on this machine", first->text(),
                   "train with a precision that is right, set ONEDNN_MAX_CPU_ISA to an older "
                   "instruction set, or build with another oneDNN");
  }
}

/// The tensors of another tool's file.
Json describe_weights(const std::string& file) {
  const auto weights = open_weights(file);
  Json out{{"weights", file}, {"format", weights->format()}, {"tensors", Json::array()}};
  for (const WeightTensor& tensor : weights->tensors()) {
    out["tensors"].push_back(
        {{"name", tensor.name}, {"dtype", name_of(tensor.dtype)}, {"shape", tensor.shape}});
  }
  const std::string network = network_of(*weights);
  out["network"] = network.empty() ? Json(nullptr) : Json(network);
  return out;
}

void print_weights(const Json& info) {
  const Json& network = info["network"];
  print("{}: {} file, {} tensors, {}\n", info["weights"].get<std::string>(),
        info["format"].get<std::string>(), info["tensors"].size(),
        network.is_null() ? "of no network as a whole"
                          : "as of " + network.get<std::string>() + " (see macadam convert)");
  for (const Json& tensor : info["tensors"]) {
    print("  {:<8} {:<20} {}\n", tensor["dtype"].get<std::string>(),
          text_of(tensor["shape"].get<TensorShape>()), tensor["name"].get<std::string>());
  }
}

void compare_networks(const InfoOptions& options) {
  constexpr int kRounds = 15;
  std::vector<NetworkSpec> specs;
  for (const std::string& name : options.compared) specs.push_back({name, options.classes, {}});
  const auto [width, height] = parse_size(options.size, "--size");
  const DeviceInfo device = device_info(parse_device(options.device));
  const DType dtype = resolve_precision(options.precision, device);
  const std::vector<NetworkCost> costs =
      network_costs(specs, height, width, device.device, dtype, kRounds);
  if (options.json) return print("{}\n", Lines{json_text(costs_json(costs))});
  print(
      "a photo of {}x{} (width x height) from bytes to mask, {} classes, {} on {} ({}); medians of "
      "{} in turns\n\n{}",
      width, height, options.classes, precision_name(dtype), device.device.name(), device.name,
      kRounds, Lines{table_text(costs_table(costs))});
}

void info(const InfoOptions& options, const Command& command) {
  if (options.self_test) {
    check_convolutions(options.json);
    return;
  }
  if (!options.compared.empty()) {
    command.refuse({"subject", "--batch", "--train"}, "a comparison of networks");
    compare_networks(options);
    return;
  }
  const std::initializer_list<const char*> of_a_plan{"--classes", "--size",   "--batch",
                                                     "--train",   "--device", "--precision"};
  Json out;
  void (*show)(const Json&) = print_network;
  if (options.subject.empty()) {
    command.refuse(of_a_plan, "the list of devices and networks");
    out = devices();
    show = print_devices;
  } else if (std::filesystem::is_directory(options.subject) || is_pack(options.subject) ||
             is_split_file(options.subject)) {
    command.refuse(of_a_plan, "a data set");
    out = describe_dataset(options.subject);
    show = print_dataset;
  } else if (std::filesystem::exists(options.subject) && !is_model_file(options.subject)) {
    command.refuse(of_a_plan, "a weight file");
    out = describe_weights(options.subject);
    show = print_weights;
  } else if (std::filesystem::exists(options.subject)) {
    command.refuse({"--classes", "--size"}, "a model, which has its own");
    const ModelInfo model = load_model(options.subject).info;
    model_network(model, {1, model.height, model.width, 3}, options.subject);
    out = at_size_of(model, options.subject, [&] {
      return describe_network(network_spec(model), model.height, model.width, options);
    });
    if (!options.json) {
      print("{}: {} classes of {} ({}), epoch {}, step {}, macadam {}\n", options.subject,
            model.class_names.size(), model.label_set, joined(model.class_names), model.epoch,
            model.step, model.macadam_version);
      for (const auto& [name, value] : model.metrics) print("  {} {}\n", name, score_text(value));
    }
    out["model"] = Json::parse(to_json(model));
  } else {
    const auto [width, height] = parse_size(options.size, "--size");
    out = describe_network({options.subject, options.classes, {}}, height, width, options);
  }
  if (options.json) {
    print_json(out);
  } else {
    show(out);
  }
}

}  // namespace

void add_info(CommandLine& line) {
  Command command =
      line.add("info", "Describe a network, a model, weights, a data set; or devices");
  auto options = std::make_shared<InfoOptions>();
  command.option("subject", &options->subject,
                 "Registry name, model, weight file or data set; nothing: devices, versions");
  command.option("--classes", &options->classes, "Of a network").show_default();
  command.option("--size", &options->size, "Width x height, of a network").show_default();
  command.option("--batch", &options->batch, "Images at once").show_default();
  command.flag("--train", options->train, "The training plan instead of inference");
  command.option("--device", &options->device, "auto, cpu, cuda or cuda:N").show_default();
  command.option("--precision", &options->precision, "auto, fp32, bf16 or fp16").show_default();
  command.option("--compare", &options->compared,
                 "Networks: what each costs on a device, measured in turns");
  command.flag("--json", options->json, "One JSON object on stdout");
  Option self_test =
      command.flag("--self-test", options->self_test,
                   "Check the CPU's convolutions on this machine against exact sums");
  command.stands_alone(self_test, {"--json"});
  command.run([options, command] { info(*options, command); });
}

}  // namespace macadam
