// macadam pack: a data set in one memory-mapped file.

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <tuple>

#include "app/command_line.h"
#include "app/commands.h"
#include "app/console.h"
#include "base/error.h"
#include "base/files.h"
#include "image/image.h"
#include "loader/dataset.h"
#include "loader/pack_writer.h"

namespace macadam {

namespace {

struct PackCommand {
  std::string dataset, out, size;
  std::string label_set{kAutoLabelSet}, void_policy = "auto";
  std::string labels = "runs";
  int jpeg = 0;  // quality
  int threads = 0;
  bool skip_damaged = false, no_strict = false;
};

LabelCoding parse_label_coding(const std::string& text) {
  if (text == "raw") return LabelCoding::raw;
  if (text == "runs") return LabelCoding::runs;
  throw InputError(fmt::format("'{}' is not a coding of labels", text), "--labels",
                   "use runs or raw");
}

void pack(const PackCommand& command) {
  if (!command.out.ends_with(".pack")) {
    throw InputError("a pack is named *.pack", command.out, "add .pack to the name");
  }
  check_place(command.out);
  PackOptions options;
  if (!command.size.empty()) {
    std::tie(options.width, options.height) = parse_size(command.size, "--size");
    const ImageLimits limits;  // of what reads the pack
    if (std::max(options.width, options.height) > limits.max_side ||
        int64_t{options.width} * options.height > limits.max_pixels) {
      throw InputError(fmt::format("{} is too large", command.size), "--size",
                       fmt::format("use at most {} pixels a side and {} in all", limits.max_side,
                                   limits.max_pixels));
    }
  }
  options.jpeg_quality = command.jpeg;
  options.labels = parse_label_coding(command.labels);
  options.threads = command.threads;
  options.skip_damaged = command.skip_damaged;
  options.strict = !command.no_strict;
  const LabelSet labels =
      make_label_set(command.label_set, parse_void_policy(command.void_policy), command.dataset);

  catch_interrupts();
  ProgressLine progress("packing");
  const auto show = [&](int64_t done, int64_t total) {
    if (interrupted()) {
      say("interrupted; no pack was written");
      throw Interrupted();
    }
    progress.show(done, total);
  };
  const PackSummary summary = write_pack(command.dataset, labels, command.out, options, show);
  for (const std::string& fault : summary.faults) say("macadam: warning: " + fault);
  for (const std::string& message : summary.skipped) say("left out: " + message);
  print_summary("{}: {} samples{}, label set {}, {:.1f} MB\n", command.out, summary.samples,
                command.size.empty() ? std::string() : " of " + command.size, labels.name,
                static_cast<double>(summary.bytes) / 1e6);
}

}  // namespace

void add_pack(CommandLine& line) {
  Command command = line.add("pack", "Put a decoded data set into one file");
  auto options = std::make_shared<PackCommand>();
  command.option("dataset", &options->dataset, "Data set folder, or another pack").required();
  command.option("out", &options->out, "The file to write, *.pack").required();
  command.option("--size", &options->size,
                 "Width x height of all samples; by default each keeps its own");
  command
      .option("--label-set", &options->label_set,
              "categories8, trainids19, camvid11, custom, or auto: the data set's own")
      .show_default();
  command.option("--void", &options->void_policy, "ignore, class, or auto: as usual for the set")
      .show_default();
  command.option("--jpeg", &options->jpeg, "Photos as JPEGs of this quality; by default raw")
      .range(1, 100);
  command.option("--labels", &options->labels, "Coding of labels: runs (shorter) or raw")
      .show_default();
  command.flag("--skip-damaged", options->skip_damaged,
               "Leave out (and name) samples that cannot be loaded, rather than stop");
  command.flag("--no-strict", options->no_strict,
               "Take JPEGs with stray bytes or without an end (a warning each)");
  command.option("--threads", &options->threads, "0 = all cores").range(0, 1024).show_default();
  command.run([options] { pack(*options); });
}

}  // namespace macadam
