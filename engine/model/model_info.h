#pragma once
// What a model file says about itself: everything that loading, predicting and serving need
// besides the weights, kept as one JSON object.

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/rgb.h"
#include "kernels/augment.h"

namespace macadam {

/// Options of a network by name, as text: {"dropout": "0.2"}. The network gives them meaning.
using NetworkOptions = std::map<std::string, std::string>;

/// The layout of the JSON object that this program writes; it reads all up to it.
/// 2: "range" and "bgr", which version 1 did not say: 1 and false.
constexpr int kModelFormatVersion = 2;

/// The highest and widest image that networks take: resizing is exact up to it.
constexpr int kMaxModelExtent = 32767;

struct ModelInfo {
  std::string macadam_version;  // of the program that wrote the file
  std::string network;          // registry name
  NetworkOptions network_options;

  std::vector<std::string> class_names;
  std::vector<Rgb> palette;          // RGB, one a class
  std::vector<uint8_t> inverse_ids;  // the data set's label id that stands for each class in masks
  std::string label_set;             // "categories8", ...
  bool void_is_class = false;        // else void pixels were ignored in training

  int height = 0, width = 0;  // pixels that the network was trained on
  Normalization normalization;
  std::string precision;  // of training: "fp32", "bf16" or "fp16"

  uint64_t seed = 0;
  int64_t epoch = 0;                      // finished epochs
  int64_t step = 0;                       // finished optimiser steps
  std::map<std::string, double> metrics;  // on the validation split: {"miou_present": 0.7}
  std::map<std::string, double>
      progress;  // what resuming needs besides: best score, patience, time

  bool operator==(const ModelInfo&) const = default;
};

/// One JSON object; NaN becomes null. Throws InputError when a text is not UTF-8.
std::string to_json(const ModelInfo& info);

/// Reads what to_json wrote. Throws InputError naming `file` and the field: not JSON, duplicate
/// keys, nesting, missing fields, wrong types, values out of range, a newer format version.
ModelInfo parse_model_info(std::string_view json, std::string_view file);

}  // namespace macadam
