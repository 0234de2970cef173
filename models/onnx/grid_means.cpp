#include "models/onnx/grid_means.h"

namespace macadam {

namespace {

// ONNX's TensorProto.DataType.
constexpr int64_t kFloat = 1, kInt64 = 7, kDouble = 11;

OnnxWriter::Attributes to(int64_t type) { return {{"to", type}}; }

/// The matrix {windows, pixels}: 1 / n where a pixel is one of a window's n, from
/// floor(i * pixels / windows) up to ceil((i + 1) * pixels / windows), else 0.
std::string weights(OnnxWriter& w, const std::string& title, const GridAxis& axis) {
  const auto part = [&](const char* op, const char* name, std::vector<std::string> inputs,
                        OnnxWriter::Attributes attributes = {}) {
    return w.emit_part(op, title + name, std::move(inputs), std::move(attributes));
  };
  const auto counted = [&](const char* name, const std::string& count) {
    const std::string end = part("Squeeze", name, {count, w.integers({0})});
    return part("Range", name, {w.integer(0), end, w.integer(1)});
  };
  const std::string window = counted(".window", axis.windows);
  const std::string pixel = counted(".pixel", axis.pixels);
  const std::string begins = part("Mul", ".begins", {window, axis.pixels});
  const std::string first = part("Div", ".first", {begins, axis.windows});
  std::string end = part("Add", ".ends", {begins, axis.pixels});
  end = part("Add", ".ends", {end, axis.windows});
  end = part("Sub", ".ends", {end, w.integers({1})});
  end = part("Div", ".end", {end, axis.windows});
  const auto column = [&](const char* name, const std::string& list) {
    return part("Unsqueeze", name, {list, w.integers({1})});
  };
  const std::string first_column = column(".from", first), end_column = column(".to", end);
  const std::string behind = part("LessOrEqual", ".behind", {first_column, pixel});
  const std::string before = part("Less", ".before", {pixel, end_column});
  const std::string inside =
      part("Cast", ".inside", {part("And", ".and", {behind, before})}, to(kFloat));
  const std::string count =
      part("Cast", ".count", {part("Sub", ".size", {end_column, first_column})}, to(kFloat));
  return part("Div", ".weights", {inside, count});
}

}  // namespace

std::string columns_of_ratio(OnnxWriter& writer, const std::string& title,
                             const std::string& height, const std::string& width, int rows) {
  const auto real = [&](const std::string& integer) {
    return writer.emit_part("Cast", title + ".real", {integer}, to(kDouble));
  };
  std::string columns = writer.emit_part("Div", title + ".ratio", {real(width), real(height)});
  columns = writer.emit_part("Mul", title + ".ratio", {columns, real(writer.integers({rows}))});
  columns = writer.emit_part("Round", title + ".ratio", {columns});  // halves to even
  columns = writer.emit_part("Cast", title + ".columns", {columns}, to(kInt64));
  return writer.emit_part("Max", title + ".columns", {columns, writer.integers({1})});
}

void emit_grid_means(OnnxWriter& writer, const std::string& title, const std::string& x,
                     const GridAxis& rows, const GridAxis& columns, const std::string& output) {
  const std::string upon = weights(writer, title + ".rows", rows);
  const std::string beside = writer.emit_part("Transpose", title + ".columns",
                                              {weights(writer, title + ".columns", columns)},
                                              {{"perm", OnnxWriter::Ints{1, 0}}});
  const std::string means = writer.emit_part("MatMul", title + ".rows", {upon, x});
  writer.emit("MatMul", title, {means, beside}, output);
}

}  // namespace macadam
