// macadam predict: masks of photos.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <future>
#include <optional>

#include "app/command_line.h"
#include "app/commands.h"
#include "app/console.h"
#include "app/photo_list.h"
#include "base/files.h"
#include "base/round_up.h"
#include "base/to_size.h"
#include "engine/infer/predictor.h"
#include "engine/plan/precision.h"
#include "image/image.h"
#include "models/loaded_model.h"
#include "report/picture.h"
#include "run/photo.h"

namespace macadam {

namespace {

namespace fs = std::filesystem;

struct PredictOptions {
  std::string model, output, device = "auto", precision = "auto";
  std::vector<std::string> images;
  bool overlay = false, confidence = false, tile = false, flip = false, logits = false;
};

/// NumPy's .npy, version 1.0: magic, header length, a Python dictionary padded to 64 bytes, data.
void write_npy(const fs::path& path, const std::vector<float>& values, int height, int width,
               int channels) {
  std::string header =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}, {}), }}", height,
                  width, channels);
  header.resize(round_up(10 + header.size() + 1, 64) - 10 - 1, ' ');
  header += '\n';
  std::string start = "\x93NUMPY";
  start += '\x01';
  start += '\0';
  start += static_cast<char>(header.size() & 0xff);
  start += static_cast<char>(header.size() >> 8);
  start += header;
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(start)),
                                              std::as_bytes(std::span(values))};
  write_file_atomically(path, parts);
}

/// Class indices as the data set's own ids.
Image to_file_ids(const Image& classes, const std::vector<uint8_t>& ids) {
  Image mask = classes;
  for (uint8_t& pixel : mask.pixels) pixel = ids[pixel];
  return mask;
}

/// One kind of result and its folder below -o, so that whoever looks for masks finds masks alone.
struct ResultKind {
  const char* folder;
  const char* extension;
  bool wanted;
};

/// Ids, colours, overlays, scores and confidence, in this order.
using ResultKinds = std::array<ResultKind, 5>;

ResultKinds result_kinds(const PredictOptions& options) {
  return {{{"ids", ".png", true},
           {"color", ".png", true},
           {"overlay", ".png", options.overlay},
           {"logits", ".npy", options.logits},
           {"confidence", ".png", options.confidence}}};
}

/// Where the results of each kind go. Each folder is marked, so that it is never taken for photos.
class ResultFolders {
 public:
  /// Throws InputError when one of them holds something else.
  ResultFolders(fs::path root, const ResultKinds& kinds) : root_(std::move(root)), kinds_(kinds) {
    for (const ResultKind& kind : kinds_) {
      if (kind.wanted) check_predictions_place(root_ / kind.folder);
    }
  }

  /// Throws InputError when a photo's results would have names that cannot be written.
  void check_names(std::span<const Photo> photos) const {
    const Photo* first = nullptr;
    size_t count = 0;
    for (const Photo& photo : photos) {
      if (fits(photo.name)) continue;
      if (count++ == 0) first = &photo;
    }
    if (count == 0) return;
    throw InputError(count == 1 ? std::string("the photo's results would have too long a name")
                                : fmt::format("the results of {} photos would have too long a "
                                              "name, of this one first",
                                              count),
                     first->file.string(),
                     "shorten its name or its folders', or choose another folder with -o");
  }

  /// The file for the result of a photo; its folders are made.
  fs::path file(size_t kind, const fs::path& name) const {
    const fs::path folder = root_ / kinds_[kind].folder;
    fs::path file = path_of(kinds_[kind], name);
    std::error_code error;
    fs::create_directories(file.parent_path(), error);
    if (error) {
      throw RunError("cannot create the folder", file.parent_path().string(), error.message());
    }
    if (!holds_predictions(folder)) mark_predictions(folder);
    return file;
  }

 private:
  fs::path path_of(const ResultKind& kind, const fs::path& name) const {
    return root_ / kind.folder / (name.string() + kind.extension);
  }
  /// Whether all results, and the folders that are made for them, can be written.
  bool fits(const fs::path& name) const {
    return std::ranges::all_of(kinds_, [&](const ResultKind& kind) {
      fs::path path;
      return !kind.wanted || std::ranges::all_of(path_of(kind, name), [&](const fs::path& part) {
        return name_fits(path /= part);
      });
    });
  }

  fs::path root_;
  ResultKinds kinds_;
};

DecodedPhoto decode(const fs::path& file, const PredictOptions& options, const ModelInfo& model) {
  const ImageFile bytes(file);
  return decode_photo(bytes.bytes(), file.string(),
                      {model.height, model.width, options.tile, options.overlay});
}

void write_results(const ResultFolders& folders, const PredictOptions& options,
                   const ModelInfo& info, const fs::path& name, const Image& photo,
                   const Prediction& prediction) {
  Image plane(prediction.height, prediction.width, 1);
  if (options.confidence) {
    plane.pixels = prediction.confidence;
    write_png(folders.file(4, name), plane);
  }
  plane.pixels = prediction.classes;
  write_png(folders.file(0, name), to_file_ids(plane, info.inverse_ids));
  write_png(folders.file(1, name), colorize(plane, info.palette));
  if (options.overlay) {
    write_png(folders.file(2, name), overlay(photo, plane, info.palette));
  }
  if (options.logits) {
    write_npy(folders.file(3, name), prediction.scores, prediction.height, prediction.width,
              static_cast<int>(info.class_names.size()));
  }
}

/// Reads photos, each while the network sees the one before; one that cannot be read is named and
/// counted.
class PhotoReader {
 public:
  /// `options` and `model` outlive it.
  PhotoReader(const PhotoList& list, const PredictOptions& options, const ModelInfo& model)
      : photos_(list.photos),
        options_(options),
        model_(model),
        alone_(list.photos.size() == 1 && list.unusable.empty()) {
    for (const auto& [path, what] : list.unusable) skip(what + ": " + path.string());
    start();
  }

