#include "engine/infer/classifier.h"

#include <algorithm>
#include <cstring>

#include "base/to_size.h"
#include "engine/graph/rewrite.h"

namespace macadam {

namespace {

PlanOptions plan_options(const ClassifierOptions& from, PackedWeights& weights) {
  PlanOptions options;
  options.mode = Mode::infer;
  options.dtype = from.dtype;
  options.weights = &weights;
  options.arena = from.arena;
  return options;
}

size_t pixels_of(int height, int width) { return to_size(height) * to_size(width); }

}  // namespace

size_t bytes_of(const std::set<const Buffer*>& memory) {
  size_t sum = 0;
  for (const Buffer* const buffer : memory) sum += buffer->bytes();
  return sum;
}

Classifier::Classifier(const Graph& graph, Parameters& parameters, PackedWeights& weights,
                       DeviceContext& context, const ClassifierOptions& options)
    : context_(context),
      options_(options),
      plan_(without_last_upsampling(graph), parameters, context, plan_options(options, weights)),
      batch_(plan_.input().shape),
      uploaded_(context.device()) {
  const Shape scores = graph.shape(graph.output());
  require(scores.h == batch_.h && scores.w == batch_.w, "the network scores every pixel");
  const Device device = context.device();
  const auto values = to_size(batch_.elements());
  const auto pixels = to_size(batch_.pixels());
  host_images_ = Buffer::host_for(device, values);
  host_classes_ = Buffer::host_for(device, pixels);
  if (options.confidence) host_confidence_ = Buffer::host_for(device, pixels);
  std::memset(host_images_.data(), 0, values);
  if (device.is_cuda()) {
    device_images_ = Buffer(device, values);
    device_classes_ = Buffer(device, pixels);
    if (options.confidence) device_confidence_ = Buffer(device, pixels);
  }
  plan_.pack_weights();
  context.stream.synchronize();  // other streams may read the weights from now on
}

void Classifier::add_memory(std::set<const Buffer*>& memory) const {
  const bool copies = static_cast<bool>(device_images_);
  memory.insert(copies ? &device_images_ : &host_images_);
  memory.insert(copies ? &device_classes_ : &host_classes_);
  memory.insert(copies ? &device_confidence_ : &host_confidence_);
  memory.insert(plan_.arena().memory().get());
  for (const auto& packed : plan_.weights().memory()) memory.insert(packed.get());
}

void Classifier::warm_up() {
  // What is recorded is recorded in its second run. Where nothing is, all ways are the same.
  const bool records = context_.device().is_cuda();
  for (int i = 0; i < (records ? 2 : 1); ++i) {
    run({});
    if (!records) continue;
    upload();
    for (const bool mirrored : {false, true}) score(mirrored);
    context_.stream.synchronize();
  }
}

void Classifier::put(int place, const PhotoView& photo, int top, int left) {
  uploaded_.synchronize();
  fill(place, photo, top, left);
}

void Classifier::fill(int place, const PhotoView& photo, int top, int left) {
  require(place >= 0 && place < batch_.n, "a place of the batch");
  require(top >= 0 && top < photo.height && left >= 0 && left < photo.width,
          "an image begins in the photo");
  require(photo.rgb.size() == 3 * pixels_of(photo.height, photo.width), "three bytes a pixel");
  const auto row = to_size(batch_.w) * 3;
  const auto photo_row = to_size(photo.width) * 3;
  const int height = std::min(batch_.h, photo.height - top);
  const auto inside = to_size(std::min(batch_.w, photo.width - left)) * 3;
  uint8_t* out =
      reinterpret_cast<uint8_t*>(host_images_.data()) + to_size(place) * to_size(batch_.h) * row;
  const uint8_t* from = photo.rgb.data() + to_size(top) * photo_row + to_size(left) * 3;
  for (int y = 0; y < height; ++y, from += photo_row) {
    uint8_t* const end = out + row;
    out = std::copy_n(from, inside, out);
    for (; out != end; ++out) *out = out[-3];
  }
  for (int y = height; y < batch_.h; ++y) out = std::copy_n(out - row, row, out);
}

Tensor Classifier::images() const {
  const Buffer& images = device_images_ ? device_images_ : host_images_;
  return {images.data(), batch_, DType::u8, context_.device()};
}

void Classifier::upload() {
  if (!device_images_) return;
  copy_bytes(context_.stream, device_images_.data(), host_images_.data(), device_images_.bytes());
  uploaded_.record(context_.stream);
}

void Classifier::forward(bool mirrored) {
  context_.ops.augment->prepare_images(images(), mirrored, options_.normalization, plan_.input());
  plan_.forward();
}

const Tensor& Classifier::score(bool mirrored) {
  Replay& replay = mirrored ? scoring_mirrored_ : scoring_;
  replay.run(context_.stream, [this, mirrored] { forward(mirrored); });
  return plan_.output();
}

Tensor Classifier::scores(int place) const {
  require(place >= 0 && place < batch_.n, "a place of the batch");
  Tensor one = plan_.output();
  one.shape.n = 1;
  one.data = static_cast<std::byte*>(one.data) +
             to_size(place * one.shape.pixels() * one.pixel_stride) * size_of(one.dtype);
  return one;
}

void Classifier::classify() {
  const bool copies = static_cast<bool>(device_images_);
  const auto mask_in = [&](const Buffer& buffer) {
    return Tensor(buffer.data(), {batch_.n, batch_.h, batch_.w, 1}, DType::u8, context_.device());
  };
  const Tensor classes = mask_in(copies ? device_classes_ : host_classes_);
  const Tensor confidence = mask_in(copies ? device_confidence_ : host_confidence_);
  if (copies) {
    copy_bytes(context_.stream, device_images_.data(), host_images_.data(), device_images_.bytes());
  }
  forward(false);
  const Tensor& scores = plan_.output();
  if (scores.shape.h == batch_.h && scores.shape.w == batch_.w) {
    context_.ops.confusion->argmax(scores, classes, confidence);
  } else {
    context_.ops.upsample->bilinear_argmax(scores, classes, confidence);
  }
  if (!copies) return;
  copy_bytes(context_.stream, host_classes_.data(), classes.data, classes.bytes());
  if (options_.confidence) {
    copy_bytes(context_.stream, host_confidence_.data(), confidence.data, confidence.bytes());
  }
}

void Classifier::run(std::span<const InferenceImage> images) {
  require(images.size() <= to_size(batch_.n), "photos that the batch holds");
  const auto pixels = pixels_of(batch_.h, batch_.w);
  for (size_t i = 0; i < images.size(); ++i) {
    const InferenceImage& image = images[i];
    require(image.classes.size() == pixels, "one byte a pixel of the mask");
    require(image.confidence.empty() || (options_.confidence && image.confidence.size() == pixels),
            "confidence by a classifier that gives it, one byte a pixel");
    fill(static_cast<int>(i), {image.rgb, batch_.h, batch_.w}, 0, 0);
  }
  classifying_.run(context_.stream, [this] { classify(); });
  context_.stream.synchronize();
  const auto copy_out = [&](const Buffer& masks, size_t i, std::span<uint8_t> wanted) {
    const auto* from = reinterpret_cast<const uint8_t*>(masks.data()) + i * pixels;
    std::copy_n(from, wanted.size(), wanted.begin());
  };
  for (size_t i = 0; i < images.size(); ++i) {
    copy_out(host_classes_, i, images[i].classes);
    if (!images[i].confidence.empty()) copy_out(host_confidence_, i, images[i].confidence);
  }
}

}  // namespace macadam
