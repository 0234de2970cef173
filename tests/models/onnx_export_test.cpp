// ONNX files, read back with ONNX's own classes and its checker.

#include "models/onnx_export.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "base/files.h"
#include "base/to_size.h"
#include "models/network.h"
#include "models/onnx/layer_visit.h"
#include "models/onnx/translate.h"
#include "tests/base/full_disk.h"
#include "tests/base/temporary_folder.h"
#include "tests/models/onnx_networks.h"

#if defined(MACADAM_HAS_ONNX)
#include <onnx/checker.h>
#include <onnx/onnx_pb.h>
#include <onnx/shape_inference/implementation.h>
#endif

using namespace macadam;
using namespace macadam::testing;

namespace {

constexpr int kClasses = 5;
constexpr Shape kInput{1, 20, 28, 3};

template <typename E, typename F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const E& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Knows additions alone.
struct OnlyAdd {
  int additions = 0;
  void layer(const Node&, const AddLayer&) { ++additions; }
};

TEST(OnnxLayerVisit, ALayerThatIsNotKnownIsAnErrorThatNamesIt) {
  Graph g(kInput);
  ConvLayer conv;
  conv.out_channels = 3;
  g.add(g.conv(g.input(), "stem.conv", conv), g.input());
  OnlyAdd visitor;
  const std::string message =
      message_of<InputError>([&] { visit_layer(visitor, g.nodes()[0], "net.onnx"); });
  EXPECT_TRUE(contains(message, "'stem.conv' (conv)") && contains(message, "net.onnx")) << message;
  visit_layer(visitor, g.nodes()[1], "net.onnx");
  EXPECT_EQ(visitor.additions, 1);
}

#if !defined(MACADAM_HAS_ONNX)

TEST(OnnxExport, SaysWhatThisBuildLacks) {
  TemporaryFolder folder;
  const Graph graph = every_layer(kInput, kClasses);
  const std::string message = message_of<InputError>([&] {
    export_onnx(folder / "net.onnx", graph, hashed_parameters(graph),
                model_info("every_layer", kClasses, kInput));
  });
  EXPECT_TRUE(contains(message, "net.onnx") && contains(message, "libonnx-dev")) << message;
  EXPECT_TRUE(folder.entries().empty());
}

#else

class OnnxExport : public ::testing::Test {
 protected:
  std::string write(const Graph& graph, const std::map<std::string, ModelTensor>& parameters,
                    const OnnxOptions& options = {}) {
    const ModelInfo info =
        model_info("every_layer", graph.shape(graph.output()).c, graph.shape(graph.input()));
    export_onnx(file_, graph, parameters, info, options);
    return read_file(file_, size_t{1} << 24);
  }

  /// Writes, reads back and lets ONNX check it.
  onnx::ModelProto checked(const Graph& graph, const std::map<std::string, ModelTensor>& parameters,
                           const OnnxOptions& options = {}) {
    onnx::ModelProto model;
    EXPECT_TRUE(model.ParseFromString(write(graph, parameters, options)));
    EXPECT_NO_THROW(onnx::checker::check_model(model));
    return model;
  }
  onnx::ModelProto checked(const Graph& graph, const OnnxOptions& options = {}) {
    return checked(graph, hashed_parameters(graph), options);
  }

