#pragma once
// Means over a grid of windows that share an image out, which are no operator of ONNX: products
// with matrices whose rows hold the windows' weights, made from the size of the image.

#include <string>

#include "models/onnx/writer.h"

namespace macadam {

/// Names of tensors {1} of int64: the pixels of an axis, and into how many windows they go.
struct GridAxis {
  std::string pixels, windows;
};

/// As many columns, at least one, as keep the ratio of the sides beside `rows` rows.
std::string columns_of_ratio(OnnxWriter& writer, const std::string& title,
                             const std::string& height, const std::string& width, int rows);

/// Emits the nodes that make `output` {N, C, rows, columns} of `x` {N, C, H, W}, called `title`.
void emit_grid_means(OnnxWriter& writer, const std::string& title, const std::string& x,
                     const GridAxis& rows, const GridAxis& columns, const std::string& output);

}  // namespace macadam
