// macadam synth: a procedural street data set.

#include <fmt/format.h>

#include "app/command_line.h"
#include "app/commands.h"
#include "app/console.h"
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

void add_synth(CommandLine& line) {
  Command command = line.add("synth", "Write a procedural street data set");
  auto options = std::make_shared<SynthOptions>();
  command.option("folder", &options->folder, "Where to write it").required();
  command.option("--images", &options->images, "Images, one in five for validation").show_default();
  command.option("--size", &options->size, "Width x height").show_default();
  command.option("--seed", &options->seed, "Another seed, other streets").show_default();
  command.run([options] { synth(*options); });
}

}  // namespace macadam
