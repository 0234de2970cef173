#include "engine/infer/batch_classifier.h"

#include <algorithm>
#include <cstring>

#include "engine/graph/rewrite.h"

namespace macadam {

namespace {

PlanOptions plan_options(DType dtype, const Plan* weights_of) {
  PlanOptions options;
  options.mode = Mode::infer;
  options.dtype = dtype;
  options.weights_of = weights_of;
  return options;
}

}  // namespace

BatchClassifier::BatchClassifier(const Graph& graph, Parameters& parameters, Stream& stream,
                                 Ops& ops, DType dtype, const Normalization& normalization,
                                 const Plan* weights_of)
    : stream_(stream),
      ops_(ops),
      normalization_(normalization),
      plan_(without_last_upsampling(graph), parameters, stream, ops,
            plan_options(dtype, weights_of)),
      batch_(plan_.input().shape) {
  const Shape scores = graph.shape(graph.output());
  require(scores.h == batch_.h && scores.w == batch_.w, "the network scores every pixel");
  const Device device = stream.device();
  const auto values = static_cast<size_t>(batch_.elements());
  const auto pixels = static_cast<size_t>(batch_.pixels());
  host_images_ = Buffer::host_for(device, values);
  host_classes_ = Buffer::host_for(device, pixels);
  std::memset(host_images_.data(), 0, values);
  if (device.is_cuda()) {
    device_images_ = Buffer(device, values);
    device_classes_ = Buffer(device, pixels);
  }
  plan_.pack_weights();
  stream.synchronize();  // other streams may read the weights from now on
}

size_t BatchClassifier::bytes() const {
  return plan_.memory().arena + static_cast<size_t>(batch_.elements() + batch_.pixels());
}

void BatchClassifier::fill(const InferenceImage& image, size_t place) {
  const auto height = static_cast<size_t>(image.height), width = static_cast<size_t>(image.width);
  const auto rows = static_cast<size_t>(batch_.h), row = static_cast<size_t>(batch_.w) * 3;
  auto* first = reinterpret_cast<uint8_t*>(host_images_.data()) + place * rows * row;
  for (size_t y = 0; y < height; ++y) {
    uint8_t* out = first + y * row;
    uint8_t* const end = out + row;
    out = std::copy_n(image.rgb.data() + y * width * 3, width * 3, out);
    for (; out != end; ++out) *out = out[-3];
  }
  const uint8_t* last = first + (height - 1) * row;
  for (size_t y = height; y < rows; ++y) std::copy_n(last, row, first + y * row);
}

void BatchClassifier::cut_back(const InferenceImage& image, size_t place) const {
  const auto height = static_cast<size_t>(image.height), width = static_cast<size_t>(image.width);
  const auto rows = static_cast<size_t>(batch_.h), row = static_cast<size_t>(batch_.w);
  const auto* first = reinterpret_cast<const uint8_t*>(host_classes_.data()) + place * rows * row;
  for (size_t y = 0; y < height; ++y) {
    std::copy_n(first + y * row, width, image.classes.data() + y * width);
  }
}

void BatchClassifier::launch() {
  const bool copies = static_cast<bool>(device_images_);
  const Buffer& images = copies ? device_images_ : host_images_;
  const Buffer& masks = copies ? device_classes_ : host_classes_;
  const Device device = stream_.device();
  const Tensor bytes(images.data(), batch_, DType::u8, device);
  const Tensor classes(masks.data(), {batch_.n, batch_.h, batch_.w, 1}, DType::u8, device);

  if (copies) copy_bytes(stream_, images.data(), host_images_.data(), images.bytes());
  ops_.augment->prepare_images(bytes, nullptr, normalization_, plan_.input());
  plan_.forward();
  const Tensor& scores = plan_.output();
  if (scores.shape.h == batch_.h && scores.shape.w == batch_.w) {
    ops_.confusion->argmax(scores, classes);
  } else {
    ops_.upsample->bilinear_argmax(scores, classes);
  }
  if (copies) copy_bytes(stream_, host_classes_.data(), masks.data(), masks.bytes());
}

void BatchClassifier::run(std::span<const InferenceImage> images) {
  require(images.size() <= static_cast<size_t>(batch_.n), "photos that the batch holds");
  for (const InferenceImage& image : images) {
    require(
        image.height > 0 && image.height <= batch_.h && image.width > 0 && image.width <= batch_.w,
        "photos of at most the network's size");
    const auto pixels = static_cast<size_t>(image.height) * static_cast<size_t>(image.width);
    require(image.rgb.size() == 3 * pixels && image.classes.size() == pixels,
            "three bytes a pixel of the photo, one of the mask");
  }
  for (size_t i = 0; i < images.size(); ++i) fill(images[i], i);
  replay_.run(stream_, [this] { launch(); });
  stream_.synchronize();
  for (size_t i = 0; i < images.size(); ++i) cut_back(images[i], i);
}

}  // namespace macadam
