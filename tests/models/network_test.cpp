// The registry of networks, and what UNet-mini is.

#include "models/network.h"

#include <gtest/gtest.h>

#include "engine/plan/plan.h"
#include "tests/engine/cpu_dtypes.h"

using namespace macadam;

namespace {

constexpr Shape kInput{1, 512, 1024, 3};

/// The message of the InputError that building throws.
std::string complaint(const NetworkSpec& spec, Shape input = kInput) {
  try {
    build_network(spec, input);
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return message;
  }
  ADD_FAILURE() << "no error";
  return {};
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Networks, ListedOnesBuild) {
  for (const NetworkEntry& entry : networks()) {
    EXPECT_EQ(find_network(entry.name).name, entry.name);
    EXPECT_FALSE(entry.summary.empty());
    const Graph graph = build_network({std::string(entry.name), 8, {}}, {2, 224, 224, 3});
    EXPECT_EQ(graph.shape(graph.output()).n, 2);
    EXPECT_EQ(graph.shape(graph.output()).c, 8);
    for (const NetworkOption& option : entry.options) {
      EXPECT_FALSE(option.description.empty()) << option.key;
      const NetworkSpec spec{std::string(entry.name),
                             8,
                             {{std::string(option.key), std::string(option.default_value)}}};
      EXPECT_EQ(build_network(spec, {1, 224, 224, 3}).parameter_count(), graph.parameter_count())
          << "the default, written out";
    }
  }
}

TEST(Networks, UnknownNameNamesTheNearest) {
  const std::string message = complaint({"unet_mimi", 8, {}});
  EXPECT_TRUE(contains(message, "unet_mimi") && contains(message, "'unet_mini'")) << message;
}

TEST(Networks, ClassifiersAreNotTrained) {
  try {
    find_segmentation_network("resnet34");
    ADD_FAILURE() << "accepted";
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_TRUE(contains(message, "resnet34") && contains(message, "macadam info")) << message;
    EXPECT_FALSE(contains(message, "_unet")) << "not all networks end so: " << message;
  }
  EXPECT_EQ(find_segmentation_network("pidnet_s").name, "pidnet_s");
}

TEST(Networks, UnknownOptionNamesTheNearest) {
  const std::string message = complaint({"unet_mini", 8, {{"droput", "0.1"}}});
  EXPECT_TRUE(contains(message, "network.droput") && contains(message, "'dropout'")) << message;
}

TEST(Networks, BadOptionValues) {
  for (const char* value : {"1", "-0.1", "0.91", "much", "0.2x", "", "nan", "inf", " 0.2", "0,2"}) {
    const std::string message = complaint({"unet_mini", 8, {{"dropout", value}}});
    EXPECT_TRUE(contains(message, "network.dropout") && contains(message, "0.9")) << message;
  }
  for (const char* value : {"0", "0.9", "0.25", "1e-3"}) {
    EXPECT_NO_THROW(build_network({"unet_mini", 8, {{"dropout", value}}}, kInput)) << value;
  }
}

TEST(Networks, ChoicesAndSwitches) {
  EXPECT_TRUE(contains(complaint({"unet", 8, {{"batch_norm", "yes"}}}), "true or false"));
  EXPECT_TRUE(contains(complaint({"efficientnet_b0_unet", 8, {{"padding", "valid"}}}),
                       "one of fixed, same, symmetric"));
  EXPECT_NO_THROW(build_network({"efficientnet_b0_unet", 8, {{"padding", "symmetric"}}}, kInput));
  const auto parameters = [](const char* expand) {
    return build_network({"mobilenet_v2_unet", 8, {{"expand_first", expand}}}, kInput)
        .parameter_count();
  };
  EXPECT_EQ(parameters("true") - parameters("false"), 32 * 32 + 2 * 32);
}

TEST(Networks, BadSizes) {
  for (const Shape input : {Shape{1, 510, 1024, 3}, Shape{1, 512, 1022, 3}, Shape{1, 0, 1024, 3},
                            Shape{1, 2, 1024, 3}, Shape{1, -4, 8, 3}}) {
    const std::string message = complaint({"unet_mini", 8, {}}, input);
    EXPECT_TRUE(contains(message, "size") && contains(message, "multiples of 4")) << message;
  }
  EXPECT_NO_THROW(build_network({"unet_mini", 8, {}}, {1, 4, 4, 3}));
  const std::string small = complaint({"resnet34_unet", 8, {}}, {1, 31, 64, 3});
  EXPECT_TRUE(contains(small, "at least 32 pixels")) << small;
  EXPECT_NO_THROW(build_network({"resnet34_unet", 8, {}}, {1, 33, 65, 3}));
  EXPECT_THROW(build_network({"vgg16", 1000, {}}, {1, 256, 256, 3}), InputError);
}

TEST(Networks, BadClassCounts) {
  for (int classes : {-1, 0, 1, 65}) {
    EXPECT_TRUE(contains(complaint({"unet_mini", classes, {}}), "2 to 64")) << classes;
  }
}

// The table of image-segmentation-keras: 471,520 + 33 parameters a class.
TEST(UnetMini, HasThePublishedParameterCount) {
  for (int classes : {2, 8, 19}) {
    const Graph graph = build_network({"unet_mini", classes, {}}, kInput);
    EXPECT_EQ(graph.parameter_count(), 471'520 + 33 * classes);
  }
}

TEST(UnetMini, HasTheMultiplyAddsOfItsTable) {
  const Graph graph = build_network({"unet_mini", 8, {}}, kInput);
  const int64_t pixels = 512 * 1024;
  const int64_t expected = pixels * (9 * (3 * 32 + 32 * 32) + 9 * (96 * 32 + 32 * 32) + 32 * 8) +
                           pixels / 4 * 9 * (32 * 64 + 64 * 64 + 192 * 64 + 64 * 64) +
                           pixels / 16 * 9 * (64 * 128 + 128 * 128);
  EXPECT_EQ(graph.macs(), expected);
  EXPECT_NEAR(static_cast<double>(graph.macs()), 58.57e9, 0.005e9);
  EXPECT_EQ(build_network({"unet_mini", 8, {}}, {3, 512, 1024, 3}).macs(), 3 * expected);
}

TEST(UnetMini, DropsOutBetweenTheConvolutionsOfEveryBlock) {
  const auto dropouts = [](const std::string& p) {
    const Graph graph = build_network({"unet_mini", 8, {{"dropout", p}}}, kInput);
    int count = 0;
    for (const Node& node : graph.nodes()) {
      count += std::holds_alternative<DropoutLayer>(node.layer) ? 1 : 0;
    }
    return count;
  };
  EXPECT_EQ(dropouts("0.2"), 5);
  EXPECT_EQ(dropouts("0"), 0);
}

// The arena is what a device must have; the peak is what no placement can do without.
TEST(UnetMini, ArenaIsCloseToItsLowerBound) {
  DeviceContext context;
  for (const Shape input :
       {Shape{1, 64, 96, 3}, Shape{4, 64, 64, 3}, Shape{2, 128, 256, 3}, Shape{1, 256, 512, 3}}) {
    const Graph graph = build_network({"unet_mini", 8, {}}, input);
    Parameters parameters(graph.parameters(), context.stream, true);
    for (const Mode mode : {Mode::train, Mode::infer}) {
      for (const DType dtype : cpu_dtypes()) {
        PlanOptions options;
        options.mode = mode;
        options.dtype = dtype;
        if (mode == Mode::train) options.loss = LossDesc{};
        const PlanMemory memory = Plan(graph, parameters, context, options).memory();
        const double ratio = static_cast<double>(memory.arena) / static_cast<double>(memory.peak);
        std::printf("%s %s %s: arena %.1f MiB, %.3f of the peak\n", input.text().c_str(),
                    mode == Mode::train ? "train" : "infer", name_of(dtype).data(),
                    static_cast<double>(memory.arena) / (1 << 20), ratio);
        EXPECT_GE(ratio, 1.0);
        EXPECT_LE(ratio, 1.2);
      }
    }
  }
}

}  // namespace
