#include "server/protocol/photo_tensors.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "base/text.h"
#include "base/to_size.h"
#include "image/resize.h"
#include "server/http/http_error.h"

namespace macadam {

namespace {

constexpr std::string_view kImages = "images", kPhoto = "photo", kEncoded = "encoded";

/// A text as a literal of Python, in ASCII.
std::string python_text(std::string_view text) {
  std::string literal = "'";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\'' || c == '\\') {
      literal += '\\';
      literal += c;
    } else if (byte < 0x20 || byte > 0x7e) {
      literal += '?';  // names are for people to read; the exact ones are in /v1/classes
    } else {
      literal += c;
    }
  }
  return literal + "'";
}

/// IEEE half precision.
float float_of_half(uint16_t half) {
  const int exponent = half >> 10 & 0x1f, mantissa = half & 0x3ff;
  const float sign = (half & 0x8000) != 0 ? -1.0F : 1.0F;
  if (exponent == 0x1f) return mantissa != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  return sign * std::ldexp(static_cast<float>(mantissa + 0x400), exponent - 25);
}

float value_at(const InputTensor& input, size_t i) {
  if (!input.is_binary) return input.values[i];
  const char* const at = input.binary.data() + i * size_of(input.type);
  if (input.type == TensorType::fp32) {
    float value = 0;
    std::memcpy(&value, at, sizeof(value));
    return value;
  }
  uint16_t bits = 0;
  std::memcpy(&bits, at, sizeof(bits));
  return input.type == TensorType::bf16 ? std::bit_cast<float>(uint32_t{bits} << 16)
                                        : float_of_half(bits);
}

/// N x 3 x height x width of 0 to 1 to height x width x 3 bytes.
Image image_of_floats(const InputTensor& input, int i, int height, int width) {
  Image image(height, width, 3);
  const size_t plane = to_size(height) * to_size(width);
  for (size_t c = 0; c < 3; ++c) {
    for (size_t p = 0; p < plane; ++p) {
      const float value = value_at(input, (to_size(i) * 3 + c) * plane + p);
      if (!(value >= 0 && value <= 1)) {  // not a number neither
        throw HttpError(400, "the values of images lie between 0 and 1");
      }
      image.pixels[p * 3 + c] = static_cast<uint8_t>(std::lround(value * 255));
    }
  }
  return image;
}

Image image_of_bytes(const InputTensor& input, int i, int height, int width) {
  Image image(height, width, 3);
  const size_t bytes = image.pixels.size(), start = to_size(i) * bytes;
  if (input.is_binary) {
    std::memcpy(image.pixels.data(), input.binary.data() + start, bytes);
    return image;
  }
  for (size_t p = 0; p < bytes; ++p) {
    const float value = input.values[start + p];
    if (!(value >= 0 && value <= 255) || value != std::floor(value)) {
      throw HttpError(400, "the values of UINT8 are whole numbers from 0 to 255");
    }
    image.pixels[p] = static_cast<uint8_t>(value);
  }
  return image;
}

}  // namespace

std::vector<TensorDescription> described_inputs(const ModelInfo& info) {
  return {{std::string(kImages), TensorType::fp32, {3, info.height, info.width}}};
}

std::string alternative_inputs() {
  return fmt::format("{} UINT8 [-1,-1,-1,3] or {} BYTES [-1,1] in the place of {}", kPhoto,
                     kEncoded, kImages);
}

std::vector<TensorDescription> described_outputs(const ModelInfo& info) {
  const auto classes = static_cast<int64_t>(info.class_names.size());
  return {{std::string(kScoresOutput), TensorType::fp32, {classes, -1, -1}},
          {std::string(kMaskOutput), TensorType::uint8, {-1, -1}},
          {std::string(kConfidenceOutput), TensorType::uint8, {-1, -1}}};
}

std::string python_metadata(const ModelInfo& info) {
  std::string names;
  for (size_t c = 0; c < info.class_names.size(); ++c) {
    names += fmt::format("{}{}: {}", c == 0 ? "" : ", ", c, python_text(info.class_names[c]));
  }
  return fmt::format(
      "{{'task': 'semantic', 'names': {{{}}}, 'stride': 32, 'imgsz': [{}, {}], 'batch': 1, "
      "'channels': 3}}",
      names, info.height, info.width);
}

