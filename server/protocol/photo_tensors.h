#pragma once
// Photos and predictions as tensors: the inputs and outputs that a served model has.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/infer/predictor.h"
#include "engine/model/model_info.h"
#include "image/image.h"
#include "run/photo.h"
#include "server/protocol/tensors.h"

namespace macadam {

struct TensorDescription {
  std::string name;
  TensorType type = TensorType::fp32;
  std::vector<int64_t> dims;  // without the batch; -1: any
};

/// "images", N x 3 x height x width of the network, RGB from 0 to 1. Two others may be given in its
/// place: "photo", N x height x width x 3 bytes of any size; "encoded", N PNGs or JPEGs. Clients
/// that fill all inputs that a model has (perf_analyzer, ultralytics) would give them too, so that
/// they are told of in alternative_inputs() alone.
std::vector<TensorDescription> described_inputs(const ModelInfo& info);

/// Those others, in words.
std::string alternative_inputs();

inline constexpr std::string_view kScoresOutput = "scores", kMaskOutput = "mask",
                                  kConfidenceOutput = "confidence";
/// "scores", N x C x height x width; "mask", the numbers of the classes, and "confidence", the
/// probability of each, 0 to 255: N x height x width; all at the photo's size.
std::vector<TensorDescription> described_outputs(const ModelInfo& info);

/// What ultralytics' clients evaluate: a Python dictionary of literals.
std::string python_metadata(const ModelInfo& info);

/// A request whose body is the one input "encoded"; all outputs are binary.
InferRequest raw_request(std::string_view body);

/// The photos of a request. A view of its data.
class PhotoTensor {
 public:
  /// Throws HttpError unless there is one input that the model has, with photos in its shape and as
  /// many as are allowed.
  PhotoTensor(std::span<const InputTensor> inputs, const ModelInfo& info, int most);

  int count() const { return count_; }
  /// Photo `i`, fit for the network. Throws InputError or HttpError when it is none.
  DecodedPhoto decode(int i, const ImageLimits& limits) const;

 private:
  Image image(int i, const ImageLimits& limits) const;

  const InputTensor* input_ = nullptr;
  PhotoUse use_;
  int count_ = 0;
};

/// An output of predictions of one size, which it is a view of. Throws HttpError when they differ
/// in size.
OutputTensor make_output(std::string_view name, std::span<const Prediction* const> predictions,
                         int classes);

}  // namespace macadam
