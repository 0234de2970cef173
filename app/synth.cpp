// macadam synth: a procedural street data set.

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "app/commands.h"
#include "app/console.h"
#include "app/options.h"
#include "base/error.h"
#include "synth/streets.h"

namespace macadam {

namespace {

struct SynthOptions {
  std::string folder;
  int images = 500;
  std::string size = "512x256";
  uint64_t seed = 1;
};

void synth(const SynthOptions& options) {
  const auto [width, height] = parse_size(options.size, "--size");
  if (options.images < 2 || options.images > 1'000'000) {
    throw InputError(fmt::format("{} images", options.images), "--images", "use 2 to 1000000");
  }
  StreetsOptions streets;
  streets.val_images = std::max(1, options.images / 5);
  streets.train_images = options.images - streets.val_images;
  streets.height = height;
  streets.width = width;
  streets.seed = options.seed;
  ProgressLine progress("drawing streets");
  write_streets(options.folder, streets, [&](int done, int total) { progress.show(done, total); });
  print_summary("{}: {} training and {} validation images of {}x{}, Cityscapes layout and ids\n",
                options.folder, streets.train_images, streets.val_images, width, height);
}

}  // namespace

void add_synth(CLI::App& app) {
  auto* command = app.add_subcommand("synth", "Write a procedural street data set");
  auto options = std::make_shared<SynthOptions>();
  command->add_option("folder", options->folder, "Where to write it")->required();
  command->add_option("--images", options->images, "Images, one in five for validation")
      ->capture_default_str();
  command->add_option("--size", options->size, "Width x height")->capture_default_str();
  command->add_option("--seed", options->seed, "Another seed, other streets")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->callback([options] { synth(*options); });
}

}  // namespace macadam
