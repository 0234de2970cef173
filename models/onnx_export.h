#pragma once
// A trained network as an ONNX file, for other runtimes. https://onnx.ai/onnx/operators

#include <filesystem>
#include <map>
#include <string>

#include "engine/graph/graph.h"
#include "engine/model/model_file.h"

namespace macadam {

struct OnnxOptions {
  bool fold_batch_norm = true;  // into the convolution before it, where nobody else reads that
  bool dynamic = true;          // any batch, height and width; else those of the graph
  bool argmax = false;          // the class of each pixel instead of the scores
};

/// Writes the network atomically, opset 17; the bytes depend on the arguments alone.
///   input  "image"   fp32 {N, 3, H, W}, normalised as the metadata say ("range", "mean", "std",
///                    "bgr": x = (byte * range / 255 - mean) / std)
///   output "logits"  fp32 {N, classes, H, W}, or with `argmax`
///          "mask"    int64 {N, H, W}, the first of equal scores
/// The metadata also hold the model's own description ("macadam"), its classes ("names" as
/// {"0": "road", ...}, "class_names", "palette") and "imgsz", the graph's [height, width].
/// `parameters` are in the layout of files; those that no layer reads are not written.
/// Requires a graph that no rewrite has touched, for as many classes as `info` names.
/// Throws InputError naming `file` and the layer or parameter when one cannot be written, the file
/// would pass 2 GiB, or this build has no ONNX; RunError when the file cannot be written.
void export_onnx(const std::filesystem::path& file, const Graph& graph,
                 const std::map<std::string, ModelTensor>& parameters, const ModelInfo& info,
                 const OnnxOptions& options = {});

}  // namespace macadam
