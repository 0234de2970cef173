// macadam predict: masks of photos.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstring>
#include <filesystem>
#include <set>

#include "app/commands.h"
#include "app/console.h"
#include "engine/files.h"
#include "engine/precision.h"
#include "engine/predictor.h"
#include "loader/image.h"
#include "loader/resize.h"
#include "models/loaded_model.h"
#include "report/picture.h"

namespace macadam {

namespace {

namespace fs = std::filesystem;

struct PredictOptions {
  std::string model, output, device = "auto", precision = "auto";
  std::vector<std::string> images;
  bool overlay = false, tile = false, flip = false, logits = false;
};

/// NumPy's .npy, version 1.0: magic, header length, a Python dictionary padded to 64 bytes, data.
void write_npy(const fs::path& path, const std::vector<float>& values, int height, int width,
               int channels) {
  std::string header =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}, {}), }}", height,
                  width, channels);
  header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 10 - 1, ' ');
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

/// The photos named, folders replaced by the images in them.
std::vector<fs::path> collect(const std::vector<std::string>& names) {
  std::vector<fs::path> files;
  for (const std::string& name : names) {
    if (!fs::is_directory(name)) {
      files.emplace_back(name);
      continue;
    }
    std::set<fs::path> inside;
    for (const auto& entry : fs::directory_iterator(name)) {
      const std::string extension = entry.path().extension().string();
      if (extension == ".png" || extension == ".jpg" || extension == ".jpeg" ||
          extension == ".bmp") {
        inside.insert(entry.path());
      }
    }
    if (inside.empty()) throw InputError("no photo in the folder", name, "name PNG or JPEG files");
    files.insert(files.end(), inside.begin(), inside.end());
  }
  std::set<std::string> stems;
  for (const fs::path& file : files) {
    if (!stems.insert(file.stem().string()).second) {
      throw InputError("two photos would write the same files", file.string(),
                       "predict them into different folders");
    }
  }
  return files;
}

void write_outputs(const PredictOptions& options, const ModelInfo& info, const fs::path& file,
                   const Image& photo, const Prediction& prediction) {
  const std::string stem = (fs::path(options.output) / file.stem()).string();
  Image classes(prediction.height, prediction.width, 1);
  classes.pixels = prediction.classes;
  write_png(stem + "_ids.png", to_file_ids(classes, info.inverse_ids));
  write_png(stem + "_color.png", colourise(classes, info.palette));
  if (options.overlay) write_png(stem + "_overlay.png", overlay(photo, classes, info.palette));
  if (options.logits) {
    write_npy(stem + "_logits.npy", prediction.scores, prediction.height, prediction.width,
              static_cast<int>(info.class_names.size()));
  }
}

/// The photo at the network's size, decoded as for training: a JPEG much larger than that comes
/// reduced from its decoder.
Image seen_by_network(const fs::path& file, const Image& photo, const ModelInfo& info) {
  if (photo.height < 2 * info.height || photo.width < 2 * info.width) {
    return resize_bilinear(photo, info.height, info.width);
  }
  const DecodeOptions reduced{info.height, info.width};
  return resize_bilinear(read_rgb(file, {}, reduced), info.height, info.width);
}

void predict(const PredictOptions& options) {
  const std::vector<fs::path> files = collect(options.images);
  const DeviceInfo device = device_info(parse_device(options.device));
  const DType dtype = resolve_precision(options.precision, device);
  Stream stream(device.device);
  LoadedModel model(options.model, stream);
  const ModelInfo& info = model.info();
  Ops ops = make_ops(stream);
  Predictor predictor = at_size_of(info, options.model, [&] {
    return Predictor(model.graph(1, info.height, info.width), model.parameters(), stream, ops,
                     {dtype, info.normalization, options.flip});
  });
  std::error_code error;
  fs::create_directories(options.output, error);
  if (error) throw RunError("cannot create the folder", options.output, error.message());

  ProgressLine progress("predicting");
  for (size_t i = 0; i < files.size(); ++i) {
    const Image photo = read_rgb(files[i]);
    const Image seen = options.tile ? photo : seen_by_network(files[i], photo, info);
    const Prediction prediction = predictor.run(seen.pixels, seen.height, seen.width, photo.height,
                                                photo.width, options.logits);
    write_outputs(options, info, files[i], photo, prediction);
    progress.show(static_cast<int64_t>(i) + 1, static_cast<int64_t>(files.size()),
                  files[i].filename().string());
  }
  print_summary("{} masks in {}\n", files.size(), options.output);
}

}  // namespace

void add_predict(CLI::App& app) {
  auto* command = app.add_subcommand("predict", "Write the masks of photos");
  auto options = std::make_shared<PredictOptions>();
  command->add_option("model", options->model, "Model file")->required();
  command->add_option("images", options->images, "Photos, or folders of photos")->required();
  command->add_option("-o,--output", options->output, "Folder for the results")->required();
  command->add_flag("--overlay", options->overlay, "Also the classes' colours over the photo");
  command->add_flag("--tile", options->tile,
                    "Keep the photo's resolution: overlapping windows, blended");
  command->add_flag("--flip", options->flip, "Average with the mirror image (twice the time)");
  command->add_flag("--logits", options->logits, "Also the class scores as .npy, HxWxC float32");
  command->add_option("--device", options->device, "auto, cpu, cuda or cuda:N")
      ->capture_default_str();
  command->add_option("--precision", options->precision, "auto, fp32, bf16 or fp16")
      ->capture_default_str();
  command->callback([options] { predict(*options); });
}

}  // namespace macadam