InferRequest raw_request(std::string_view body) {
  InferRequest request;
  InputTensor input;
  input.name = kEncoded;
  input.type = TensorType::bytes;
  input.shape = {1};
  input.is_binary = true;
  input.elements = {body};
  request.inputs.push_back(std::move(input));
  request.binary_outputs = true;
  return request;
}

PhotoTensor::PhotoTensor(std::span<const InputTensor> inputs, const ModelInfo& info, int most)
    : use_{info.height, info.width, false, false} {
  if (inputs.size() != 1) {
    throw HttpError(400, "one of the inputs images, photo and encoded is given");
  }
  input_ = &inputs.front();
  const auto& shape = input_->shape;
  const bool floats = input_->type == TensorType::fp32 || input_->type == TensorType::fp16 ||
                      input_->type == TensorType::bf16;
  const auto fits = [&](std::string_view name, bool type, bool dims, std::string_view wanted) {
    if (!type) {
      throw HttpError(400, fmt::format("{} is not {}", name, name_of(input_->type)));
    }
    if (!dims) throw HttpError(400, fmt::format("the shape of {} is {}", name, wanted));
  };
  if (input_->name == kImages) {
    fits(kImages, floats,
         shape.size() == 4 && shape[1] == 3 && shape[2] == info.height && shape[3] == info.width,
         fmt::format("N, 3, {}, {}", info.height, info.width));
  } else if (input_->name == kPhoto) {
    fits(kPhoto, input_->type == TensorType::uint8, shape.size() == 4 && shape[3] == 3,
         "N, height, width, 3");
  } else if (input_->name == kEncoded) {
    fits(kEncoded, input_->type == TensorType::bytes,
         shape.size() == 1 || (shape.size() == 2 && shape[1] == 1), "N or N, 1");
  } else {
    throw HttpError(400, fmt::format("the model has no input {}; it has images, photo and encoded",
                                     quote(input_->name)));
  }
  if (shape[0] < 1 || shape[0] > most) {
    throw HttpError(400, fmt::format("a request has 1 to {} photos", most));
  }
  count_ = static_cast<int>(shape[0]);
}

Image PhotoTensor::image(int i, const ImageLimits& limits) const {
  const auto& shape = input_->shape;
  if (input_->name == kImages) {
    return image_of_floats(*input_, i, static_cast<int>(shape[2]), static_cast<int>(shape[3]));
  }
  if (shape[1] < 1 || shape[2] < 1) throw HttpError(400, "a photo has pixels");
  check_limits(shape[1], shape[2], "the photo", limits);
  return image_of_bytes(*input_, i, static_cast<int>(shape[1]), static_cast<int>(shape[2]));
}

DecodedPhoto PhotoTensor::decode(int i, const ImageLimits& limits) const {
  if (input_->name == kEncoded) {
    const std::string_view bytes = input_->elements.at(to_size(i));
    return decode_photo({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
                        fmt::format("photo {}", i + 1), use_, limits);
  }
  return fit_photo(image(i, limits), use_);
}

OutputTensor make_output(std::string_view name, std::span<const Prediction* const> predictions,
                         int classes) {
  const Prediction& first = *predictions.front();
  OutputTensor tensor;
  tensor.name = name;
  const bool scores = name == kScoresOutput;
  tensor.type = scores ? TensorType::fp32 : TensorType::uint8;
  tensor.planes = scores ? to_size(classes) : 1;
  tensor.pixels = first.classes.size();
  tensor.shape = {static_cast<int64_t>(predictions.size())};
  if (scores) tensor.shape.push_back(classes);
  tensor.shape.push_back(first.height);
  tensor.shape.push_back(first.width);
  for (const Prediction* const prediction : predictions) {
    if (prediction->height != first.height || prediction->width != first.width) {
      throw HttpError(400, "the photos of a request have one size: their masks are one tensor");
    }
    if (scores) {
      tensor.images.push_back(prediction->scores.data());
    } else {
      tensor.images.push_back(
          (name == kMaskOutput ? prediction->classes : prediction->confidence).data());
    }
  }
  return tensor;
}

}  // namespace macadam
