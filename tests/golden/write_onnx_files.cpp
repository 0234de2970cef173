// Files for check_onnx.py, which runs them in ONNX Runtime:
//   write_onnx_files FOLDER            UNet-mini, and a network of every layer
//   write_onnx_files FOLDER NETWORK    a network of the registry
// FOLDER exists and is empty.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <exception>
#include <filesystem>
#include <functional>
#include <span>

#include "base/files.h"
#include "base/to_size.h"
#include "engine/plan/plan.h"
#include "models/network.h"
#include "models/onnx_export.h"
#include "tests/engine/hashed.h"
#include "tests/models/onnx_networks.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

using Build = std::function<Graph(Shape)>;

/// NHWC data as an .npy file in NCHW.
void write_npy(const std::filesystem::path& file, Shape s, std::span<const float> nhwc) {
  std::string header =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}, {}, {}), }}", s.n,
                  s.c, s.h, s.w);
  header.resize(118 - 1, ' ');  // 10 + 118 bytes: a multiple of 64
  header += '\n';
  std::vector<float> nchw(nhwc.size());
  const int64_t pixels = int64_t{s.h} * s.w;
  for (int64_t i = 0; i < s.elements(); ++i) {
    const int64_t n = i / (pixels * s.c), p = i / s.c % pixels, c = i % s.c;
    nchw[to_size((n * s.c + c) * pixels + p)] = nhwc[to_size(i)];
  }
  const std::string magic("\x93NUMPY\x01\x00\x76\x00", 10);
  const std::array parts{std::as_bytes(std::span(magic)), std::as_bytes(std::span(header)),
                         std::as_bytes(std::span<const float>(nchw))};
  write_file_atomically(file, parts);
}

/// NETWORK.SIZE.image.npy and NETWORK.SIZE.logits.npy: what the engine makes of a hashed image.
void write_case(const std::filesystem::path& folder, const std::string& network,
                const Graph& graph) {
  DeviceContext context;
  Parameters parameters(graph.parameters(), context.stream, false);
  set_hashed_values(parameters);
  Plan plan(graph, parameters, context, {});
  plan.pack_weights();
  const Shape shape = plan.input().shape;
  const std::span image(plan.input().as<float>(), to_size(shape.elements()));
  for (uint32_t i = 0; i < image.size(); ++i) image[i] = hashed_uniform(1000, i, 1.0f);
  const std::string stem = fmt::format("{}.{}", network, shape.text());
  write_npy(folder / (stem + ".image.npy"), shape, image);
  plan.forward();
  const Shape scores = plan.output().shape;
  std::vector<float> dense(to_size(scores.elements()));
  context.ops.elementwise->copy(plan.output(), Tensor(dense.data(), scores, DType::f32), false);
  write_npy(folder / (stem + ".logits.npy"), scores, dense);
}

/// NETWORK.VARIANT.onnx for every variant, exported at the first of `sizes`, and a case a size. Of
/// one size: the variants that take no other.
void write_network(const std::filesystem::path& folder, const std::string& network,
                   const Build& build, std::span<const Shape> sizes) {
  for (Shape size : sizes) write_case(folder, network, build(size));
  const Graph graph = build(sizes.front());
  const auto parameters = hashed_parameters(graph);
  const ModelInfo info = model_info(network, graph.shape(graph.output()).c, sizes.front());
  for (const bool dynamic : {false, true}) {
    if (dynamic && sizes.size() == 1) continue;
    for (const bool fold : {false, true}) {
      for (const bool argmax : {false, true}) {
        const std::string name =
            fmt::format("{}.{}{}{}.onnx", network, dynamic ? "dynamic" : "fixed",
                        fold ? "_folded" : "", argmax ? "_argmax" : "");
        export_onnx(folder / name, graph, parameters, info, {fold, dynamic, argmax});
      }
    }
  }
}

/// A network that takes any size at two of them; a classifier at its own.
void write_registered(const std::filesystem::path& folder, const std::string& network) {
  const NetworkEntry& entry = find_network(network);
  const int m = std::max(entry.size_multiple, entry.minimum_size);
  const bool any = entry.task == Task::segmentation;
  const std::array<Shape, 2> sizes{any ? Shape{1, 2 * m, 3 * m, 3} : Shape{1, 224, 224, 3},
                                   any ? Shape{2, 3 * m, m, 3} : Shape{2, 224, 224, 3}};
  write_network(
      folder, network,
      [&](Shape s) {
        return build_network({network, 8, {}}, s);
      },
      sizes);
}

void write_all_layers(const std::filesystem::path& folder) {
  const std::array<Shape, 4> sizes{
      {{1, 48, 80, 3}, {2, 36, 44, 3}, {3, 16, 60, 3}, {1, 64, 12, 3}}};
  write_network(
      folder, "unet_mini",
      [](Shape s) {
        return build_network({"unet_mini", 8, {}}, s);
      },
      sizes);
  // The last three are not multiples of its strides.
  const std::array<Shape, 4> any{{{1, 20, 28, 3}, {2, 22, 46, 3}, {1, 42, 12, 3}, {3, 30, 30, 3}}};
  write_network(
      folder, "every_layer", [](Shape s) { return every_layer(s, 5); }, any);
  const std::array<Shape, 5> windows{
      {{1, 20, 28, 3}, {2, 21, 29, 3}, {1, 22, 30, 3}, {1, 23, 31, 3}, {1, 25, 13, 3}}};
  write_network(
      folder, "every_window", [](Shape s) { return every_window(s, 5, false); }, windows);
  for (const Shape& size : windows) {
    write_network(folder, fmt::format("windows_of_{}", size.h),
                  [](Shape s) { return every_window(s, 5, true); }, {&size, 1});
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    fmt::print(stderr, "write_onnx_files FOLDER [NETWORK]\n");
    return 2;
  }
  try {
    if (argc == 3) {
      write_registered(argv[1], argv[2]);
    } else {
      write_all_layers(argv[1]);
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "write_onnx_files: error: {}\n", error.what());
    return 1;
  }
}