  /// The next photo of the list; nothing when it cannot be read, which is the error where it is the
  /// only one.
  std::optional<DecodedPhoto> next() {
    std::future<DecodedPhoto> read = std::move(reading_);
    try {
      read.wait();
      start();
      DecodedPhoto photo = read.get();
      if (!photo.fault.empty()) warn(photo.fault);
      return photo;
    } catch (const InputError& error) {
      if (alone_) throw;
      skip(error.what());
      return std::nullopt;
    }
  }

  int64_t unreadable() const { return unreadable_; }

 private:
  void start() {
    if (started_ == photos_.size()) return;
    reading_ = std::async(std::launch::async, [this, file = photos_[started_++].file] {
      return decode(file, options_, model_);
    });
  }

  void skip(const std::string& why) {
    say("macadam: warning: " + why);
    ++unreadable_;
  }

  std::span<const Photo> photos_;
  const PredictOptions& options_;
  const ModelInfo& model_;
  bool alone_;
  size_t started_ = 0;
  int64_t unreadable_ = 0;
  std::future<DecodedPhoto> reading_;
};

/// Writes results, each photo's while the network sees the next.
class ResultWriter {
 public:
  /// All outlive it.
  ResultWriter(const ResultFolders& folders, const PredictOptions& options, const ModelInfo& info)
      : folders_(folders), options_(options), info_(info) {}

  /// Memory for the next photo's prediction.
  Prediction& prediction() { return predictions_[turn_]; }
  /// Begins to write it; throws what writing the one before threw.
  void write(const fs::path& name, DecodedPhoto photo) {
    finish();
    writing_ = std::async(std::launch::async, [this, name, photo = std::move(photo),
                                               &prediction = predictions_[turn_]] {
      write_results(folders_, options_, info_, name, photo.whole, prediction);
    });
    turn_ = 1 - turn_;
  }
  /// Waits for the last.
  void finish() {
    if (writing_.valid()) writing_.get();
  }

 private:
  const ResultFolders& folders_;
  const PredictOptions& options_;
  const ModelInfo& info_;
  std::array<Prediction, 2> predictions_;
  size_t turn_ = 0;
  std::future<void> writing_;
};

/// The network for a photo, and for as many windows as it should see at once.
std::vector<Graph> graphs_of(const LoadedModel& model, const PredictOptions& options,
                             Device device) {
  const int height = model.info().height, width = model.info().width;
  std::vector<Graph> graphs{model.graph(1, height, width)};
  const int windows = options.tile ? windows_at_once(device, height, width) : 1;
  if (windows > 1) graphs.push_back(model.graph(windows, height, width));
  return graphs;
}

void predict(const PredictOptions& options) {
  const PhotoList list = list_photos(options.images);
  const ResultFolders folders(options.output, result_kinds(options));
  folders.check_names(list.photos);
  const DeviceInfo device = device_info(parse_device(options.device));
  const DType dtype = resolve_precision(options.precision, device);
  DeviceContext context(device.device);
  LoadedModel model(options.model, context.stream);
  const ModelInfo& info = model.info();
  Predictor predictor = at_size_of(info, options.model, [&] {
    return Predictor(graphs_of(model, options, device.device), model.parameters(), context,
                     {dtype, info.normalization, options.flip, options.confidence});
  });

  for (const std::string& folder : list.predictions) {
    say("macadam: warning: results of an earlier prediction, left out: " + folder);
  }
  PhotoReader reader(list, options, info);
  ResultWriter writer(folders, options, info);
  const auto all = static_cast<int64_t>(list.photos.size());
  ProgressLine progress("predicting");
  for (int64_t i = 0; i < all; ++i) {
    const auto& [file, name] = list.photos[to_size(i)];
    if (std::optional<DecodedPhoto> photo = reader.next()) {
      const PhotoView view = photo->seen();
      predictor.run({&view, 1}, photo->height, photo->width, options.logits, writer.prediction());
      writer.write(name, std::move(*photo));
    }
    progress.show(i + 1, all, std::array{file.filename().string()});
  }
  writer.finish();
  const int64_t named = all + static_cast<int64_t>(list.unusable.size());
  print_summary("{} masks in {}\n", named - reader.unreadable(),
                (fs::path(options.output) / "ids").string());
  if (reader.unreadable() > 0) {
    throw RunError(fmt::format("{} of {} photos could not be read", reader.unreadable(), named),
                   "named above", "mend or remove them");
  }
}

}  // namespace

void add_predict(CommandLine& line) {
  Command command = line.add("predict", "Write the masks of photos");
  auto options = std::make_shared<PredictOptions>();
  command.option("model", &options->model, "Model file").required();
  command.option("images", &options->images, "Photos, or folders: all below them").required();
  command
      .option("-o,--output", &options->output,
              "Folder for the results: ids/, color/, overlay/, confidence/, logits/ in it")
      .required();
  command.flag("--overlay", options->overlay, "Also the classes' colours over the photo");
  command.flag("--confidence", options->confidence,
               "Also each pixel's probability of its class, 0 to 255");
  command.flag("--tile", options->tile,
               "Keep the photo's resolution: overlapping windows, blended");
  command.flag("--flip", options->flip, "Average with the mirror image (twice the time)");
  command.flag("--logits", options->logits, "Also the class scores as .npy, HxWxC float32");
  command.option("--device", &options->device, "auto, cpu, cuda or cuda:N").show_default();
  command.option("--precision", &options->precision, "auto, fp32, bf16 or fp16").show_default();
  command.run([options] { predict(*options); });
}

}  // namespace macadam