  TemporaryFolder folder_;
  std::filesystem::path file_ = folder_ / "net.onnx";
};

std::map<std::string, int> operators(const onnx::ModelProto& model) {
  std::map<std::string, int> count;
  for (const auto& node : model.graph().node()) ++count[node.op_type()];
  return count;
}

/// "batch,3,height,28".
std::string dims(const onnx::ValueInfoProto& value) {
  std::string text;
  for (const auto& dim : value.type().tensor_type().shape().dim()) {
    text += text.empty() ? "" : ",";
    text += dim.has_dim_param() ? dim.dim_param() : std::to_string(dim.dim_value());
  }
  return text;
}

std::string dims(Shape s) { return fmt::format("{},{},{},{}", s.n, s.c, s.h, s.w); }

std::map<std::string, std::vector<float> > float_tensors(const onnx::ModelProto& model) {
  std::map<std::string, std::vector<float> > tensors;
  for (const auto& tensor : model.graph().initializer()) {
    if (tensor.data_type() != onnx::TensorProto::FLOAT) continue;
    std::vector<float> values(tensor.raw_data().size() / sizeof(float));
    std::memcpy(values.data(), tensor.raw_data().data(), tensor.raw_data().size());
    EXPECT_TRUE(tensors.emplace(tensor.name(), values).second) << tensor.name();
  }
  return tensors;
}

const onnx::NodeProto& node_named(const onnx::ModelProto& model, const std::string& name) {
  for (const auto& node : model.graph().node()) {
    if (node.name() == name) return node;
  }
  throw std::runtime_error("no node " + name);
}

const onnx::AttributeProto& attribute(const onnx::NodeProto& node, const std::string& name) {
  for (const auto& a : node.attribute()) {
    if (a.name() == name) return a;
  }
  throw std::runtime_error(node.name() + " has no " + name);
}

std::vector<int64_t> integers(const onnx::NodeProto& node, const std::string& name) {
  const auto& list = attribute(node, name).ints();
  return {list.begin(), list.end()};
}

TEST_F(OnnxExport, WritesEveryKindOfLayer) {
  const std::map<std::string, int> everywhere{{"Conv", 8},
                                              {"ConvTranspose", 1},
                                              {"BatchNormalization", 3},
                                              {"Relu", 1},
                                              {"Clip", 1},
                                              {"Sigmoid", 3},
                                              {"Mul", 3},
                                              {"GlobalAveragePool", 2},
                                              {"MaxPool", 1},
                                              {"AveragePool", 2},
                                              {"Add", 2},
                                              {"Resize", 4}};
  for (const bool dynamic : {false, true}) {
    for (const bool argmax : {false, true}) {
      for (const bool fold : {false, true}) {
        const onnx::ModelProto model =
            checked(every_layer(kInput, kClasses), {fold, dynamic, argmax});
        EXPECT_EQ(model.ir_version(), 8);
        ASSERT_EQ(model.opset_import_size(), 1);
        EXPECT_EQ(model.opset_import(0).version(), 17);
        std::map<std::string, int> expected = everywhere;
        expected["BatchNormalization"] = fold ? 3 : 5;
        expected["Concat"] = 3 + (dynamic ? 4 : 0);
        if (dynamic) expected["Shape"] = 2;  // the image and the skip
        if (dynamic) expected["Slice"] = 3;  // batch, both sizes
        if (argmax) expected["ArgMax"] = 1;
        EXPECT_EQ(operators(model), expected) << dynamic << argmax << fold;
      }
    }
  }
}

// ONNX's own shape inference sees what the graph says: paddings, strides and groups are right.
TEST_F(OnnxExport, ShapesAreTheGraphs) {
  const Graph graph = every_layer({2, 22, 30, 3}, kClasses);
  onnx::ModelProto model = checked(graph, {false, false, false});
  model.mutable_graph()->mutable_output(0)->mutable_type()->clear_tensor_type();
  onnx::shape_inference::InferShapes(model);
  EXPECT_EQ(dims(model.graph().output(0)), dims(graph.shape(graph.output())));

  std::map<std::string, std::string> inferred;
  for (const auto& value : model.graph().value_info()) inferred[value.name()] = dims(value);
  int compared = 0;
  for (const Node& node : graph.nodes()) {
    const std::string name =
        node.name.empty() ? fmt::format("{}_{}", kind_of(node.layer), node.output.id) : node.name;
    if (inferred.count(name) == 0) continue;
    EXPECT_EQ(inferred.at(name), dims(graph.shape(node.output))) << name;
    ++compared;
  }
  EXPECT_EQ(compared, 33);
}

TEST_F(OnnxExport, WindowsActivationsAndScaledSums) {
  const std::map<std::string, int> dynamic =
      operators(checked(every_window(kInput, kClasses, false)));
  EXPECT_EQ(dynamic.at("HardSwish"), 1);
  EXPECT_EQ(dynamic.at("HardSigmoid"), 1);
  EXPECT_EQ(dynamic.at("Mul"), 3);  // of the gates, and before either sum
  EXPECT_EQ(dynamic.at("Pad"), 2);  // before averages that count padding in ceil_mode
  const Graph graph = every_window(kInput, kClasses, true);
  const onnx::ModelProto fixed = checked(graph, {false, false, false});
  EXPECT_EQ(operators(fixed).at("Pad"), 4);
  for (const auto& node : fixed.graph().node()) {
    for (const auto& attribute : node.attribute()) EXPECT_NE(attribute.name(), "ceil_mode");
  }
  const std::string message =
      message_of<InputError>([&] { write(graph, hashed_parameters(graph)); });
  EXPECT_TRUE(contains(message, "export for one size") && contains(message, "average_pool"))
      << message;
}

// Means over grids are products with matrices that the file makes from the size of the image.
TEST_F(OnnxExport, ProductsOfPixelsAndMeansOverGrids) {
  const auto build = [](Shape input) {
    Graph g(input);
    const Value half = g.max_pool(g.input());
    const Value means = g.grid_average_pool(half, 4);
    const Value fixed = g.grid_average_pool(half, 2, 3);
    const Value up = g.upsample_corners(g.add(means, g.upsample(fixed, means)), half);
    const Value agreement = g.dot(half, up);
    g.set_output(g.upsample(g.multiply(g.multiply(half, up), agreement), g.input(), true));
    return g;
  };
  const Graph graph = build(kInput);
  EXPECT_EQ(graph.shape(graph.nodes()[1].output), (Shape{1, 4, 6, 3})) << "round(28 / 20 * 4)";
  for (const bool dynamic : {false, true}) {
    const onnx::ModelProto model = checked(graph, {true, dynamic, false});
    const auto count = operators(model);
    EXPECT_EQ(count.at("MatMul"), 4);
    EXPECT_EQ(count.at("ReduceSum"), 1);
    EXPECT_EQ(count.contains("Round"), dynamic) << "the columns that keep the ratio";
    EXPECT_EQ(attribute(node_named(model, "upsample_6"), "coordinate_transformation_mode").s(),
              "align_corners");
  }
}

TEST_F(OnnxExport, NamesInputsAndOutputs) {
  const Graph graph = every_layer(kInput, kClasses);
  const onnx::ModelProto dynamic = checked(graph);
  EXPECT_EQ(dynamic.graph().input(0).name(), "image");
  EXPECT_EQ(dims(dynamic.graph().input(0)), "batch,3,height,width");
  EXPECT_EQ(dynamic.graph().output(0).name(), "logits");
  EXPECT_EQ(dims(dynamic.graph().output(0)), "batch,5,height,width");
  EXPECT_EQ(dynamic.graph().output(0).type().tensor_type().elem_type(), onnx::TensorProto::FLOAT);

  const onnx::ModelProto fixed = checked(graph, {true, false, false});
  EXPECT_EQ(dims(fixed.graph().input(0)), "1,3,20,28");
  EXPECT_EQ(dims(fixed.graph().output(0)), "1,5,20,28");

  const onnx::ModelProto mask = checked(graph, {true, true, true});
  ASSERT_EQ(mask.graph().output_size(), 1);
  EXPECT_EQ(mask.graph().output(0).name(), "mask");
  EXPECT_EQ(dims(mask.graph().output(0)), "batch,height,width");
  EXPECT_EQ(mask.graph().output(0).type().tensor_type().elem_type(), onnx::TensorProto::INT64);
  EXPECT_EQ(attribute(node_named(mask, "mask"), "axis").i(), 1);
  EXPECT_EQ(dims(checked(graph, {true, false, true}).graph().output(0)), "1,20,28");
}

TEST_F(OnnxExport, AnOutputOfAnotherSizeHasItsOwnNames) {
  Graph half(kInput);
  half.set_output(half.max_pool(half.input()));
  EXPECT_EQ(dims(checked(half).graph().output(0)), "batch,3,logits_height,logits_width");
  Graph one(kInput);
  one.set_output(one.relu(one.global_average_pool(one.input())));
  EXPECT_EQ(dims(checked(one).graph().output(0)), "batch,3,1,1");
}

TEST_F(OnnxExport, WritesAttributes) {
  const onnx::ModelProto model = checked(every_layer(kInput, kClasses));
  const onnx::NodeProto& stem = node_named(model, "stem");
  EXPECT_EQ(integers(stem, "pads"), (std::vector<int64_t>{0, 0, 1, 1}));
  EXPECT_EQ(integers(stem, "strides"), (std::vector<int64_t>{2, 2}));
  const onnx::NodeProto& depthwise = node_named(model, "depthwise");
  EXPECT_EQ(integers(depthwise, "pads"), (std::vector<int64_t>{4, 1, 0, 3}));
  EXPECT_EQ(attribute(depthwise, "group").i(), 8);
  EXPECT_EQ(integers(node_named(model, "twice_read"), "dilations"), (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(attribute(node_named(model, "up_norm"), "epsilon").f(), 1e-5f);
  for (const auto& node : model.graph().node()) {
    if (node.op_type() == "AveragePool") {
      EXPECT_EQ(attribute(node, "count_include_pad").i(), 0);
    } else if (node.op_type() == "MaxPool") {
      EXPECT_EQ(integers(node, "kernel_shape"), (std::vector<int64_t>{3, 2}));
      EXPECT_EQ(integers(node, "pads"), (std::vector<int64_t>{1, 1, 2, 0}));
    } else if (node.op_type() == "Resize" && attribute(node, "mode").s() == "nearest") {
      EXPECT_EQ(attribute(node, "coordinate_transformation_mode").s(), "asymmetric");
      EXPECT_EQ(attribute(node, "nearest_mode").s(), "floor");
    } else if (node.op_type() == "Resize") {
      EXPECT_EQ(attribute(node, "mode").s(), "linear");
      EXPECT_EQ(attribute(node, "coordinate_transformation_mode").s(), "half_pixel");
    }
  }
}

// y = gamma * (conv - mean) / sqrt(var + eps) + beta.
TEST_F(OnnxExport, FoldsBatchNorm) {
  const Graph graph = every_layer(kInput, kClasses);
  const auto source = hashed_parameters(graph);
  const auto written = float_tensors(checked(graph, source));
  const auto expect_folded = [&](const std::string& conv, const std::string& norm, double eps) {
    const auto value = [&](const std::string& name, size_t i) {
      const auto found = source.find(name);
      return found == source.end() ? 0.0 : static_cast<double>(found->second.values[i]);
    };
    const size_t channels = source.at(norm + ".bias").values.size();
    const std::vector<float>& weights = written.at(conv + ".weight");
    ASSERT_EQ(weights.size(), source.at(conv + ".weight").values.size());
    for (size_t i = 0; i < weights.size(); ++i) {
      const size_t k = i / (weights.size() / channels);
      const double scale =
          value(norm + ".weight", k) / std::sqrt(value(norm + ".running_var", k) + eps);
      const double wanted = value(conv + ".weight", i) * scale;
      EXPECT_NEAR(static_cast<double>(weights[i]), wanted, 1e-7 * std::abs(wanted));
      const double bias = (value(conv + ".bias", k) - value(norm + ".running_mean", k)) * scale +
                          value(norm + ".bias", k);
      EXPECT_NEAR(static_cast<double>(written.at(conv + ".bias")[k]), bias, 1e-7 * std::abs(bias));
    }
    EXPECT_EQ(written.count(norm + ".weight"), 0u);
  };
  expect_folded("stem", "stem_norm", static_cast<double>(1e-5f));
  expect_folded("depthwise", "depthwise_norm", static_cast<double>(1e-3f));  // with a bias
}

TEST_F(OnnxExport, KeepsBatchNormWhereSomebodyElseReadsTheConvolution) {
  const Graph graph = every_layer(kInput, kClasses);
  const auto source = hashed_parameters(graph);
  const auto written = float_tensors(checked(graph, source));
  for (const char* name : {"twice_read.weight", "kept_norm.running_var", "up_norm.weight",
                           "up.weight", "image_norm.running_mean", "head.bias"}) {
    ASSERT_EQ(written.count(name), 1u) << name;
    EXPECT_EQ(written.at(name), source.at(name).values) << name;
  }

  Graph g(kInput);
  ConvLayer conv;
  conv.out_channels = kClasses;
  const Value scores = g.conv(g.input(), "scores", conv);
  g.batch_norm(scores, "reads_the_output");
  g.set_output(scores);
  EXPECT_EQ(operators(checked(g)),
            (std::map<std::string, int>{{"BatchNormalization", 1}, {"Conv", 1}}));
}

TEST_F(OnnxExport, WritesNoParameterThatNobodyReads) {
  const Graph graph = every_layer(kInput, kClasses);
  EXPECT_EQ(float_tensors(checked(graph)).count("classifier.weight"), 0u);
  auto parameters = hashed_parameters(graph);
  parameters.erase("classifier.weight");
  EXPECT_NO_THROW(write(graph, parameters)) << "nor needs it";
}

TEST_F(OnnxExport, UnfoldedParametersAreTheModels) {
  const Graph graph = every_layer(kInput, kClasses);
  auto expected = hashed_parameters(graph);
  expected.erase("classifier.weight");
  auto written = float_tensors(checked(graph, {false, true, false}));
  EXPECT_EQ(written.erase("scalar_0") + written.erase("scalar_6"), 2u);  // of relu6
  ASSERT_EQ(written.size(), expected.size());
  for (const auto& [name, values] : written) EXPECT_EQ(values, expected.at(name).values) << name;
}

TEST_F(OnnxExport, AFixedSizeIsAnErrorWhereAnySizeIsWanted) {
  Graph g(kInput);
  g.set_output(g.upsample(g.max_pool(g.input()), 20, 28));
  const std::string message = message_of<InputError>([&] { write(g, {}); });
  EXPECT_TRUE(contains(message, "'upsample_2'") && contains(message, "20x28") &&
              contains(message, "net.onnx"))
      << message;
  EXPECT_TRUE(folder_.entries().empty());
  EXPECT_EQ(operators(checked(g, {true, false, false})).at("Resize"), 1);
}

TEST_F(OnnxExport, NamesNeverClash) {
  Graph g(kInput);
  ConvLayer conv;
  conv.out_channels = 3;
  Value x = g.input();
  for (const char* name : {"image", "logits", "mask", "relu_6", "integers_0", "silu_8.sigmoid"}) {
    x = g.conv(x, name, conv);
  }
  x = g.activation(g.relu(x), Activation::silu);
  g.set_output(g.relu(g.upsample(x, g.input())));
  const onnx::ModelProto model = checked(g);
  std::set<std::string> names;
  for (const auto& node : model.graph().node()) {
    EXPECT_TRUE(names.insert(node.name()).second) << node.name();
  }
}

TEST_F(OnnxExport, DescribesItselfInItsMetadata) {
  const Graph graph = every_layer(kInput, 2);
  ModelInfo info = model_info("every_layer", 2, kInput);
  info.normalization = {{0, 0.5f, 0.406f}, {1, 2, 0.229f}, 255, true};
  export_onnx(file_, graph, hashed_parameters(graph), info);
  onnx::ModelProto model;
  ASSERT_TRUE(model.ParseFromString(read_file(file_, size_t{1} << 24)));
  EXPECT_EQ(model.producer_name(), "macadam");
  EXPECT_EQ(model.producer_version(), "1.2.3");
  EXPECT_EQ(model.graph().name(), "every_layer");
  std::map<std::string, std::string> metadata;
  for (const auto& entry : model.metadata_props()) metadata[entry.key()] = entry.value();
  EXPECT_EQ(parse_model_info(metadata.at("macadam"), "net.onnx").class_names, info.class_names);
  metadata.erase("macadam");
  const std::map<std::string, std::string> expected{
      {"names", R"({"0":"class \"0\"","1":"class \"1\""})"},
      {"class_names", R"(["class \"0\"","class \"1\""])"},
      {"palette", "[[0,100,200],[1,100,200]]"},
      {"mean", "[0, 0.5, 0.406]"},
      {"std", "[1, 2, 0.229]"},
      {"range", "255"},
      {"bgr", "true"},
      {"imgsz", "[20, 28]"}};
  EXPECT_EQ(metadata, expected);
}

TEST_F(OnnxExport, SameArgumentsSameBytes) {
  const Graph graph = every_layer(kInput, kClasses);
  const std::string first = write(graph, hashed_parameters(graph));
  EXPECT_EQ(write(graph, hashed_parameters(graph)), first);
  EXPECT_NE(write(graph, hashed_parameters(graph), {true, true, true}), first);
}

TEST_F(OnnxExport, MissingAndMisshapenParametersAreNamed) {
  const Graph graph = every_layer(kInput, kClasses);
  for (const char* name : {"stem.weight", "stem_norm.running_var", "head.bias"}) {
    auto parameters = hashed_parameters(graph);
    parameters.at(name).shape.push_back(1);
    const auto attempt = [&] { write(graph, parameters); };
    std::string message = message_of<InputError>(attempt);
    EXPECT_TRUE(contains(message, name) && contains(message, "instead of [")) << message;
    parameters.erase(name);
    message = message_of<InputError>(attempt);
    EXPECT_TRUE(contains(message, name) && contains(message, "missing") &&
                contains(message, "net.onnx"))
        << message;
  }
  EXPECT_TRUE(folder_.entries().empty());
}

TEST_F(OnnxExport, AFullDiskLeavesTheOldFile) {
  const Graph graph = every_layer(kInput, kClasses);
  write_file_atomically(file_, "old");
  const FileSizeLimit limit(2000);
  const std::string message = message_of<RunError>([&] { write(graph, hashed_parameters(graph)); });
  EXPECT_TRUE(contains(message, "net.onnx")) << message;
  EXPECT_EQ(folder_.entries(), std::vector<std::string>{"net.onnx"});
  EXPECT_EQ(read_file(file_, 100), "old");
}

TEST_F(OnnxExport, AMissingFolderIsNamed) {
  const Graph graph = every_layer(kInput, kClasses);
  file_ = folder_ / "none" / "net.onnx";
  const std::string message = message_of<RunError>([&] { write(graph, hashed_parameters(graph)); });
  EXPECT_TRUE(contains(message, "none/net.onnx") && contains(message, "folder of a new file"))
      << message;
}

TEST_F(OnnxExport, TakesEveryNetworkAtAnySize) {
  int translated = 0;
  for (const NetworkEntry& entry : networks()) {
    SCOPED_TRACE(entry.name);
    const bool classifies = entry.task == Task::classification;
    const int size = classifies ? 224 : std::max(entry.size_multiple, entry.minimum_size);
    const Graph graph = build_network({std::string(entry.name), 2, {}}, {1, size, size, 3});
    for (const Node& node : graph.nodes()) {
      const auto* upsample = std::get_if<UpsampleLayer>(&node.layer);
      EXPECT_TRUE(upsample == nullptr || upsample->like.id >= 0);
    }
    if (graph.parameter_count() > 10'000'000) continue;  // the same code, with more memory
    std::map<std::string, ModelTensor> zeros;
    for (const ParameterSpec& spec : graph.parameters()) {
      zeros[spec.name] = {spec.file_shape(), std::vector<float>(to_size(spec.shape.elements()))};
    }
    EXPECT_FALSE(translate(graph, zeros, {}, "net.onnx").nodes.empty());
    ++translated;
  }
  EXPECT_GE(translated, 4);
}

#endif

}  // namespace
