// What augmentation costs on one thread: images a second through lists of transforms, from the
// bytes of a photo in memory to normalised float32, its labels beside it. Drawing the programs is
// part of it. Seconds are those of the processor, so that other work on the machine counts little.
// Prints one JSON object a measurement.
//
//   bench_transforms LIST.toml PHOTO.png [--mask MASK.png] [--seconds S] [--on-request] [-o FOLDER]
//
// LIST.toml holds tables [[case]], each a `name` and a list `augment` as a training configuration
// has it. The network's size is the photo's. On request, one case is measured after the other, and
// then the first one again. FOLDER receives NAME.png and NAME_labels.png of the first draw.

#include <fmt/format.h>
#include <omp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "app/memory.h"
#include "base/error.h"
#include "base/files.h"
#include "base/to_size.h"
#include "base/toml.h"
#include "bench/measuring.h"
#include "engine/input/batch_upload.h"
#include "loader/augment/augmentation.h"
#include "loader/label_set.h"
#include "run/batch_viewer.h"
#include "run/config_kinds.h"
#include "run/config_source.h"

namespace {

using namespace macadam;
using bench::Clock, bench::seconds_since;
namespace fs = std::filesystem;

constexpr uint64_t kSeed = 1;

struct Case {
  std::string name;
  Augmentation augmentation;
};

std::vector<Case> read_cases(const fs::path& file, ImageSize size) {
  constexpr size_t kMaxBytes = size_t{1} << 20;
  const ParameterTable values = parse_toml(read_file(file, kMaxBytes), file.string());
  FieldReader reader(values, {"'", "'", file.string()});
  std::vector<Case> cases;
  const auto read_case = [&](const GivenValue& given) {
    const auto* table = std::get_if<ParameterTable>(&given.value().value);
    if (table == nullptr) given.fail(fmt::format("holds {}", type_name(given.value())));
    FieldReader fields(*table, {fmt::format("case[{}].", cases.size()), "", given.where()});
    std::string name;
    AugmentList list;
    fields.text("name", name);
    fields.check(!name.empty(), "name", "is missing", "name the case");
    fields.check(fields.given("augment"), "augment", "is missing", "write a list of transforms");
    fields.visit("augment", augment_kind(list, size));
    reject_unknown(fields);
    cases.push_back({name, Augmentation(list, size)});
  };
  reader.visit("case", {.type = "tables [[case]] with name and augment",
                        .read = [&](const GivenValue& given) {
                          std::ranges::for_each(given.items(), read_case);
                        }});
  reject_unknown(reader);
  reader.check(!cases.empty(), "case", "is missing", "write tables [[case]] with name and augment");
  return cases;
}

DecodedSample read_pair(const std::string& photo, const std::string& mask) {
  DecodedSample sample{read_rgb(photo), {}};
  const int height = sample.photo.height, width = sample.photo.width;
  sample.labels = mask.empty() ? Image(height, width, 1) : read_labels(mask);
  if (sample.labels.height != height || sample.labels.width != width) {
    throw InputError("the mask has another size", mask, "give the mask of the photo");
  }
  return sample;
}

/// One photo again and again, drawn anew each time, as the loader hands samples on that it has in
/// memory.
class Samples {
 public:
  Samples(const Augmentation& augmentation, const DecodedSample& source)
      : augmentation_(augmentation),
        source_(source),
        seen_(source),
        programs_(augmentation.limits().bytes) {}

  Batch next() {
    const int height = seen_.photo.height, width = seen_.photo.width, sample = sample_++;
    if (augmentation_.windows()) {
      augmentation_.show(kSeed, 0, sample, source_.photo, source_.labels, seen_.photo.pixels,
                         seen_.labels.pixels);
    }
    Batch batch;
    batch.n = 1;
    batch.images = Tensor(seen_.photo.pixels.data(), {1, height, width, 3}, DType::u8);
    batch.labels = Tensor(seen_.labels.pixels.data(), {1, height, width, 1}, DType::u8);
    augmentation_.write_program(kSeed, 0, sample, seen_.photo.pixels, programs_);
    batch.programs = {programs_.data(), augmentation_.limits()};
    return batch;
  }

 private:
  const Augmentation& augmentation_;
  const DecodedSample& source_;
  DecodedSample seen_;
  std::vector<std::byte> programs_;
  int sample_ = 0;
};

/// Carries batches out into memory of its own.
class Preparation {
 public:
  Preparation(int height, int width)
      : shape_{1, height, width, 3},
        x_(Device{}, to_size(shape_.elements()) * sizeof(float)),
        labels_(Device{}, to_size(shape_.pixels())) {}

  void run(const Batch& batch) {
    prepare_batch(context_.stream, *context_.ops.augment, batch, Normalization{}, scratch_,
                  Tensor(x_.data(), shape_, DType::f32),
                  Tensor(labels_.data(), {1, shape_.h, shape_.w, 1}, DType::u8));
  }

 private:
  Shape shape_;
  DeviceContext context_;
  Buffer x_, labels_, scratch_;
};

void write_pictures(const std::vector<Case>& cases, const DecodedSample& source,
                    const fs::path& folder) {
  fs::create_directories(folder);
  BatchViewer viewer(source.photo.height, source.photo.width);
  for (const Case& one : cases) {
    const DecodedSample seen = viewer.view(Samples(one.augmentation, source).next());
    write_png(folder / (one.name + ".png"), seen.photo);
    write_png(folder / (one.name + "_labels.png"), seen.labels);
  }
}

/// That this process has had a processor for.
double processor_seconds() {
  return static_cast<double>(std::clock()) / static_cast<double>(CLOCKS_PER_SEC);
}

void measure(const Case& one, const DecodedSample& source, Preparation& preparation,
             double seconds) {
  Samples samples(one.augmentation, source);
  preparation.run(samples.next());
  int64_t images = 0;
  const Clock::time_point start = Clock::now();
  const double begin = processor_seconds();
  do {
    preparation.run(samples.next());
    ++images;
  } while (seconds_since(start) < seconds);
  fmt::print("{{\"case\": \"{}\", \"images_per_second\": {:.3f}, \"images\": {}}}\n", one.name,
             static_cast<double>(images) / (processor_seconds() - begin), images);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Images a second through lists of transforms, on one thread"};
  std::string list, photo, mask, folder;
  double seconds = 1;
  bool on_request = false;
  app.add_option("list", list, "TOML file of [[case]] tables")->required();
  app.add_option("photo", photo, "Photo of the network's size")->required();
  app.add_option("--mask", mask, "Its mask, 8-bit grey; all 0 without");
  app.add_option("--seconds", seconds, "Of a measurement");
  app.add_flag("--on-request", on_request, "One measurement a line of standard input");
  app.add_option("-o,--output", folder, "Folder for pictures of the first draw");
  CLI11_PARSE(app, argc, argv);
  keep_freed_memory();
  try {
    omp_set_num_threads(1);
    const DecodedSample source = read_pair(photo, mask);
    const int height = source.photo.height, width = source.photo.width;
    const std::vector<Case> cases = read_cases(list, {height, width});
    if (!folder.empty()) write_pictures(cases, source, folder);
    Preparation preparation(height, width);
    size_t turn = 0;
    const auto measure_next = [&] {
      measure(cases[turn++ % cases.size()], source, preparation, seconds);
    };
    do {
      bench::run_measurements(on_request, measure_next);
    } while (!on_request && turn < cases.size());
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_transforms: {}\n", error.what());
    return 2;
  }
  return 0;
}
