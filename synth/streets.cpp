#include "synth/streets.h"

#include <fmt/format.h>

#include <array>
#include <exception>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "image/image.h"
#include "synth/synth.h"

namespace macadam {

namespace fs = std::filesystem;

namespace {

// Either says that the folder may be replaced; the first also that every street is there.
constexpr const char* kComplete = "streets.toml";
constexpr const char* kUnfinished = "streets.unfinished";

struct Split {
  const char* name;
  const char* city;
  int images;
  uint64_t first;  ///< index of its first street; far apart, so that the splits never share one
};

void check_options(const StreetsOptions& o) {
  const auto check = [](const char* what, int64_t value, int64_t lo, int64_t hi) {
    if (value >= lo && value <= hi) return;
    throw InputError(fmt::format("{} is {}", what, value), "streets",
                     fmt::format("use a value from {} to {}", lo, hi));
  };
  check("the number of training images", o.train_images, 0, 999'999);
  check("the number of validation images", o.val_images, 0, 999'999);
  check("the number of images", int64_t{o.train_images} + o.val_images, 1, 1'999'998);
  check("the height", o.height, 32, 4096);
  check("the width", o.width, 32, 4096);
}

void prepare(const fs::path& folder) {
  std::error_code failure;
  if (fs::exists(folder, failure) && !fs::is_directory(folder, failure)) {
    throw InputError("not a folder", folder.string(), "name a new folder");
  }
  remove_stale_temporaries(folder);
  const bool own =
      fs::exists(folder / kComplete, failure) || fs::exists(folder / kUnfinished, failure);
  if (!own && fs::exists(folder, failure) && !fs::is_empty(folder, failure)) {
    throw InputError("the folder is not empty and was not written by macadam synth",
                     folder.string(), "name a new folder");
  }
  fs::create_directories(folder, failure);
  if (failure)
    throw InputError("cannot create the folder: " + failure.message(), folder.string(),
                     "name a folder that can be written");
  // Before anything else: a folder that was left half written may be replaced too.
  write_file_atomically(folder / kUnfinished, "macadam synth was interrupted here\n");
  fs::remove(folder / kComplete, failure);
  for (const char* part : {"leftImg8bit", "gtFine"}) fs::remove_all(folder / part, failure);
}

void finish(const fs::path& folder, const StreetsOptions& o) {
  write_file_atomically(
      folder / kComplete,
      std::string_view(fmt::format("# A procedural street data set in the layout of Cityscapes.\n"
                                   "train = {}\nval = {}\nsize = [{}, {}]\nseed = {}\n",
                                   o.train_images, o.val_images, o.height, o.width, o.seed)));
  std::error_code ignored;
  fs::remove(folder / kUnfinished, ignored);
}

void write_street(const fs::path& folder, const StreetsOptions& o, const Split& split, int number) {
  SynthScene scene =
      render_street(o.height, o.width, o.seed, split.first + static_cast<uint64_t>(number));
  const std::string name = fmt::format("{}_{:06}_000000", split.city, number);
  Image photo, mask;
  photo.height = mask.height = scene.height;
  photo.width = mask.width = scene.width;
  photo.channels = 3;
  mask.channels = 1;
  photo.pixels = std::move(scene.rgb);
  mask.pixels = std::move(scene.labels);
  write_png(folder / "gtFine" / split.name / split.city / (name + "_gtFine_labelIds.png"), mask);
  write_png(folder / "leftImg8bit" / split.name / split.city / (name + "_leftImg8bit.png"), photo);
}

}  // namespace

void write_streets(const fs::path& folder, const StreetsOptions& options,
                   const StreetsProgress& progress) {
  check_options(options);
  prepare(folder);
  const std::array<Split, 2> splits = {Split{"train", "ayr", options.train_images, 0},
                                       Split{"val", "maybole", options.val_images, 1ull << 32}};
  for (const Split& split : splits) {
    for (const char* part : {"leftImg8bit", "gtFine"}) {
      std::error_code failure;
      const fs::path place = folder / part / split.name / split.city;
      if (split.images > 0 && !fs::create_directories(place, failure) && failure) {
        throw RunError("cannot create the folder: " + failure.message(), place.string(),
                       "make room or name another folder");
      }
    }
  }
  const int total = options.train_images + options.val_images;
  int done = 0;
  std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic)
  for (int i = 0; i < total; ++i) {
    bool stop = false;
#pragma omp critical(macadam_streets)
    stop = failure != nullptr;
    if (stop) continue;
    try {
      const bool training = i < options.train_images;
      write_street(folder, options, splits[training ? 0 : 1],
                   training ? i : i - options.train_images);
#pragma omp critical(macadam_streets)
      {
        ++done;
        if (progress) progress(done, total);
      }
    } catch (...) {
#pragma omp critical(macadam_streets)
      if (!failure) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
  finish(folder, options);
}

}  // namespace macadam
